"""Decoding many files with several threads: one after the other in order, or on demand as `Pixels`.

Threads are enough, because Pillow lets go of Python's lock while it decodes and resizes.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from eyebright.core.errors import BadImageError
from eyebright.core.input_spec import Interpolation, Resize
from eyebright.core.processor import available_threads
from eyebright.data.decode import load_image
from eyebright.data.image_files import ImageFiles
from eyebright.data.names import Names

# One task decodes this much at most: enough that handing it to a thread (some 50 us) costs nothing beside it, little
# enough that the tasks under way (two a thread) stay far below the size of any memory.
_TASK_IMAGES = 64
_TASK_BYTES = 2 << 20

_MOST_THREADS = 32  # beyond it Python's lock or the disk is the bound, not the cores


@dataclasses.dataclass(frozen=True)
class Decoding:
    """How files become pixels.

    Attributes
    ----------
    height, width, channels : of every image, (H, W, C).
    resize, interpolation : see `InputSpec`.
    """

    height: int
    width: int
    channels: int
    resize: Resize
    interpolation: Interpolation

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, C)."""
        return self.height, self.width, self.channels

    @property
    def image_bytes(self) -> int:
        """Bytes of one decoded image."""
        return self.height * self.width * self.channels

    def pixels(self, files: ImageFiles, name: str) -> NDArray[np.uint8]:
        """(H, W, C) of one file.

        Raises
        ------
        BadImageError : it cannot be read or decoded.
        """
        return load_image(files.read(name), self, name=files.full_name(name))


@dataclasses.dataclass(frozen=True, eq=False)
class StreamedPixels:
    """`Pixels` whose files are decoded each time they are asked for: for sets that fit nowhere.

    It holds no threads and no open files between calls, so it survives a fork and can be sent to workers.
    """

    files: ImageFiles
    names: Names
    decoding: Decoding

    @property
    def shape(self) -> tuple[int, ...]:
        """(M, H, W, C)."""
        return (len(self.names), *self.decoding.shape)

    def __getitem__(self, rows: NDArray[np.int64], /) -> NDArray[np.uint8]:
        """Images (B, H, W, C) uint8 of `rows` (B,), in their order.

        Raises
        ------
        BadImageError : a file has been changed or removed since it was checked.
        """
        images = np.empty((len(rows), *self.decoding.shape), np.uint8)
        with ThreadPoolExecutor(_threads(), thread_name_prefix="decode") as pool:
            decoded = pool.map(lambda name: self.decoding.pixels(self.files, name), self.names.take(rows))
            for position, image in enumerate(decoded):
                images[position] = image
        return images


def decode_in_order(
    files: ImageFiles, names: Names, decoding: Decoding
) -> Generator[NDArray[np.uint8] | BadImageError]:
    """Decode `names` in parallel and yield (H, W, C) of each in their order, or the error of a bad one.

    Only a few images are under way at a time, so memory stays flat however many there are.
    """
    task = max(1, min(_TASK_IMAGES, _TASK_BYTES // decoding.image_bytes))
    threads = _threads()
    pending: collections.deque[Future[list[NDArray[np.uint8] | BadImageError]]] = collections.deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="decode") as pool:
        try:
            for first in range(0, len(names), task):
                pending.append(pool.submit(_decode_task, files, names[first : first + task], decoding))
                if len(pending) == 2 * threads:
                    yield from pending.popleft().result()
            while pending:
                yield from pending.popleft().result()
        finally:  # after an error or Ctrl-C nobody waits for what has not begun
            pool.shutdown(wait=False, cancel_futures=True)


def _decode_task(files: ImageFiles, names: Names, decoding: Decoding) -> list[NDArray[np.uint8] | BadImageError]:
    decoded: list[NDArray[np.uint8] | BadImageError] = []
    for name in names:
        try:
            decoded.append(decoding.pixels(files, name))
        except BadImageError as error:
            decoded.append(error)
    return decoded


def _threads() -> int:
    """The cores that this process may use, and two more that wait for the disk."""
    return min(available_threads() + 2, _MOST_THREADS)
