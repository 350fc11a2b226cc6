"""Decoded images on the disk: each set is decoded once, then read from one file, row by row.

    FOLDER/KEY/entry.json    what it is; the time of its last change is the time of the last use
    FOLDER/KEY/pixels.npy    a `PixelFile` (M, H, W, C); absent where the files were only checked, for streaming
    FOLDER/KEY.lock          held while an entry is being made
    FOLDER/.KEY.*.tmp/       an entry that is being made; left over where its maker was killed

KEY is a hash of the names and stamps of the files (see `ImageFiles.stamps`), of the `Decoding` and of the
version of the decoder. An entry comes into being by renaming a folder, so it is whole or not there.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import functools
import hashlib
import json
import logging
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import platformdirs
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from eyebright.core.errors import BadImageError, StorageError
from eyebright.core.files import storage_errors, write_text
from eyebright.core.settings.data import OnBadImage
from eyebright.data.decode import DECODER_VERSION, bad_image
from eyebright.data.image_files import ImageFiles
from eyebright.data.image_set import BadImage, Pixels
from eyebright.data.names import Names
from eyebright.data.pixel_file import PixelFile, is_open, pixel_writer
from eyebright.data.progress import Progress
from eyebright.data.streaming import Decoding, StreamedPixels, decode_in_order

# All entries together: some 400,000 colour images of 128x128, and a share of a laptop's disk that nobody misses.
CACHE_BYTES = 20 << 30
# Sets up to this size are held in memory, as CIFAR-10 is (180 MB): far below what training needs beside it. Larger ones
# stay in their file, so that memory does not grow with the set; an image costs no more to read than to copy.
MEMORY_BYTES = 256 << 20
# The same where the disk has no room for the set: memory is still cheaper than to decode it again in every epoch.
MEMORY_WITHOUT_ROOM_BYTES = 1 << 30
# Left free on the disk, for the checkpoints of the run that is about to start.
RESERVE_BYTES = 1 << 30

_RECORD = "entry.json"
_PIXELS = "pixels.npy"
_KEY = "[0-9a-f]" * 32  # as a pattern of file names: what else lies in the folder is not ours

_NO_ROOM = "the decoded images do not fit in the cache (its bound, or its disk)"
_PROGRESS_IMAGES = 256  # progress is told once for so many images: telling costs too

_logger = logging.getLogger("eyebright")


@dataclasses.dataclass(frozen=True, eq=False)
class Decoded:
    """The pixels of a list of files.

    Attributes
    ----------
    pixels : (M, H, W, C).
    rows : (M,) int64, the row of its file among `ImageFiles.names`; those of bad ones are missing.
    bad : files that were left out.
    key : BLAKE2b of all pixels: the same on every machine that decodes alike.
    streamed : whether the files are decoded each time they are asked for, because the pixels fit nowhere.
    """

    pixels: Pixels
    rows: NDArray[np.int64]
    bad: tuple[BadImage, ...]
    key: str
    streamed: bool


@dataclasses.dataclass(frozen=True)
class CacheEntry:
    """One decoded set in the cache.

    Attributes
    ----------
    key : name of its folder.
    source : name of the data set.
    n : images.
    bytes : on the disk.
    last_used : local time.
    """

    key: str
    source: str
    n: int
    bytes: int
    last_used: datetime.datetime


@dataclasses.dataclass(frozen=True)
class _Record:
    """What entry.json holds: `bad` has (position in the job, reason) of each file that was left out."""

    source: str
    n: int
    content: str
    bad: tuple[tuple[int, str], ...]
    streamed: bool


@dataclasses.dataclass(frozen=True, eq=False)
class DecodeJob:
    """Which files to decode, and how.

    Attributes
    ----------
    files : where the files are.
    rows : (R,) int64, which of them, in order.
    decoding : what their pixels shall be.
    source : name of the data set, for the log and for `CacheEntry`.
    on_bad_image : stop at a file that cannot be decoded ("error"), or leave it out ("skip").
    progress : told the number of images that are done.
    """

    files: ImageFiles
    rows: NDArray[np.int64]
    decoding: Decoding
    source: str
    on_bad_image: OnBadImage = "error"
    progress: Progress | None = None

    @functools.cached_property
    def names(self) -> Names:
        """(R,) of the files."""
        return self.files.names.take(self.rows)

    @property
    def needed(self) -> int:
        """Bytes of all pixels."""
        return len(self.rows) * self.decoding.image_bytes

    @functools.cached_property
    def key(self) -> str:
        """Hash of the content, the decoding and the version of the decoder: 32 hex digits."""
        digest = hashlib.blake2b(digest_size=16)
        digest.update(self.files.signature(self.rows).encode())
        digest.update(repr((dataclasses.astuple(self.decoding), DECODER_VERSION)).encode())
        return digest.hexdigest()

    def decode(self, write: Callable[[NDArray[np.uint8]], object], *, streamed: bool = False) -> _Record:
        """Decode all files, give the good images (H, W, C) to `write` in order, and say what became of them."""
        digest = hashlib.blake2b(repr(self.decoding.shape).encode(), digest_size=16)
        bad: list[tuple[int, str]] = []
        total = len(self.rows)
        with contextlib.closing(decode_in_order(self.files, self.names, self.decoding)) as decoded:
            for position, image in enumerate(decoded):
                if not isinstance(image, BadImageError):
                    digest.update(image.data)
                    write(image)
                elif self.on_bad_image == "error":
                    raise image
                else:
                    name = self.files.full_name(self.names[position])
                    bad.append((position, image.cause.removeprefix(name).strip(" .")))
                done = position + 1
                if self.progress is not None and (done == total or done % _PROGRESS_IMAGES == 0):
                    self.progress(f"decode {self.source}", done, total)
        return _Record(self.source, total - len(bad), digest.hexdigest(), tuple(bad), streamed)

    def result(self, record: _Record, pixels: Pixels | None) -> Decoded:
        """`pixels` (None: to be streamed) with their files.

        Raises
        ------
        BadImageError : there is a bad file, and the job wants to stop at it.
        """
        for position, reason in record.bad:
            if self.on_bad_image == "error":
                raise bad_image(self.files.full_name(self.names[position]), reason)
        rows = np.delete(self.rows, [position for position, _ in record.bad])
        if pixels is None:
            _logger.warning("%s: %s; each one is decoded every time it is used, which is slow", self.source, _NO_ROOM)
            pixels = StreamedPixels(self.files, self.files.names.take(rows), self.decoding)
        bad = tuple(BadImage(self.names[position], reason) for position, reason in record.bad)
        return Decoded(pixels, rows, bad, record.content, record.streamed)


def cache_folder() -> Path:
    """EYEBRIGHT_CACHE, else the folder `decoded` in the platform's cache for Eyebright."""
    chosen = os.environ.get("EYEBRIGHT_CACHE")
    return Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("eyebright") / "decoded"


@dataclasses.dataclass(frozen=True)
class Cache:
    """The cache of decoded images. Several processes may use one folder.

    Attributes
    ----------
    folder : see `cache_folder`; made when it is needed.
    limit : bytes of all entries together; the least recently used give way, never one that is in use.
    memory : bytes up to which a set is held in memory.
    memory_without_room : the same where it does not fit in the cache.
    reserve : bytes that stay free on the disk.
    """

    folder: Path
    limit: int = CACHE_BYTES
    memory: int = MEMORY_BYTES
    memory_without_room: int = MEMORY_WITHOUT_ROOM_BYTES
    reserve: int = RESERVE_BYTES

    def load(self, job: DecodeJob) -> Decoded:
        """The pixels of the files, decoded now or earlier.

        Raises
        ------
        BadImageError : a file cannot be decoded, and `job.on_bad_image` is "error".
        StorageError : the cache cannot be written.
        """
        return self._open(job) or self._make(job)

    def entries(self) -> list[CacheEntry]:
        """All entries, the last used first."""
        entries = []
        for path in self.folder.glob(f"{_KEY}/"):
            with contextlib.suppress(FileNotFoundError):  # another process has just removed it
                record = _read_record(path)
                dated = path if record is None else path / _RECORD
                used = datetime.datetime.fromtimestamp(dated.stat().st_mtime, datetime.UTC).astimezone()
                size = sum(file.stat().st_size for file in path.iterdir())
                source, n = (record.source, record.n) if record else ("(damaged)", 0)
                entries.append(CacheEntry(path.name, source, n, size, used))
        return sorted(entries, key=lambda entry: entry.last_used, reverse=True)

    def clear(self) -> int:
        """Remove all entries but those that a process is using, and return how many bytes that freed."""
        self._remove_leftovers()
        unused = [entry for entry in self.entries() if not is_open(self.folder / entry.key / _PIXELS)]
        return sum(entry.bytes for entry in unused if self._remove(entry.key))

    def _open(self, job: DecodeJob) -> Decoded | None:
        """The entry of `job`, if there is a whole one."""
        path = self.folder / job.key
        record = _read_record(path)
        if record is None or (record.streamed and self._victims(job) is not None):  # now there is room
            return None
        pixels = None
        if not record.streamed:
            try:
                pixels = self._pixels(path / _PIXELS, (record.n, *job.decoding.shape))
            except (OSError, ValueError) as error:
                _logger.warning("decoding %s again, because the cache entry %s is damaged: %s", job.source, path, error)
                return None
        with contextlib.suppress(OSError):  # a cache that others filled and that we may only read
            os.utime(path / _RECORD)
        return job.result(record, pixels)

    def _pixels(self, path: Path, shape: tuple[int, ...]) -> Pixels:
        """(M, H, W, C), in memory or in the file. A file of another shape or length raises ValueError."""
        pixels: Pixels = np.load(path) if path.stat().st_size <= self.memory else PixelFile(path)
        if pixels.shape != shape:
            raise ValueError(f"{path} holds {pixels.shape}, not {shape}")
        return pixels

    def _make(self, job: DecodeJob) -> Decoded:
        try:
            with storage_errors(self.folder):
                self.folder.mkdir(parents=True, exist_ok=True)
        except StorageError as error:
            raise StorageError(error.cause, "Name another folder for decoded images in EYEBRIGHT_CACHE.") from error
        with self._locked(job.key):
            found = self._open(job)  # another process may have made it while this one waited
            if found is not None:
                return found
            self._remove_leftovers(locked=job.key)
            victims = self._victims(job)
            if victims is None:
                return self._without_room(job)
            for key in victims:
                self._remove(key)
            with self._new_entry(job.key) as folder:
                _write(job, folder)
            made = self._open(job)
        if made is None:
            raise StorageError(
                f"the cache entry {self.folder / job.key} was removed as soon as it was made.", "Run the command again."
            )
        return made

    def _without_room(self, job: DecodeJob) -> Decoded:
        """Decode into memory if the pixels fit there; else only check the files, to be streamed."""
        if job.needed <= self.memory_without_room:
            _logger.warning("%s: %s; they are decoded into memory, and again the next time", job.source, _NO_ROOM)
            images = np.empty((len(job.rows), *job.decoding.shape), np.uint8)
            free = iter(images)
            record = job.decode(lambda image: np.copyto(next(free), image))
            return job.result(record, images[: record.n])
        record = job.decode(lambda _: None, streamed=True)
        with self._new_entry(job.key) as folder:
            _write_record(folder, record)
        return job.result(record, None)

    def _victims(self, job: DecodeJob) -> list[str] | None:
        """Keys of the entries that must go so that the pixels of `job` fit; None where they cannot fit."""
        entries = [entry for entry in self.entries() if entry.key != job.key]
        used = sum(entry.bytes for entry in entries)
        free = shutil.disk_usage(self.folder).free - self.reserve
        victims = []
        while used + job.needed > self.limit or job.needed > free:
            if not entries:
                return None
            oldest = entries.pop()
            if not is_open(self.folder / oldest.key / _PIXELS):
                victims.append(oldest.key)
                used -= oldest.bytes
                free += oldest.bytes
        return victims

    @contextlib.contextmanager
    def _new_entry(self, key: str) -> Iterator[Path]:
        """An empty folder that becomes the entry `key` when the body succeeds, and disappears when it fails."""
        temporary = self._temporary(key)
        try:
            with storage_errors(temporary):
                temporary.mkdir()
                yield temporary
                self._remove(key)  # a damaged one, or one that was streamed
                temporary.rename(self.folder / key)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def _remove(self, key: str) -> bool:
        """Remove an entry, and tell whether there was one. It disappears at once, so nobody sees half of it."""
        temporary = self._temporary(key)
        try:
            with storage_errors(self.folder):
                (self.folder / key).rename(temporary)
        except FileNotFoundError:
            return False
        shutil.rmtree(temporary, ignore_errors=True)  # what stays is a leftover, for the next one to remove
        return True

    def _remove_leftovers(self, locked: str | None = None) -> None:
        """Remove what killed processes left half-made. `locked` is the key whose lock the caller holds."""
        for path in self.folder.glob(f".{_KEY}.*.tmp/"):
            key = path.name.split(".")[1]
            with contextlib.ExitStack() as stack:
                if key != locked:
                    try:
                        stack.enter_context(FileLock(self._lock_path(key), timeout=0))
                    except Timeout:
                        continue  # its maker is alive
                shutil.rmtree(path, ignore_errors=True)

    @contextlib.contextmanager
    def _locked(self, key: str) -> Iterator[None]:
        """Hold the lock of an entry; wait for another process that makes the same one."""
        lock = FileLock(self._lock_path(key))
        with storage_errors(self.folder):
            try:
                lock.acquire(timeout=0)
            except Timeout:
                _logger.info("another process is decoding the same images; waiting for it")
                lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def _lock_path(self, key: str) -> Path:
        return self.folder / f"{key}.lock"

    def _temporary(self, key: str) -> Path:
        return self.folder / f".{key}.{uuid.uuid4().hex}.tmp"


def _write(job: DecodeJob, folder: Path) -> None:
    """Decode the images of `job` into an entry."""
    with pixel_writer(folder / _PIXELS, len(job.rows), job.decoding.shape) as writer:
        record = job.decode(writer.write)
    _write_record(folder, record)


def _write_record(folder: Path, record: _Record) -> None:
    write_text(folder / _RECORD, json.dumps(dataclasses.asdict(record)))


def _read_record(folder: Path) -> _Record | None:
    """What entry.json says; None where there is none, or one that cannot be read."""
    try:
        fields = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
        bad = tuple((int(position), str(reason)) for position, reason in fields.pop("bad"))
        return _Record(**fields, bad=bad)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        _logger.warning("the cache entry %s is damaged: %s", folder, error)
        return None
