"""Images that several splits hold, pixel by pixel: who has seen the answer before the examination."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from eyebright.core.errors import DataError
from eyebright.data.image_set import ImageSet, Splits
from eyebright.data.progress import Progress

# Pixels that are hashed at a time: bounds the memory for sets that are mapped or decoded on demand.
_CHUNK_BYTES = 64 << 20

_logger = logging.getLogger("eyebright")


def digests(images: ImageSet) -> NDArray[np.void]:
    """BLAKE2b of the pixels of each image (N,), 16 bytes: equal where the images are, whatever their labels."""
    height, width, channels = images.shape
    chunk = max(1, _CHUNK_BYTES // (height * width * channels))
    found = []
    for first in range(0, len(images), chunk):
        pixels = images.store.pixels[images.index[first : first + chunk]]  # (B, H, W, C)
        found += [hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16).digest() for image in pixels]
    # As void, not as text: NumPy would take zero bytes at the end for padding.
    return np.frombuffer(b"".join(found), dtype="V16")


def without_copies(splits: Splits, *, near: bool = False, progress: Progress | None = None) -> Splits:
    """The splits without the images that a later one holds: test stays whole, training gives way to both.

    Parameters
    ----------
    splits : the images.
    near : leave out those too that were changed a little, see `eyebright.data.near_copies`.
    progress : of the search for these.

    Raises
    ------
    DataError : a class has no other images.
    """
    train, validation, test = _pictures(splits, progress) if near else map(digests, splits)
    return Splits(
        _without(splits.train, np.isin(train, np.concatenate([validation, test]))),
        _without(splits.validation, np.isin(validation, test)),
        splits.test,
    )


def _pictures(splits: Splits, progress: Progress | None) -> Iterator[NDArray[np.int64]]:
    from eyebright.data.near_copies import find_copies  # brings torch

    found = find_copies(splits, progress=progress)
    return (found.groups[part.split] for part in splits)


def _without(images: ImageSet, copied: NDArray[np.bool_]) -> ImageSet:
    if not copied.any():
        return images
    kept = images.take(~copied)
    lost = np.setdiff1d(images.labels, kept.labels)
    if len(lost):
        raise DataError(
            f"every image of {images.classes[lost[0]]!r} in {images.split} is a copy of one in a later split.",
            "Add images of this class, or train with data.leave_out_copies=false.",
        )
    _logger.info("%s: left out %d copies of images of later splits", images.split, int(copied.sum()))
    return kept
