"""`ImageSet`: the one type of input. A folder, CIFAR-10 or a zip all become one."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from eyebright.core.errors import DataError
from eyebright.core.input_spec import Interpolation, Resize

# Pixels that `ImageSet.fingerprint` hashes at a time: bounds its memory for memory-mapped sets.
_HASH_CHUNK_BYTES = 64 << 20


class Pixels(Protocol):
    """Random access to images of one size: an array, one file of pixels, or image files decoded on demand."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(M, H, W, C)."""

    def __getitem__(self, rows: NDArray[np.int64], /) -> NDArray[np.uint8]:
        """Images (B, H, W, C) uint8 of `rows` (B,), in their order."""


@dataclasses.dataclass(frozen=True)
class BadImage:
    """A file that was left out, and why."""

    name: str
    reason: str


@dataclasses.dataclass(frozen=True, eq=False)
class ImageStore:
    """All images of one source, shared by the sets that select from it.

    Attributes
    ----------
    pixels : (M, H, W, C) uint8, C is 1 or 3.
    labels : (M,) int64, positions in `classes`.
    names : (M,) where each image came from: a path, or a path inside an archive.
    classes : class names.
    source : name of the data set.
    bad : files that were left out.
    resize, interpolation : how images of other shapes were brought to (H, W).
    key : hash of the content where reading all pixels would be slow; None where they are in memory.
    root : folder or zip that `names` are relative to; None where the images are not single files.
    """

    pixels: Pixels
    labels: NDArray[np.int64]
    names: Sequence[str]
    classes: tuple[str, ...]
    source: str
    bad: tuple[BadImage, ...] = ()
    resize: Resize = "crop"
    interpolation: Interpolation = "bilinear"
    key: str | None = None
    root: Path | None = None

    @property
    def in_memory(self) -> bool:
        """Whether the pixels cost no reading; a memory map, though an array, does."""
        return isinstance(self.pixels, np.ndarray) and not isinstance(self.pixels, np.memmap)


@dataclasses.dataclass(frozen=True, eq=False)
class ImageSet:
    """A selection of images, each known by its row in the source for ever.

    `image_set[rows]` selects by row of the source (as found in `Predictions.index`), `take` by
    position. Both share the pixels; nothing is copied.

    Attributes
    ----------
    store : the source.
    index : (N,) int64, rows of the source.
    split : "train", "validation", "test", ...
    """

    store: ImageStore
    index: NDArray[np.int64]
    split: str

    def __len__(self) -> int:
        return len(self.index)

    def __repr__(self) -> str:
        height, width, channels = self.shape
        return (
            f"ImageSet({self.store.source} {self.split}: {len(self)} images "
            f"{height}x{width}x{channels}, {len(self.classes)} classes)"
        )

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; a label is a position in them."""
        return self.store.classes

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, C) of every image."""
        _, height, width, channels = self.store.pixels.shape
        return height, width, channels

    @property
    def labels(self) -> NDArray[np.int64]:
        """(N,) int64."""
        return self.store.labels[self.index]

    @property
    def images(self) -> NDArray[np.uint8]:
        """(N, H, W, C) uint8, all of them at once: for sets that fit in memory."""
        return self.store.pixels[self.index]

    @property
    def names(self) -> list[str]:
        """(N,) where each image came from."""
        return [self.store.names[row] for row in self.index]

    def take(self, positions: NDArray[np.int64] | NDArray[np.bool_] | Sequence[int]) -> ImageSet:
        """The images at `positions` (0 .. N-1), in that order; or those where a mask (N,) is true.

        Raises
        ------
        DataError : `positions` are neither integers nor such a mask.
        """
        chosen = np.asarray(positions)
        if chosen.dtype == np.bool_ and chosen.shape == (len(self),):
            chosen = np.flatnonzero(chosen)
        return dataclasses.replace(self, index=self.index[_integers(chosen)])

    def __getitem__(self, rows: int | NDArray[np.int64] | Sequence[int]) -> ImageSet:
        """The images with these rows of the source, in that order.

        Raises
        ------
        DataError : a row is not in this selection, or `rows` are no integers (a mask, a slice: use `take`).
        """
        wanted = np.atleast_1d(_integers(np.asarray(rows)))
        missing = wanted[~np.isin(wanted, self.index)]
        if len(missing):
            raise DataError(
                f"source image {missing[0]} is not in the {self.split} split of {self.store.source}.",
                "Select from the split that the prediction was made on, or use take() for positions.",
            )
        return dataclasses.replace(self, index=wanted)

    @functools.cached_property
    def fingerprint(self) -> str:
        """BLAKE2b of the pixels, labels and class names: the same content gives the same 32 hex digits."""
        digest = hashlib.blake2b(digest_size=16)
        digest.update(repr((self.shape, self.classes)).encode())
        digest.update(self.labels.tobytes())
        if self.store.key is not None:
            digest.update(self.store.key.encode() + self.index.tobytes())
            return digest.hexdigest()
        height, width, channels = self.shape
        chunk = max(1, _HASH_CHUNK_BYTES // (height * width * channels))
        for first in range(0, len(self), chunk):
            digest.update(np.ascontiguousarray(self.store.pixels[self.index[first : first + chunk]]).data)
        return digest.hexdigest()


def _integers(chosen: NDArray[Any]) -> NDArray[np.int64]:
    if chosen.size and chosen.dtype.kind not in "iu":
        raise _no_rows(f"an array of {chosen.dtype}")
    return chosen.astype(np.int64)


def _no_rows(what: str) -> DataError:
    return DataError(f"{what} does not name images.", "Give integers; take() also takes a mask or range(16).")


@dataclasses.dataclass(frozen=True, eq=False)
class Splits:
    """The three parts of a data set; `test` stays untouched until the end. Each part knows its name."""

    train: ImageSet
    validation: ImageSet
    test: ImageSet

    def __post_init__(self) -> None:
        for name in ("train", "validation", "test"):
            part: ImageSet = getattr(self, name)
            if part.split != name:  # such as two halves of one training set
                object.__setattr__(self, name, dataclasses.replace(part, split=name))

    def __iter__(self) -> Iterator[ImageSet]:
        return iter((self.train, self.validation, self.test))
