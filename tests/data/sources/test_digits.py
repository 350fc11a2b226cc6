from __future__ import annotations

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from eyebright.core.settings.data import DataSettings
from eyebright.data.sources.digits import DigitsSource


def test_the_pixels_are_those_of_scikit_learn_on_the_scale_to_255() -> None:
    whole = DigitsSource().read(DataSettings(source="digits"), Path("unused"), None)["all"]
    bunch = load_digits()
    assert len(whole) == 1797
    assert whole.shape == (8, 8, 1)
    assert whole.classes == tuple("0123456789")
    assert np.array_equal(whole.labels, bunch.target)
    # 0 -> 0, 8 -> 127.5 (to even: 128), 16 -> 255; the order is that of the source
    assert np.array_equal(np.rint(whole.images[..., 0] * (16 / 255)), bunch.images)
    assert {0, 128, 255} <= set(np.unique(whole.images).tolist())
    assert len(np.unique(whole.images)) == 17
