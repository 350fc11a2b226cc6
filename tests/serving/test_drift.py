"""Distances from the reference by hand, and how often they are published."""

from __future__ import annotations

import math

import numpy as np
import pytest

from eyebright.exporting.manifest import Reference
from eyebright.serving.drift import Drift, stability_index

REFERENCE = Reference(
    images=100,
    pixel_mean=(100.0,),
    pixel_std=(50.0,),
    embedding_mean=(0.0, 2.0),
    embedding_std=(0.5, 0.0),
    confidences=(0,) * 10 + (50,) * 2 + (0,) * 8,
    predicted=(50, 50),
)


def test_the_index_of_equal_shares_is_zero() -> None:
    assert stability_index(np.array([3, 3]), np.array([7, 7])) == pytest.approx(0)
    assert stability_index(np.array([0, 4, 9]), np.array([0, 4, 9])) == 0


def test_the_index_by_hand() -> None:
    # Shares 0.5 and 0.5 against 0 and 1, each with a hundredth spread over both.
    expected = (0.005 - 0.5) * math.log(0.005 / 0.5) + (0.995 - 0.5) * math.log(0.995 / 0.5)
    assert stability_index(np.array([50, 50]), np.array([0, 7])) == pytest.approx(expected)


def test_distances_are_published_once_a_window() -> None:
    published: list[tuple[str, float]] = []
    drift = Drift(REFERENCE, lambda what, distance: published.append((what, distance)))
    images = np.full((250, 4, 4, 1), 125, np.uint8)  # half a standard deviation lighter
    probabilities = np.tile(np.array([[0.52, 0.48], [0.43, 0.57]], np.float32), (125, 1))
    embedding = np.tile(np.array([[1.0, 9.0]], np.float32), (250, 1))  # two; the second never varied
    for _ in range(3):
        drift.note(images, probabilities, embedding)
    assert published == []
    drift.note(images, probabilities, embedding)
    found = dict(published)
    assert len(published) == 4
    assert found["pixels"] == pytest.approx(0.5)
    assert found["embedding"] == pytest.approx(2)
    assert found["classes"] == pytest.approx(0, abs=1e-4)
    assert found["confidence"] == pytest.approx(0, abs=1e-4)

    surest = np.tile(np.array([[1.0, 0.0]], np.float32), (1000, 1))
    drift.note(np.zeros((1000, 40, 40, 1), np.uint8), surest, np.zeros((1000, 2), np.float32))
    found = dict(published[4:])
    assert found["classes"] > 0.25
    assert found["confidence"] > 0.25
    assert found["pixels"] == pytest.approx(2)
