"""Nearest known images, worked out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from eyebright.exporting.known import KnownImages

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
    assert KnownImages.load(tmp_path) is None
    KNOWN.save(tmp_path)
    loaded = KnownImages.load(tmp_path)
    assert loaded is not None
    np.testing.assert_array_equal(loaded.thumbnails, KNOWN.thumbnails)
    np.testing.assert_array_equal(loaded.labels, KNOWN.labels)
    np.testing.assert_allclose(loaded.embeddings, KNOWN.embeddings, atol=1e-3)
