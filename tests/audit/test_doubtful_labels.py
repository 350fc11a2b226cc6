"""Doubtful labels: by hand, and planted ones."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from eyebright.audit.doubtful_labels import doubtful_labels
from eyebright.core.errors import DataError
from eyebright.core.recipe import recipe
from eyebright.data.image_set import Splits
from eyebright.data.load import load
from eyebright.evaluation.predictions import Predictions
from eyebright.training.cross_fit import cross_fit


def said(probabilities: list[list[float]], labels: list[int]) -> Predictions:
    logits = np.log(np.array(probabilities)).astype(np.float32)
    classes = ("cat", "dog", "fox")[: logits.shape[1]]
    return Predictions(logits, np.array(labels), np.arange(len(labels)) + 10, classes, "train", "animals")


def test_by_hand() -> None:
    # Thresholds: cat (0.9 + 0.7 + 0.2) / 3 = 0.6; dog (0.8 + 0.4) / 2 = 0.6; fox 0.5.
    found = doubtful_labels(
        said(
            [[0.9, 0.05, 0.05], [0.7, 0.2, 0.1], [0.2, 0.7, 0.1], [0.1, 0.8, 0.1], [0.55, 0.4, 0.05], [0.3, 0.2, 0.5]],
            [0, 0, 0, 1, 1, 2],
        )
    )
    # One is counted: row 12, a cat by its label, reaches the threshold of dogs. Row 14, a dog by its label, does not
    # reach that of cats; of the two its label is the less doubtful.
    assert found.index.tolist() == [12]
    assert (found.given.tolist(), found.likely.tolist()) == ([0], [1])
    assert found.probability == pytest.approx([0.2])
    assert str(found) == "DoubtfulLabels(1 of 6 images)\n  12  cat -> dog  0.2000"


def test_a_class_without_images_is_never_likely() -> None:
    found = doubtful_labels(said([[0.1, 0.1, 0.8], [0.2, 0.7, 0.1], [0.6, 0.3, 0.1], [0.2, 0.6, 0.2]], [0, 1, 0, 1]))
    assert len(found) == 0


def test_most_doubtful_first_and_the_first_few() -> None:
    found = doubtful_labels(said([[0.9, 0.1], [0.08, 0.92], [0.05, 0.95], [0.1, 0.9], [0.1, 0.9]], [0, 0, 0, 1, 1]))
    assert found.index.tolist() == [12, 11]
    assert found.take(1).index.tolist() == [12]
    assert len(found.take(1)) == 1


def test_logits_that_are_not_finite_are_refused() -> None:
    broken = said([[0.5, 0.5]], [0])
    with pytest.raises(DataError, match="not finite"):
        doubtful_labels(dataclasses.replace(broken, logits=np.full_like(broken.logits, np.nan)))


def test_planted_labels_are_found(tmp_path: Path) -> None:
    """Of the digits, 60 get another label; models that have not seen them find nearly all, and few others."""
    chosen = recipe("digits/cnn", epochs=15)
    train = load(chosen.data).train
    random = np.random.default_rng(0)
    wrong = random.choice(train.index, 60, replace=False)
    labels = train.store.labels.copy()
    labels[wrong] = (labels[wrong] + random.integers(1, 10, 60)) % 10
    planted = dataclasses.replace(train, store=dataclasses.replace(train.store, labels=labels))
    predictions = cross_fit(chosen, planted, tmp_path / "runs", folds=3, callbacks=())
    assert np.array_equal(predictions.index, planted.index)
    assert np.array_equal(predictions.labels, planted.labels)
    found = doubtful_labels(predictions)
    hits = np.isin(found.index, wrong)
    assert hits.sum() >= 50
    assert hits[:40].mean() >= 0.95
    true = np.array([train.store.labels[row] for row in found.index])
    assert (found.likely == true)[hits].mean() >= 0.9
    patch = found.take(50).patch(planted)
    splits = Splits(planted, planted.take([]), planted.take([]))
    corrected = patch.applied(splits).train.labels
    assert (corrected == train.labels).sum() > (planted.labels == train.labels).sum() + 40
