"""Small versions of many images, so that a page can show all of them."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from eyebright.data.image_set import ImageSet

PIXELS = 12_000_000  # of all thumbnails together: CIFAR-10's 10,000 test images as they are, or fewer larger ones
_SMALLEST_EDGE, _LARGEST_EDGE = 24, 160  # pixels; below the first nobody recognises anything
_AT_ONCE_BYTES = 256 << 20  # of decoded images held while they shrink


@dataclasses.dataclass(frozen=True, eq=False)
class Thumbnails:
    """Small versions of some images.

    Attributes
    ----------
    position : (n,) int64, what they are of: positions in the predictions, or in a set.
    images : (n, h, w, C) uint8.
    names : (n,) where each image came from.
    files : whether the names are files of a folder or an archive, by which they can be found again.
    """

    position: NDArray[np.int64]
    images: NDArray[np.uint8]
    names: tuple[str, ...]
    files: bool

    def __len__(self) -> int:
        return len(self.position)


def shrink(images: ImageSet, position: NDArray[np.int64], *, pixels: int = PIXELS) -> Thumbnails:
    """Small versions of the images at `position` (n,), in that order, of about `pixels` in all at most.

    Images that are small already stay as they are.
    """
    chosen = images.take(position)
    height, width, channels = images.shape
    edge = min(_LARGEST_EDGE, max(_SMALLEST_EDGE, math.isqrt(pixels // max(1, len(chosen)))))
    factor = min(1.0, edge / max(height, width))
    size = (max(1, round(height * factor)), max(1, round(width * factor)))
    small = np.empty((len(chosen), *size, channels), dtype=np.uint8)
    chunk = max(1, _AT_ONCE_BYTES // (height * width * channels))
    for first in range(0, len(chosen), chunk):
        whole = chosen.take(range(first, min(first + chunk, len(chosen)))).images  # (B, H, W, C)
        small[first : first + chunk] = whole if factor == 1.0 else resized(whole, size)
    return Thumbnails(position, small, tuple(chosen.names), chosen.store.root is not None)


def most(pixels: int = PIXELS) -> int:
    """How many images have room, each at the smallest size that is recognised."""
    return pixels // _SMALLEST_EDGE**2


def resized(images: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Images (B, H, W, C) at `size` (h, w), each pixel the mean of those that it covers: (B, h, w, C)."""
    height, width = size
    small = [
        np.asarray(
            Image.fromarray(image if image.shape[2] == 3 else image[..., 0]).resize(
                (width, height), Image.Resampling.BOX
            )
        )
        for image in images
    ]
    return np.stack(small).reshape(len(images), height, width, -1)


def evenly(position: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """`count` of the positions (all, if there are no more), evenly from the first to the last."""
    if len(position) <= count:
        return position
    return position[np.linspace(0, len(position) - 1, count).round().astype(np.int64)]
