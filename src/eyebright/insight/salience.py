"""The order of an image's pixels by salience, and a control that is like it in everything but the place.

Pixels hidden one by one all over an image ruin it far more than as many in one patch. So maps are not compared with
pixels drawn at random but with themselves, each moved by a random distance around the image: regions of the same
number, size and shape, elsewhere.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

# Deviation of the blur that orders equal pixels, as a share of the side: cut at 4 deviations, it still reaches from
# one end of the image to the other.
_BLUR = 0.25


def orders(maps: NDArray[np.float32], generator: np.random.Generator) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """The order of the pixels by `maps` (N, H, W), and the same moved to random places: (N, H, W) int32 each.

    A map that is the same everywhere marks nothing: its order is the moved one, so that it is no better than that.
    """
    places = ranks(maps)
    elsewhere = moved(places, generator)
    flat = maps.max(axis=(1, 2)) == maps.min(axis=(1, 2))
    places[flat] = elsewhere[flat]
    return places, elsewhere


def ranks(maps: NDArray[np.float32]) -> NDArray[np.int32]:
    """The place of each pixel in the order of salience: (N, H, W) int32, 0 is the most salient of its image.

    Of equally salient pixels (a map is often 0 over a large part) those near salient ones come first; what is left
    equal goes row by row. So what is hidden first or last is a region and no dust.
    """
    _, height, width = maps.shape
    places = np.empty(maps.shape, dtype=np.int32)
    for own, values in zip(places, maps, strict=True):
        blurred = gaussian_filter(values.astype(np.float64), (_BLUR * height, _BLUR * width), mode="constant")
        order = np.lexsort((-blurred.ravel(), -values.ravel()))  # the most salient first; the last key decides first
        own.flat[order] = np.arange(height * width)
    return places


def moved(places: NDArray[np.int32], generator: np.random.Generator) -> NDArray[np.int32]:
    """`places` (N, H, W), each image's moved by a random distance; what leaves on one side comes in on the other."""
    _, height, width = places.shape
    found = np.empty_like(places)
    for own, image in zip(found, places, strict=True):
        own[:] = np.roll(image, tuple(generator.integers((height, width))), axis=(0, 1))
    return found


def spread(total: int, wanted: int) -> NDArray[np.int64]:
    """`wanted` positions (all, if there are no more) spread evenly over 0 .. `total` - 1."""
    return np.unique(np.linspace(0, total - 1, min(wanted, total)).round().astype(np.int64))
