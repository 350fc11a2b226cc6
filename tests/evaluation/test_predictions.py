from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.special import softmax

from eyebright.core.errors import DataError
from eyebright.evaluation.predictions import Predictions

from .conftest import MakePredictions


def test_by_hand() -> None:
    logits = np.log(np.array([[0.2, 0.8], [0.6, 0.4], [0.5, 0.5]], dtype=np.float32))
    predictions = Predictions(logits, np.array([1, 1, 0]), np.array([5, 2, 9]), ("a", "b"), "test", "made up")
    assert predictions.predicted.tolist() == [1, 0, 0]  # of equal logits the first wins
    assert predictions.correct.tolist() == [True, False, True]
    assert predictions.probabilities == pytest.approx(np.exp(logits))
    assert len(predictions) == 3
    assert repr(predictions) == "Predictions(made up test: 3 images, 2 classes)"


def test_some_of_them(drawn: MakePredictions) -> None:
    predictions = drawn(6, 3)
    some = predictions.take([4, 0])
    assert np.array_equal(some.logits, predictions.logits[[4, 0]])
    assert some.labels.tolist() == predictions.labels[[4, 0]].tolist()
    assert some.index.tolist() == [4, 0]
    assert (some.classes, some.split, some.source) == (predictions.classes, predictions.split, predictions.source)
    assert predictions.take(predictions.correct).correct.all()
    assert len(predictions.take([])) == 0


def test_survives_the_disk(drawn: MakePredictions, tmp_path: Path) -> None:
    predictions = drawn(50, 4)
    predictions.save(tmp_path / "folder" / "test.safetensors")
    again = Predictions.load(tmp_path / "folder" / "test.safetensors")
    for name in ("logits", "labels", "index"):
        assert np.array_equal(getattr(again, name), getattr(predictions, name))
        assert getattr(again, name).dtype == getattr(predictions, name).dtype
    assert (again.classes, again.split, again.source) == (predictions.classes, "test", "made up")
    assert again.probabilities == pytest.approx(softmax(predictions.logits, axis=1))


@pytest.mark.parametrize("content", [None, b"", b"not safetensors", b"\x08\x00\x00\x00\x00\x00\x00\x00{}      "])
def test_refuses_what_is_not_predictions(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "test.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=r"test\.safetensors does not hold predictions"):
        Predictions.load(path)
