from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eyebright.evaluation.calibration import bin_gaps
from eyebright.evaluation.confidence import confidence, operating_points, reliability
from eyebright.evaluation.metrics import evaluate
from eyebright.evaluation.predictions import Predictions

from .conftest import MakePredictions, drawn


def of_confidences(sure: list[float], correct: list[bool]) -> Predictions:
    """Predictions of two classes with these probabilities of the predicted one, which is class 0."""
    shares = np.array(sure)
    logits = np.stack([np.log(shares), np.log(1 - shares)], axis=1).astype(np.float32)
    labels = np.where(correct, 0, 1)
    return Predictions(logits, labels, np.arange(len(sure)), ("yes", "no"), "test", "made up")


def test_confidence_is_the_largest_probability(drawn: MakePredictions) -> None:
    made = drawn(50, 4)
    assert confidence(made) == pytest.approx(made.probabilities.max(axis=1), abs=1e-6)


def test_bins_hold_equally_many_and_give_the_calibration_error(drawn: MakePredictions) -> None:
    made = drawn(1500, 5)
    bins = reliability(made)
    assert [each.accuracy.n for each in bins] == [100] * 15
    assert [each.confidence for each in bins] == sorted(each.confidence for each in bins)
    gaps = [each.accuracy.n / 1500 * abs(each.confidence - each.accuracy.value) for each in bins]
    assert sum(gaps) == pytest.approx(evaluate(made).calibration_error.value)
    assert sum(gaps) == pytest.approx(np.abs(bin_gaps(confidence(made), made.correct).mean(axis=0)).sum())


def test_equal_confidences_share_a_bin(from_classes: MakePredictions) -> None:
    (only,) = reliability(from_classes([0] * 60 + [1] * 40, [0] * 100, 2))
    assert (only.accuracy.value, only.accuracy.n) == (0.6, 100)


def test_points_count_what_is_answered_and_what_is_right() -> None:
    made = of_confidences([0.6, 0.7, 0.8, 0.9], [False, True, False, True])
    points = operating_points(made)
    assert [round(point.threshold, 2) for point in points] == [0.0, 0.7, 0.8, 0.9]
    assert [point.answered for point in points] == [4, 3, 2, 1]
    assert [point.coverage for point in points] == [1, 0.75, 0.5, 0.25]
    assert [point.accuracy.value for point in points] == pytest.approx([0.5, 2 / 3, 0.5, 1])
    assert [point.wrong for point in points] == [2, 1, 1, 0]


@settings(max_examples=40)
@given(st.integers(1, 300), st.integers(2, 6), st.floats(0, 60))
def test_points_begin_with_all_fall_and_say_what_their_threshold_says(n: int, classes: int, strength: float) -> None:
    made = drawn(n, classes, seed=n, strength=strength)
    points = operating_points(made)
    sure = confidence(made)
    assert points[0].answered == n
    assert points[0].accuracy == evaluate(made, bootstrap=1).accuracy
    assert [point.answered for point in points] == sorted({point.answered for point in points}, reverse=True)
    assert len(points) <= 101
    for point in points:
        assert point.threshold == round(point.threshold, 4)
        assert (point.answered, point.wrong) == (
            (sure >= point.threshold).sum(),
            (~made.correct & (sure >= point.threshold)).sum(),
        )
        assert point.answered > 0


def test_a_model_that_is_always_certain_cannot_refuse(from_classes: MakePredictions) -> None:
    made = from_classes([0, 1, 0], [0, 0, 0], 2)
    certain = dataclasses.replace(made, logits=made.logits * 100)
    (only,) = operating_points(certain)
    assert (only.threshold, only.answered, only.wrong) == (0.0, 3, 1)
