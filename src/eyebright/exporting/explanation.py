"""Which part of an image speaks for a class, without gradients: class-activation maps and occlusion. No torch.

Where a network ends in a mean over its map and a linear layer, the class-activation map is exact: its mean is the
class's logit but for the bias (Zhou et al. 2016, arXiv:1512.04150). The graph computes it. Elsewhere squares of the
image are hidden, one after the other (Zeiler and Fergus 2014, arXiv:1311.2901). Both as `eyebright.insight` has them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from eyebright.core.input_spec import InputSpec
from eyebright.evaluation.occlusion import squares

# Of the largest value of a map: what differs by less is the same everywhere, and would be blown up to a picture.
_ROUNDING = 1e-5


def occlusion(
    image: NDArray[np.uint8], spec: InputSpec, score: Callable[[NDArray[np.uint8]], NDArray[np.float32]]
) -> NDArray[np.float32]:
    """By how much a class's logit falls where a square is hidden under the mean colour, (h, w).

    Parameters
    ----------
    image : (h, w, C), of the model's size.
    spec : says the mean colour.
    score : from images (N, h, w, C) to logits (N,) of the class.
    """
    places = list(itertools.product(squares(spec.height), squares(spec.width)))
    views = np.repeat(image[np.newaxis], len(places) + 1, axis=0)  # (1 + S, h, w, C), the first as it is
    for view, (rows, columns) in zip(views[1:], places, strict=True):
        view[rows, columns] = np.rint(255 * np.array(spec.mean))
    whole, *hidden = score(views)
    falls = np.zeros(image.shape[:2], np.float32)  # summed over the squares that hide a pixel
    times = np.zeros(image.shape[:2], np.float32)
    for left, (rows, columns) in zip(hidden, places, strict=True):
        falls[rows, columns] += whole - left
        times[rows, columns] += 1
    return falls / times


def scaled(raw: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """A map of any size to (height, width), from 0 to 1: the part that speaks for the class; 0 where there is none."""
    positive = np.maximum(raw, 0)
    small = Image.fromarray(positive - positive.min())
    enlarged = np.asarray(small.resize((width, height), Image.Resampling.BILINEAR))
    above: NDArray[np.float32] = enlarged - enlarged.min()
    largest = above.max()
    return above / largest if largest > _ROUNDING * np.abs(raw).max() else np.zeros_like(above)
