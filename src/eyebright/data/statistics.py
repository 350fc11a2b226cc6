"""Statistics of pixels that normalisation needs."""

from __future__ import annotations

import numpy as np

from eyebright.data.image_set import ImageSet

# Pixels that are summed at a time: bounds the memory, whatever the size of set and images.
_CHUNK_BYTES = 16 << 20


def mean_and_deviation(images: ImageSet) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of every channel over all pixels, in units of the 0..1 range.

    Exact: sums of uint8 are kept as integers. A channel that never changes gets deviation 1, since
    there is nothing to scale.
    """
    height, width, channels = images.shape
    total = np.zeros(channels, dtype=np.int64)
    squares = np.zeros(channels, dtype=np.int64)
    chunk = max(1, _CHUNK_BYTES // (height * width * channels))
    for first in range(0, len(images), chunk):
        pixels = images.store.pixels[images.index[first : first + chunk]]  # (B, H, W, C)
        for channel in range(channels):
            counts = np.bincount(pixels[..., channel].ravel(), minlength=256)
            total[channel] += counts @ np.arange(256)
            squares[channel] += counts @ np.arange(256) ** 2
    n = len(images) * height * width
    mean = total / n
    deviation = np.sqrt(np.maximum(squares / n - mean**2, 0))
    deviation[deviation == 0] = 255
    return tuple((mean / 255).tolist()), tuple((deviation / 255).tolist())
