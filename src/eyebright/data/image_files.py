"""The image files of a folder or a zip: which there are, their bytes, and a signature of their content."""

from __future__ import annotations

import abc
import dataclasses
import hashlib
import logging
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath

from eyebright.core.errors import DataError
from eyebright.data.decode import EXTENSIONS, MAX_FILE_BYTES, Header, bad_image, read_bytes, read_header

_logger = logging.getLogger("eyebright")

# What macOS and Windows leave behind beside the user's own files; hidden files start with a dot.
_CLUTTER = frozenset({"__MACOSX", "Thumbs.db", "desktop.ini"})

_LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, ..., length of the name, length of the extra field
_LOCAL_SIGNATURE = b"PK\3\4"
_ENCRYPTED = 0x1  # bit of ZipInfo.flag_bits


@dataclasses.dataclass(frozen=True, eq=False)
class ImageFiles(abc.ABC):
    """The image files below one folder or inside one zip. Safe to read from several threads and processes.

    Attributes
    ----------
    root : the folder or zip.
    names : image files relative to `root`, with "/" between folders, sorted.
    folders : all folders, also those without images, sorted.
    """

    root: Path
    names: tuple[str, ...]
    folders: tuple[str, ...]

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

    @abc.abstractmethod
    def stamp(self, name: str) -> str:
        """What changes when the content of the file changes, known without reading it."""

    def full_name(self, name: str) -> str:
        """The name by which the user finds the file."""
        return f"{self.root}/{name}"

    def signature(self, names: Iterable[str]) -> str:
        """BLAKE2b of the names and stamps, in this order: 32 hex digits."""
        digest = hashlib.blake2b(digest_size=16)
        for name in names:
            digest.update(f"{name}\0{self.stamp(name)}\n".encode("utf-8", "surrogateescape"))
        return digest.hexdigest()


@dataclasses.dataclass(frozen=True, eq=False)
class FolderFiles(ImageFiles):
    """Files of a folder; the stamp is the size and the last changes of content and entry.

    The second time (ctime) cannot be set, so it tells pictures of one size apart that an archive gave one date.
    """

    stamps: Mapping[str, str]

    def read(self, name: str) -> bytes:
        return read_bytes(self.root / name)

    def header(self, name: str) -> Header:
        return read_header(self.root / name)

    def stamp(self, name: str) -> str:
        return self.stamps[name]


@dataclasses.dataclass(frozen=True, eq=False)
class ZipFiles(ImageFiles):
    """Members of a zip, read without extracting; the stamp is the checksum and the size."""

    members: Mapping[str, zipfile.ZipInfo]

    def read(self, name: str) -> bytes:
        # Not through one shared ZipFile: it counts its open members without a lock, and after a fork the
        # processes would move one common file position.
        member = self.members[name]
        try:
            with self.root.open("rb") as archive:
                archive.seek(member.header_offset)
                signature, *lengths = _LOCAL_HEADER.unpack(archive.read(_LOCAL_HEADER.size))
                archive.seek(sum(lengths), os.SEEK_CUR)
                content = archive.read(member.compress_size)
            if member.compress_type == zipfile.ZIP_DEFLATED:
                content = zlib.decompressobj(-zlib.MAX_WBITS).decompress(content, member.file_size + 1)
        except (OSError, struct.error, zlib.error) as error:
            raise bad_image(self.full_name(name), f"cannot be read from the zip: {error}") from error
        if signature != _LOCAL_SIGNATURE or len(content) != member.file_size or zlib.crc32(content) != member.CRC:
            raise bad_image(self.full_name(name), "is damaged in the zip: its checksum does not match")
        return content

    def header(self, name: str) -> Header:
        return read_header(self.read(name), self.full_name(name))

    def stamp(self, name: str) -> str:
        member = self.members[name]
        return f"{member.CRC:08x}:{member.file_size}"


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


def _list_folder(root: Path) -> FolderFiles:
    stamps: dict[str, str] = {}
    folders: list[str] = []
    ignored = 0
    for name, status in _walk(root, "", (_identity(root.stat()),)):
        if status is not None and stat.S_ISDIR(status.st_mode):
            folders.append(name)
        elif status is not None and stat.S_ISREG(status.st_mode) and _is_image(name):
            stamps[name] = f"{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}"
        else:
            ignored += 1
    _report_ignored(root, ignored)
    return FolderFiles(root, tuple(sorted(stamps)), tuple(sorted(folders)), stamps)


def _walk(
    folder: Path, prefix: str, inside: tuple[tuple[int, int], ...]
) -> Iterator[tuple[str, os.stat_result | None]]:
    """All entries below `folder` with their status (None: a broken link).

    Links are followed, except back to a folder that we are `inside` of, which would never end.
    """
    try:
        entries = list(os.scandir(folder))
    except OSError as error:
        raise DataError(
            f"the folder {folder} cannot be listed: {error.strerror}.", "Make it readable, or remove it."
        ) from error
    for entry in entries:
        name = prefix + entry.name
        try:
            status = entry.stat()
        except OSError:
            yield name, None
            continue
        if not stat.S_ISDIR(status.st_mode):
            yield name, status
        elif _identity(status) in inside:
            _logger.warning("%s links back to a folder that it lies in; not followed", folder / entry.name)
        elif not _is_clutter(entry.name):
            yield name, status
            yield from _walk(folder / entry.name, f"{name}/", (*inside, _identity(status)))


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _list_zip(path: Path) -> ZipFiles:
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
        elif _is_image(name):
            members[str(path_inside)] = _checked(path, member)
        else:
            ignored += 1
    _report_ignored(path, ignored)
    return ZipFiles(path, tuple(sorted(members)), tuple(sorted(folders)), members)


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


def _is_image(name: str) -> bool:
    path = PurePosixPath(name)
    return not _is_clutter(path.name) and path.suffix.lower() in EXTENSIONS


def _report_ignored(root: Path, ignored: int) -> None:
    if ignored:
        _logger.info("%s: ignored %d files that are hidden or no images", root, ignored)
