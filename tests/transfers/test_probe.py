from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from eyebright.transfers.probe import Probe

Features = tuple[np.ndarray, np.ndarray]


def clouds(n: int, seed: int, noise: float) -> Features:
    """Three classes around corners of a triangle, in features of very different sizes."""
    random = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    centres = np.array([[0, 0], [2, 0], [0, 2]])[labels]
    features = (centres + random.normal(0, noise, (n, 2))) * np.array([1, 1000])
    return features.astype(np.float32), labels


def test_it_is_the_logistic_regression_of_its_strength() -> None:
    (train, given), (held_out, chosen_by), (test, _) = (clouds(60, seed, 0.8) for seed in range(3))
    probe = Probe(train, given, held_out, chosen_by)
    scaler = StandardScaler().fit(train)
    regression = LogisticRegression(C=probe.strength, max_iter=2000).fit(scaler.transform(train), given)
    assert softmax(probe.logits(test), axis=1) == pytest.approx(
        regression.predict_proba(scaler.transform(test)), abs=1e-4
    )


def test_noise_asks_for_a_stronger_penalty_than_order() -> None:
    order = Probe(*clouds(60, 0, 0.1), *clouds(60, 1, 0.1))
    random = np.random.default_rng(0)
    noise = Probe(
        random.normal(size=(60, 30)).astype(np.float32),
        np.arange(60) % 3,
        random.normal(size=(60, 30)).astype(np.float32),
        np.arange(60) % 3,
    )
    assert noise.strength < 0.01 < order.strength


def test_features_far_away_have_finite_logits() -> None:
    probe = Probe(*clouds(60, 0, 0.01), *clouds(60, 1, 0.01))
    assert np.isfinite(probe.logits(np.array([[1e9, -1e9]], np.float32))).all()


def test_validation_images_need_not_have_every_class() -> None:
    held_out, labels = clouds(60, 1, 0.5)
    assert Probe(*clouds(60, 0, 0.5), held_out[labels == 1], labels[labels == 1]).strength > 0
