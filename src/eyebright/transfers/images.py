"""Images of other data as a model wants them, and a few of them with labels."""

from __future__ import annotations

import dataclasses

import numpy as np

from eyebright.core.errors import DataError
from eyebright.core.input_spec import InputSpec
from eyebright.core.randomness import stream
from eyebright.data.decode import fit
from eyebright.data.image_set import ImageSet, ImageStore, Splits
from eyebright.data.sources.arrays import with_channels

# Images that are brought to size at a time: bounds the memory for those that are decoded on demand.
_CHUNK = 1024


def fitted(splits: Splits, spec: InputSpec) -> Splits:
    """The same images in the size and channels of `spec`, in memory; as they are where they have them already."""
    made: dict[int, ImageStore] = {}
    for part in splits:
        if id(part.store) not in made:
            made[id(part.store)] = _fitted(part.store, spec)
    return Splits(*(dataclasses.replace(part, store=made[id(part.store)]) for part in splits))


def labelled(images: ImageSet, count: int, seed: int) -> ImageSet:
    """The first `count` images in a random order whose every beginning has the classes in proportion.

    So 50 labelled images are among 250, and those among 1000.

    Raises
    ------
    DataError : so few that a class has none.
    """
    if count >= len(images):
        return images
    random = stream("labelled images", seed)
    labels = images.labels
    place = np.empty(len(images))  # of each image among those of its class, 0..1
    for label in range(len(images.classes)):
        own = np.flatnonzero(labels == label)
        place[random.permutation(own)] = (np.arange(len(own)) + 0.5) / max(1, len(own))
    chosen = images.take(np.sort(np.argsort(place, kind="stable")[:count]))
    lacking = np.setdiff1d(labels, chosen.labels)
    if len(lacking):
        raise DataError(
            f"{count} of the {len(images)} {images.split} images of {images.store.source} are too few: none is "
            f"{images.classes[lacking[0]]!r}.",
            "Give a larger budget of labels.",
        )
    return chosen


def _fitted(store: ImageStore, spec: InputSpec) -> ImageStore:
    count = len(store.labels)
    if tuple(store.pixels.shape[1:]) == (spec.height, spec.width, spec.channels):
        return store
    pixels = np.empty((count, spec.height, spec.width, spec.channels), np.uint8)
    for first in range(0, count, _CHUNK):
        rows = np.arange(first, min(first + _CHUNK, count))
        for row, image in zip(rows, with_channels(store.pixels[rows], spec.channels), strict=True):
            pixels[row] = fit(image, spec.height, spec.width, spec.resize, spec.interpolation)
    return dataclasses.replace(store, pixels=pixels, resize=spec.resize, interpolation=spec.interpolation, key=None)
