"""Temperature and thresholds, against what is known beforehand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from eyebright.data.image_set import Splits
from eyebright.exporting.bundle import Bundle
from eyebright.exporting.calibration import conformal_thresholds, fitted_temperature, observe


def drawn(n: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Logits, and labels drawn from their softmax: a calibrated model."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 2, (n, 5))
    labels = (logits + random.gumbel(size=logits.shape)).argmax(axis=1)
    return logits.astype(np.float32), labels


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_a_factor(factor: float) -> None:
    logits, labels = drawn(20_000, seed=0)
    assert fitted_temperature(np.float32(factor) * logits, labels) == pytest.approx(factor, rel=0.05)


def test_a_model_without_mistakes_keeps_its_own_temperature() -> None:
    assert fitted_temperature(10 * np.eye(4, dtype=np.float32), np.arange(4)) == 1.0


def test_thresholds_are_quantiles_of_what_the_truth_lacks() -> None:
    # 99 images whose truth has the probability 0.01, 0.02, ..., 0.99.
    truth = np.linspace(0.01, 0.99, 99, dtype=np.float32)
    probabilities = np.stack([truth, 1 - truth], axis=1)
    thresholds = conformal_thresholds(probabilities, np.zeros(99, np.int64))
    # Of 100 ranks (the new image's is one), the 90th least lack is 0.90, the 95th 0.95, the 99th 0.99.
    assert thresholds == pytest.approx({0.1: 0.90, 0.05: 0.95, 0.01: 0.99})


def test_too_few_images_rule_nothing_out() -> None:
    assert conformal_thresholds(np.full((20, 2), 0.5, np.float32), np.zeros(20, np.int64))[0.01] == 1.0


def test_sets_hold_the_truth_as_often_as_promised() -> None:
    logits, labels = drawn(20_000, seed=1)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    thresholds = conformal_thresholds(probabilities[:10_000], labels[:10_000])
    for risk, threshold in thresholds.items():
        inside = 1 - probabilities[10_000:] <= threshold
        missed = 1 - inside[np.arange(10_000), labels[10_000:]].mean()
        assert missed == pytest.approx(risk, abs=0.01)


def test_what_is_usual(bundle: Bundle, splits: Splits) -> None:
    probabilities, reference = observe(bundle.graph, splits.validation)
    images = splits.validation.images
    embedding = bundle.embedding(images)
    assert reference.images == 60
    assert reference.pixel_mean == pytest.approx(images.mean(axis=(0, 1, 2)), rel=1e-5)
    assert reference.pixel_std == pytest.approx(images.std(axis=(0, 1, 2)), rel=1e-5)
    assert reference.embedding_mean == pytest.approx(embedding.mean(axis=0), rel=1e-4, abs=1e-6)
    assert sum(reference.confidences) == sum(reference.predicted) == 60
    assert reference.predicted == tuple(np.bincount(probabilities.argmax(axis=1), minlength=3))
    assert bundle.manifest.reference == reference
