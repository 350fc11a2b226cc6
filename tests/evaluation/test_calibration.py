from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eyebright.evaluation.calibration import bin_gaps, calibration_score, confidence_bins
from eyebright.evaluation.intervals import resample_means
from eyebright.evaluation.score import Score


def score(confidence: np.ndarray, correct: np.ndarray, bins: int = 15, draws: int = 200) -> Score:
    gaps = bin_gaps(confidence, correct, bins)
    samples = resample_means(gaps, draws, np.random.default_rng(0))
    return calibration_score(gaps.mean(axis=0), samples, len(confidence))


def test_by_hand() -> None:
    # Two bins: (0.5, 0.6) of which one is right, (0.8, 0.9) of which both are.
    confidence = np.array([0.9, 0.5, 0.8, 0.6])
    correct = np.array([True, False, True, True])
    assert confidence_bins(confidence, 2).tolist() == [1, 0, 1, 0]
    # (|0.55 - 0.5| + |0.85 - 1.0|) / 2
    assert score(confidence, correct, bins=2).value == pytest.approx(0.1)


def test_bins_have_equal_mass() -> None:
    confidence = np.random.default_rng(0).random(3000)
    assert np.bincount(confidence_bins(confidence)).tolist() == [200] * 15


@given(st.lists(st.sampled_from([0.3, 0.5, 0.99, 1.0]), min_size=1, max_size=60))
def test_bins_follow_the_order_and_keep_equals_together(confidence: list[float]) -> None:
    bins = confidence_bins(np.array(confidence))
    assert bins.min() >= 0
    assert bins.max() < 15
    for one, one_bin in zip(confidence, bins, strict=True):
        for other, other_bin in zip(confidence, bins, strict=True):
            assert one_bin == other_bin if one == other else one > other or one_bin <= other_bin


def test_a_model_that_is_always_sure_and_half_right() -> None:
    result = score(np.ones(100), np.arange(100) % 2 == 0)
    assert result.value == pytest.approx(0.5)
    assert result.low == pytest.approx(0.4, abs=0.03)
    assert result.high == pytest.approx(0.6, abs=0.03)


def test_interval_of_a_calibrated_model_reaches_towards_zero() -> None:
    # The plain percentile interval would hold the truth, 0, not once; 95 % are promised, 250 draws are noisy.
    generator = np.random.default_rng(1)
    held = above = 0
    for _ in range(250):
        confidence = generator.uniform(0.5, 1, size=300)
        result = score(confidence, generator.random(300) < confidence)
        held += result.low == 0
        above += result.value > 0
    assert above == 250
    assert held / 250 > 0.9


def test_interval_covers_a_known_error() -> None:
    generator = np.random.default_rng(2)
    held = 0
    for _ in range(200):
        confidence = generator.uniform(0.6, 1, size=500)
        result = score(confidence, generator.random(500) < confidence - 0.1)
        held += result.low <= 0.1 <= result.high
    assert held / 200 > 0.93
