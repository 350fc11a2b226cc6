"""Nearest known images, worked out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eyebright.core.errors import BundleError
from eyebright.exporting.known import FILE, KnownImages

# Directions at 0, 90 and 45 degrees.
KNOWN = KnownImages(
    np.arange(3 * 4 * 4 * 3, dtype=np.uint8).reshape(3, 4, 4, 3),
    np.array([[1, 0], [0, 1], [0.5**0.5, 0.5**0.5]], np.float32),
    np.array([2, 0, 1]),
)


def test_the_most_similar_come_first() -> None:
    position, similarity = KNOWN.nearest(np.array([0, 7], np.float32), count=2)
    assert position.tolist() == [1, 2]
    assert similarity == pytest.approx([1, 0.5**0.5])
    assert len(KNOWN.nearest(np.array([1, 1], np.float32), count=9)[0]) == 3
    assert KNOWN.nearest(np.zeros(2, np.float32))[1].tolist() == [0, 0, 0]


def test_they_come_back_from_the_disk(tmp_path: Path) -> None:
    assert KnownImages.load(tmp_path, 3) is None
    KNOWN.save(tmp_path)
    loaded = KnownImages.load(tmp_path, 3)
    assert loaded is not None
    np.testing.assert_array_equal(loaded.thumbnails, KNOWN.thumbnails)
    np.testing.assert_array_equal(loaded.labels, KNOWN.labels)
    np.testing.assert_allclose(loaded.embeddings, KNOWN.embeddings, atol=1e-3)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"labels": np.array([0, 1])}, "not of one length"),
        ({"labels": np.array([0, 1, 3])}, "not all below 3"),
        ({"labels": np.array([0.0, 1.0, 2.0])}, "its labels are float64"),
        ({"thumbnails": KNOWN.thumbnails.astype(np.float32)}, "its thumbnails are float32"),
        ({"thumbnails": KNOWN.thumbnails[..., 0]}, r"its thumbnails are uint8 \(3, 4, 4\)"),
        ({"embeddings": np.full((3, 2), np.nan, np.float32)}, "not finite"),
        ({"embeddings": np.array([{}, {}, {}])}, "allow_pickle"),
    ],
)
def test_what_does_not_belong_together_is_refused(changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    whole: dict[str, Any] = {"thumbnails": KNOWN.thumbnails, "embeddings": KNOWN.embeddings, "labels": KNOWN.labels}
    np.savez(tmp_path / FILE, **(whole | changes))
    with pytest.raises(BundleError, match=said):
        KnownImages.load(tmp_path, 3)
