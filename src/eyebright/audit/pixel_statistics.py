"""Mean and deviation of the pixels of a split, with their standard errors: what normalisation assumes of them."""

from __future__ import annotations

import dataclasses

import numpy as np

from eyebright.core.randomness import stream
from eyebright.data.image_set import ImageSet

_IMAGES = 2_000  # the mean of so many is known to a hundredth of the deviation, whatever the images
_CHUNK_BYTES = 32 << 20  # pixels that are held at a time, as float64 eight times as much


@dataclasses.dataclass(frozen=True)
class PixelStatistics:
    """The pixels of one split, a value a channel, in units of the 0..1 range.

    Attributes
    ----------
    n : images that were looked at.
    mean, deviation : over all their pixels.
    mean_error, deviation_error : standard errors of both as estimates of the whole split. Images vary as wholes, so
        they come from the spread between images: a pixel says little that its neighbours do not say.
    """

    n: int
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    mean_error: tuple[float, ...]
    deviation_error: tuple[float, ...]


def pixel_statistics(images: ImageSet, *, count: int = _IMAGES, seed: int = 0) -> PixelStatistics:
    """Measure a random sample of `count` images; there must be at least one."""
    height, width, channels = images.shape
    drawn = np.sort(stream("pixel statistics", seed).permutation(len(images))[:count])
    rows = images.index[drawn]
    chunk = max(1, _CHUNK_BYTES // (height * width * channels))
    means, squares = [], []
    for first in range(0, len(rows), chunk):
        pixels = images.store.pixels[rows[first : first + chunk]] / 255.0  # (B, H, W, C) float64
        means.append(pixels.mean(axis=(1, 2)))
        squares.append((pixels**2).mean(axis=(1, 2)))
    mean_of, square_of = np.concatenate(means), np.concatenate(squares)  # (n, C), an image a row
    mean = mean_of.mean(axis=0)
    variance_of = square_of - 2 * mean * mean_of + mean**2  # (n, C), each around the mean of all
    variance = np.maximum(variance_of.mean(axis=0), 0)
    deviation = np.sqrt(variance)
    root = np.sqrt(len(rows))
    # d sqrt(v) = dv / (2 sqrt(v)); a channel that never changes has no error either.
    error = np.divide(variance_of.std(axis=0) / root, 2 * deviation, out=np.zeros(channels), where=deviation > 0)
    return PixelStatistics(
        len(rows),
        tuple(mean.tolist()),
        tuple(deviation.tolist()),
        tuple((mean_of.std(axis=0) / root).tolist()),
        tuple(error.tolist()),
    )
