"""Predictions to score."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import ArrayLike

from eyebright.evaluation.predictions import Predictions

MakePredictions = Callable[..., Predictions]


def from_classes(labels: ArrayLike, predicted: ArrayLike, classes: int) -> Predictions:
    """Predictions whose largest logit is the given class."""
    given, said = np.asarray(labels, dtype=np.int64), np.asarray(predicted, dtype=np.int64)
    logits = np.zeros((len(given), classes), dtype=np.float32)
    logits[np.arange(len(given)), said] = 2.0
    names = tuple(f"class {position}" for position in range(classes))
    return Predictions(logits, given, np.arange(len(given)), names, "test", "made up")


def drawn(n: int, classes: int, seed: int = 0, strength: float = 2.0) -> Predictions:
    """Random predictions of a model that is better than chance."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(classes, size=n)
    logits = generator.normal(size=(n, classes)).astype(np.float32)
    logits[np.arange(n), labels] += strength
    names = tuple(f"class {position}" for position in range(classes))
    return Predictions(logits, labels, np.arange(n), names, "test", "made up")


@pytest.fixture(name="from_classes", scope="session")
def from_classes_fixture() -> MakePredictions:
    return from_classes


@pytest.fixture(name="drawn", scope="session")
def drawn_fixture() -> MakePredictions:
    return drawn
