"""Pixels of many images in one .npy file: written one after the other, read by row.

Not through a memory map: each page that a map has touched counts as memory of the process until the system takes it
back, so that a set seems to grow with every epoch; and on a full disk a write fails with an error, where a mapped page
kills the process. An image of 224x224 is read in 13 us and copied from a map in 8, of some 300 that it takes to prepare
(benchmarks/image_folder.py).
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, final

import numpy as np
from numpy.typing import NDArray

from eyebright.core.errors import StorageError

if sys.platform != "win32":
    import fcntl

# Brought to the disk in steps of this size while the next images are decoded. Otherwise a slow disk (200 MB/s) takes
# half as long again after the last image as all the decoding took before it.
_FLUSH_BYTES = 32 << 20


@final
class PixelFile:
    """`Pixels` that stay in their file; memory holds only the rows that are asked for.

    The file is open, and locked (shared), as long as the object lives: see `is_open`. Threads and forked processes may
    read at the same time; a pickled one opens the file again.

    Attributes
    ----------
    path : of the .npy file.
    shape : (M, H, W, C).

    Raises
    ------
    ValueError : the file holds no such pixels, or fewer than its header says.
    OSError : it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        weakref.finalize(self, os.close, self._file)
        self._lock = threading.Lock()  # for systems without preadv, where a reader moves the file's one position
        if sys.platform != "win32":
            with contextlib.suppress(OSError):  # a file system without locks: removing an open file is safe there
                fcntl.flock(self._file, fcntl.LOCK_SH)
        with open(self._file, "rb", closefd=False) as file:
            self.shape, self._begin = _read_header(file)
        expected, size = self._begin + math.prod(self.shape), os.fstat(self._file).st_size
        if size != expected:
            raise ValueError(f"{path} has {size} bytes, not {expected}")

    def __getitem__(self, rows: NDArray[np.int64], /) -> NDArray[np.uint8]:
        """Images (B, H, W, C) uint8 of `rows` (B,), in their order.

        Raises
        ------
        StorageError : the file can no longer be read.
        """
        images = np.empty((len(rows), math.prod(self.shape[1:])), np.uint8)
        for image, row in zip(images, rows.tolist(), strict=True):
            if not 0 <= row < self.shape[0]:
                raise IndexError(f"there is no row {row} among {self.shape[0]}")
            self._fill(image.data, self._begin + row * len(image))
        return images.reshape(-1, *self.shape[1:])

    def __reduce__(self) -> tuple[type[PixelFile], tuple[Path]]:
        return PixelFile, (self.path,)

    def _fill(self, buffer: memoryview, position: int) -> None:
        while buffer:
            try:
                count = self._read(buffer, position)
            except OSError as error:
                raise self._lost(error.strerror or str(error)) from error
            if not count:
                raise self._lost("the file has become shorter")
            buffer, position = buffer[count:], position + count

    def _read(self, buffer: memoryview, position: int) -> int:
        """Read bytes from `position` on, and tell how many; 0 is the end."""
        if hasattr(os, "preadv"):
            return os.preadv(self._file, [buffer], position)
        with self._lock:
            os.lseek(self._file, position, os.SEEK_SET)
            content = os.read(self._file, len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def _lost(self, reason: str) -> StorageError:
        return StorageError(
            f"decoded images can no longer be read from {self.path}: {reason}.", "Run the command again."
        )


@final
class PixelWriter:
    """What `pixel_writer` gives: takes images one after the other."""

    def __init__(self, file: BinaryIO, flusher: ThreadPoolExecutor) -> None:
        self.count = 0
        self._file = file
        self._flusher = flusher
        self._flush: Future[None] | None = None
        self._unflushed = 0  # bytes

    def write(self, image: NDArray[np.uint8]) -> None:
        """Add one image (H, W, C)."""
        self._file.write(image.data)
        self.count += 1
        self._unflushed += image.nbytes
        if self._unflushed >= _FLUSH_BYTES and (self._flush is None or self._flush.done()):
            self.wait()
            self._flush = self._flusher.submit(os.fsync, self._file.fileno())
            self._unflushed = 0

    def wait(self) -> None:
        """Wait for the last step to the disk, and raise what became of it."""
        if self._flush is not None:
            self._flush.result()


@contextlib.contextmanager
def pixel_writer(path: Path, most: int, shape: tuple[int, int, int]) -> Iterator[PixelWriter]:
    """Make a .npy file of up to `most` images of `shape` (H, W, C). When the body has ended, all of it is on the disk.

    Raises
    ------
    OSError : the disk refuses it.
    """
    with path.open("wb") as file, ThreadPoolExecutor(1, thread_name_prefix="flush") as flusher:
        _write_header(file, (most, *shape))
        begin = file.tell()
        writer = PixelWriter(file, flusher)
        yield writer
        writer.wait()
        file.seek(0)
        _write_header(file, (writer.count, *shape))
        if file.tell() != begin:
            raise RuntimeError("NumPy wrote headers of different lengths")
        file.flush()
        os.fsync(file.fileno())


def is_open(path: Path) -> bool:
    """Whether a process, this one included, has a `PixelFile` of it. Windows itself refuses to remove such a file."""
    if sys.platform == "win32":
        return False
    try:
        with path.open("rb+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # it does not exist, or the file system has no locks
        return False
    return False


def _write_header(file: BinaryIO, shape: tuple[int, ...]) -> None:
    # NumPy pads the header so that the first axis may change without moving the data.
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})


def _read_header(file: BinaryIO) -> tuple[tuple[int, ...], int]:
    """The shape, and where the pixels begin."""
    np.lib.format.read_magic(file)
    shape, by_columns, dtype = np.lib.format.read_array_header_1_0(file)
    if by_columns or dtype != np.uint8:
        raise ValueError(f"it holds {dtype}{' by columns' if by_columns else ''}, not uint8 by rows")
    return shape, file.tell()
