"""From arrays in memory to an `ImageSet` of the wanted size and channels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from eyebright.core.settings.data import DataSettings
from eyebright.data import decode
from eyebright.data.image_set import ImageSet, ImageStore
from eyebright.data.progress import Progress


def array_set(  # noqa: PLR0913 - what an ImageStore holds, and how it is wanted
    pixels: NDArray[np.uint8],
    labels: NDArray[np.int64],
    names: Sequence[str],
    classes: tuple[str, ...],
    *,
    source: str,
    split: str,
    settings: DataSettings,
    progress: Progress | None = None,
) -> ImageSet:
    """All of `pixels` (N, H, W, C) as one set, brought once to the size and channels of `settings`."""
    if settings.channels is not None:
        pixels = with_channels(pixels, settings.channels)
    if settings.size is not None:
        pixels = _resized(pixels, settings.size, settings, f"resize {source} {split}", progress)
    store = ImageStore(
        pixels=np.ascontiguousarray(pixels),
        labels=labels,
        names=names,
        classes=classes,
        source=source,
        resize=settings.resize,
        interpolation=settings.interpolation,
    )
    return ImageSet(store, np.arange(len(labels), dtype=np.int64), split)


def with_channels(pixels: NDArray[np.uint8], channels: int) -> NDArray[np.uint8]:
    """`pixels` (N, H, W, C) with 1 (grey, by the luma weights of ITU-R 601 as Pillow has them) or 3 channels."""
    count, height, width, own = pixels.shape
    if own == channels:
        return pixels
    if channels == 3:
        return np.repeat(pixels, 3, axis=3)
    # Pillow converts pixel by pixel, so all images can be one tall image.
    tall = Image.fromarray(pixels.reshape(count * height, width, own))
    return np.asarray(tall.convert("L")).reshape(count, height, width, 1)


def _resized(
    pixels: NDArray[np.uint8], size: int, settings: DataSettings, what: str, progress: Progress | None
) -> NDArray[np.uint8]:
    """`pixels` (N, H, W, C) as (N, size, size, C)."""
    count, height, width, channels = pixels.shape
    if (height, width) == (size, size):
        return pixels
    resized = np.empty((count, size, size, channels), np.uint8)
    for row, image in enumerate(pixels):
        resized[row] = decode.fit(image, size, size, settings.resize, settings.interpolation)
        if progress is not None and (row + 1 == count or row % 1000 == 999):  # every thousandth: telling costs too
            progress(what, row + 1, count)
    return resized
