"""Occlusion and the scaling of maps, on answers that can be worked out by hand."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eyebright.core.input_spec import InputSpec
from eyebright.exporting.explanation import occlusion, scaled

SPEC = InputSpec(8, 8, 1, (0.0,), (1.0,), ("a", "b"))


def test_occlusion_marks_the_pixel_that_counts() -> None:
    image = np.zeros((8, 8, 1), np.uint8)
    image[2, 5] = 200

    def score(views: NDArray[np.uint8]) -> NDArray[np.float32]:
        return views[:, 2, 5, 0].astype(np.float32)

    falls = occlusion(image, SPEC, score)
    # Squares of 2x2 at every pixel: each that hides it lets the score fall by 200.
    assert falls[2, 5] == 200
    # Of the four squares over its neighbour, two hide it; over the one across, one does.
    assert (falls[2, 4], falls[1, 4]) == (100, 50)
    assert falls[7, 7] == 0
    assert image[2, 5] == 200


def test_scaling_keeps_what_speaks_for_the_class() -> None:
    map_ = np.array([[-5.0, 0.0], [0.0, 2.0]], np.float32)
    heat = scaled(map_, 4, 4)
    assert heat.dtype == np.float32
    assert (heat.min(), heat.max()) == (0, 1)
    assert heat[3, 3] == 1


def test_a_map_that_says_nothing_is_0() -> None:
    for value in (-1.0, 0.0, 3.0):
        assert not scaled(np.full((2, 2), value, np.float32), 4, 4).any()
