"""The image files of a folder or a zip: which there are, their bytes, and a signature of their content.

A million files are listed in some 150 MB, of which 70 stay: names, folders and stamps are arrays, packed folder by
folder. A zip needs 850 bytes a member for a moment, since Python's zipfile unpacks the whole table
(benchmarks/index_scale.py).
"""

from __future__ import annotations

import abc
import array
import bisect
import dataclasses
import hashlib
import logging
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Self

import numpy as np
from numpy.typing import NDArray

from eyebright.core.errors import DataError
from eyebright.data.decode import EXTENSIONS, MAX_FILE_BYTES, Header, bad_image, read_bytes, read_header
from eyebright.data.names import Names

_logger = logging.getLogger("eyebright")

# What macOS and Windows leave behind beside the user's own files; hidden files start with a dot.
_CLUTTER = frozenset({"__MACOSX", "Thumbs.db", "desktop.ini"})

_LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, ..., length of the name, length of the extra field
_LOCAL_SIGNATURE = b"PK\3\4"
_ENCRYPTED = 0x1  # bit of ZipInfo.flag_bits

_SIGNED_AT_ONCE = 65_536  # files whose names and stamps are hashed at a time: bounds the memory


@dataclasses.dataclass(frozen=True, eq=False)
class ImageFiles(abc.ABC):
    """The image files below one folder or inside one zip. Safe to read from several threads and processes.

    Attributes
    ----------
    root : the folder or zip.
    names : (M,) image files relative to `root`, with "/" between folders, sorted.
    folders : all folders, also those without images, sorted.
    parents : (M,) int32, the position in `folders` of the folder that each image lies in; -1 where that is `root`.
    stamps : (M, S) int64, what changes when the content of a file changes, known without reading it.
    """

    root: Path
    names: Names
    folders: tuple[str, ...]
    parents: NDArray[np.int32]
    stamps: NDArray[np.int64]

    @abc.abstractmethod
    def read(self, name: str) -> bytes:
        """The content of one file.

        Raises
        ------
        BadImageError : it cannot be read.
        """

    @abc.abstractmethod
    def header(self, name: str) -> Header:
        """Size and colour of one image, read from as little of the file as possible.

        Raises
        ------
        BadImageError : it is not an image.
        """

    def full_name(self, name: str) -> str:
        """The name by which the user finds the file."""
        return f"{self.root}/{name}"

    def part(self, rows: range) -> Self:
        """Some that follow each other, without what the others need: small enough to be sent elsewhere."""
        kept = slice(rows.start, rows.stop)
        arrays = {
            field.name: getattr(self, field.name)[kept]
            for field in dataclasses.fields(self)
            if isinstance(getattr(self, field.name), np.ndarray)
        }
        return dataclasses.replace(self, names=Names.of(self.names[kept]), **arrays)

    def signature(self, rows: NDArray[np.int64]) -> str:
        """BLAKE2b of the names and stamps of these files (R,), in this order: 32 hex digits."""
        digest = hashlib.blake2b(digest_size=16)
        for first in range(0, len(rows), _SIGNED_AT_ONCE):
            chunk = rows[first : first + _SIGNED_AT_ONCE]
            names = self.names.take(chunk)
            digest.update(names.lengths.tobytes() + names.packed() + self.stamps[chunk].tobytes())
        return digest.hexdigest()


@dataclasses.dataclass(frozen=True, eq=False)
class FolderFiles(ImageFiles):
    """Files of a folder; the stamp is the size and the last changes of content and entry.

    The second time (ctime) cannot be set, so it tells pictures of one size apart that an archive gave one date.
    """

    def read(self, name: str) -> bytes:
        return read_bytes(self.root / name)

    def header(self, name: str) -> Header:
        return read_header(self.root / name)


@dataclasses.dataclass(frozen=True, eq=False)
class ZipFiles(ImageFiles):
    """Members of a zip, read without extracting; the stamp is the checksum and the size.

    Attributes
    ----------
    offsets : (M,) int64, where the local header of each member begins.
    packed_sizes : (M,) int64, bytes in the zip.
    deflated : (M,) bool; the others are stored as they are.
    """

    offsets: NDArray[np.int64]
    packed_sizes: NDArray[np.int64]
    deflated: NDArray[np.bool_]

    def read(self, name: str) -> bytes:
        # Not through one shared ZipFile: it counts its open members without a lock, and after a fork the
        # processes would move one common file position.
        row = self._row(name)
        checksum, size = self.stamps[row].tolist()
        try:
            with self.root.open("rb") as archive:
                archive.seek(int(self.offsets[row]))
                signature, *lengths = _LOCAL_HEADER.unpack(archive.read(_LOCAL_HEADER.size))
                archive.seek(sum(lengths), os.SEEK_CUR)
                content = archive.read(int(self.packed_sizes[row]))
            if self.deflated[row]:
                content = zlib.decompressobj(-zlib.MAX_WBITS).decompress(content, size + 1)
        except (OSError, struct.error, zlib.error) as error:
            raise bad_image(self.full_name(name), f"cannot be read from the zip: {error}") from error
        if signature != _LOCAL_SIGNATURE or len(content) != size or zlib.crc32(content) != checksum:
            raise bad_image(self.full_name(name), "is damaged in the zip: its checksum does not match")
        return content

    def header(self, name: str) -> Header:
        return read_header(self.read(name), self.full_name(name))

    def _row(self, name: str) -> int:
        row = bisect.bisect_left(self.names, name)
        if row == len(self.names) or self.names[row] != name:
            raise KeyError(name)
        return row


def open_files(path: Path) -> ImageFiles:
    """List the image files of a folder or a zip. Other files and hidden ones are left out and counted in the log.

    Raises
    ------
    DataError : the path does not exist, or is not a folder or a readable zip.
    """
    if path.is_dir():
        return _list_folder(path)
    if not path.exists():
        raise DataError(f"{path} does not exist.", "Give the path of a folder or zip of images.")
    return _list_zip(path)


def find_images(paths: Iterable[str | Path]) -> Iterator[Path]:
    """The files among `paths`, and the image files in the folders among them, sorted; hidden ones are left out.

    Raises
    ------
    DataError : a path does not exist, or a folder holds no image.
    """
    for path in map(Path, paths):
        if path.is_file():
            yield path
        elif path.is_dir():
            names = open_files(path).names
            if not names:
                raise DataError(f"{path} holds no images.", f"Extensions: {' '.join(sorted(EXTENSIONS))}")
            yield from (path / name for name in names)
        else:
            raise DataError(f"there is no file or folder {path}.", "Check the path.")


def _list_folder(root: Path) -> FolderFiles:
    listing = _Listing()
    listing.visit(root, "", (_identity(root.stat()),))
    _report_ignored(root, listing.ignored)
    folders = tuple(sorted(listing.folders))
    position = {name: number for number, name in enumerate(folders)}
    parents = np.array([position.get(run.folder, -1) for run in listing.runs], np.int32)
    stamps = [np.empty((0, 3), np.int64), *(run.stamps for run in listing.runs)]
    return FolderFiles(
        root,
        Names.join([run.names for run in listing.runs]),
        folders,
        np.repeat(parents, [len(run.names) for run in listing.runs]),
        np.concatenate(stamps),
    )


@dataclasses.dataclass(frozen=True, eq=False)
class _Run:
    """Images of one folder that follow each other in the order of all names.

    Attributes
    ----------
    folder : "" is the root.
    names, stamps : see `ImageFiles`.
    """

    folder: str
    names: Names
    stamps: NDArray[np.int64]


class _Listing:
    """What a walk through a folder has found so far.

    Attributes
    ----------
    runs : the images; joined they are sorted by name.
    folders : all folders, in no order.
    ignored : number of files that are hidden or no images.
    """

    def __init__(self) -> None:
        self.runs: list[_Run] = []
        self.folders: list[str] = []
        self.ignored = 0

    def visit(self, folder: Path, name: str, inside: tuple[tuple[int, int], ...]) -> None:
        """Take in all that lies below `folder`, which is called `name` below the root.

        Links are followed, except back to a folder that we are `inside` of, which would never end.
        """
        entries, stamps = self._entries(folder)
        # A folder with its "/" takes the place that the names below it have among all names.
        order = sorted(range(len(entries)), key=entries.__getitem__)
        prefix = f"{name}/" if name else ""
        begin = 0
        for end, row in enumerate(order):
            entry = entries[row]
            if entry.endswith("/"):
                self._add_run(name, order[begin:end], entries, stamps)
                begin = end + 1
                self._enter(folder / entry, prefix + entry.removesuffix("/"), inside)
        self._add_run(name, order[begin:], entries, stamps)

    def _entries(self, folder: Path) -> tuple[list[str], NDArray[np.int64]]:
        """Names of the folders (with "/") and images in `folder`, and the stamps (E, 3) of all; folders have zeros."""
        entries: list[str] = []
        stamps = array.array("q")
        try:
            with os.scandir(folder) as scan:
                for entry in scan:
                    if _is_folder(entry):
                        if not _is_clutter(entry.name):
                            entries.append(f"{entry.name}/")
                            stamps.extend((0, 0, 0))
                    elif _is_image(entry.name) and (status := _regular(entry)):
                        entries.append(entry.name)
                        stamps.extend((status.st_size, status.st_mtime_ns, status.st_ctime_ns))
                    else:
                        self.ignored += 1
        except OSError as error:
            raise _unreadable(folder, error) from error
        return entries, np.array(stamps, np.int64).reshape(-1, 3)

    def _enter(self, folder: Path, name: str, inside: tuple[tuple[int, int], ...]) -> None:
        try:
            identity = _identity(folder.stat())
        except OSError as error:
            raise _unreadable(folder, error) from error
        if identity in inside:
            _logger.warning("%s links back to a folder that it lies in; not followed", folder)
        else:
            self.folders.append(name)
            self.visit(folder, name, (*inside, identity))

    def _add_run(self, folder: str, rows: list[int], entries: list[str], stamps: NDArray[np.int64]) -> None:
        if rows:
            prefix = f"{folder}/" if folder else ""
            self.runs.append(_Run(folder, Names.of(prefix + entries[row] for row in rows), stamps[rows]))


def _unreadable(folder: Path, error: OSError) -> DataError:
    return DataError(f"the folder {folder} cannot be listed: {error.strerror}.", "Make it readable, or remove it.")


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _regular(entry: os.DirEntry[str]) -> os.stat_result | None:
    """The status of a file; None for a pipe and the like, and for a broken link."""
    try:
        status = entry.stat()
    except OSError:
        return None
    return status if stat.S_ISREG(status.st_mode) else None


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _list_zip(path: Path) -> ZipFiles:
    members, folders, ignored = _members(path)
    _report_ignored(path, ignored)
    names = sorted(members)
    position = {name: number for number, name in enumerate(sorted(folders))}
    infos = [members[name] for name in names]
    return ZipFiles(
        path,
        Names.of(names),
        tuple(position),
        np.array([position.get(name.rpartition("/")[0], -1) for name in names], np.int32),
        np.array([(info.CRC, info.file_size) for info in infos], np.int64).reshape(-1, 2),
        np.array([info.header_offset for info in infos], np.int64),
        np.array([info.compress_size for info in infos], np.int64),
        np.array([info.compress_type == zipfile.ZIP_DEFLATED for info in infos], np.bool_),
    )


def _members(path: Path) -> tuple[dict[str, zipfile.ZipInfo], set[str], int]:
    """The images of a zip by name, its folders, and how many other files it has."""
    try:
        with zipfile.ZipFile(path) as archive:
            listed = {member.filename.replace("\\", "/"): member for member in archive.infolist()}
    except (OSError, zipfile.BadZipFile, NotImplementedError, EOFError, struct.error) as error:
        raise DataError(
            f"{path} is not a folder and not a whole zip: {error}.", "Give a folder of images, or fetch the zip again."
        ) from error
    members: dict[str, zipfile.ZipInfo] = {}
    folders: set[str] = set()
    ignored = 0
    for name, member in listed.items():
        path_inside = PurePosixPath(name)
        if any(_is_clutter(part) for part in path_inside.parent.parts):
            ignored += not name.endswith("/")
            continue
        folders.update(str(parent) for parent in path_inside.parents if parent.name)
        if name.endswith("/"):
            if not _is_clutter(path_inside.name):
                folders.add(str(path_inside))
        elif _is_image(path_inside.name):
            members[str(path_inside)] = _checked(path, member)
        else:
            ignored += 1
    return members, folders, ignored


def _checked(path: Path, member: zipfile.ZipInfo) -> zipfile.ZipInfo:
    if member.flag_bits & _ENCRYPTED:
        raise DataError(
            f"{path} is encrypted ({member.filename}).", "Extract it with its password and give the folder."
        )
    if member.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        raise DataError(
            f"{path} is compressed by a method that is not read here ({member.filename}).",
            "Extract it and give the folder, or make the zip again with the usual method, deflate.",
        )
    if member.file_size > MAX_FILE_BYTES:
        raise DataError(
            f"{path} holds a file that is too large for an image ({member.filename}, {member.file_size >> 20:,} MiB).",
            "Remove it from the zip.",
        )
    return member


def _is_clutter(part: str) -> bool:
    return part.startswith(".") or part in _CLUTTER


def _is_image(file: str) -> bool:
    """By the name of the file, without folders."""
    _, dot, extension = file.rpartition(".")
    return dot + extension.lower() in EXTENSIONS and not _is_clutter(file)


def _report_ignored(root: Path, ignored: int) -> None:
    if ignored:
        _logger.info("%s: ignored %d files that are hidden or no images", root, ignored)
