"""Named files of a data set, from its unpacked folder or straight from its .tar.gz; nothing is extracted."""

from __future__ import annotations

import dataclasses
import gzip
import tarfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from eyebright.core.errors import DataError
from eyebright.core.settings.data import DataSettings
from eyebright.data.download import RemoteFile, fetch
from eyebright.data.progress import Progress

# No file of a known data set is larger (STL-10's test images: 221 MB); a larger one would only fill the memory.
_LARGEST_BYTES = 1 << 30


@dataclasses.dataclass(frozen=True)
class RawFile:
    """A file in memory.

    Attributes
    ----------
    place : path on disk, or path of the archive and path inside it: what an error names.
    content : all bytes.
    """

    place: str
    content: bytes


@dataclasses.dataclass(frozen=True)
class Packed:
    """A data set that is published as one archive with one folder inside.

    Attributes
    ----------
    remote : the archive.
    folder : the folder in it, and beside it once unpacked.
    read_to_end : whether to read the archive past the last wanted file, so that its checksum is verified.
    """

    remote: RemoteFile
    folder: str
    read_to_end: bool = True

    def read(
        self, names: Sequence[str], settings: DataSettings, root: Path, progress: Progress | None
    ) -> dict[str, RawFile]:
        """The files called `names` in the folder: from the unpacked one if there is one, else from the archive.

        Raises
        ------
        DataError : a file is missing or the archive is damaged or another one.
        """
        folder = root / self.folder
        if folder.is_dir():
            return {name: self._from_folder(folder / name) for name in names}
        path = fetch(self.remote, root, download=settings.download, progress=progress)
        remedy = f"Delete {path} and run again to fetch {self.remote.urls[0]}, or place that file there by hand."
        try:
            found = self._from_archive(path, names, progress)
        except (OSError, tarfile.TarError, EOFError, zlib.error) as error:
            raise DataError(f"{path} is truncated, damaged or no .tar.gz: {error}.", remedy) from error
        for name in names:
            if name not in found:
                raise DataError(f"{path} does not contain {self.folder}/{name}: another archive, or damaged.", remedy)
        return found

    def _from_folder(self, path: Path) -> RawFile:
        if not path.is_file():
            raise DataError(
                f"{path} is missing.",
                f"Unpack {self.remote.urls[0]} to {path.parent}, or delete that folder to use the archive itself.",
            )
        if path.stat().st_size > _LARGEST_BYTES:
            raise DataError(f"{path} is too large to belong to this data set.", "Fetch the official archive again.")
        try:
            return RawFile(str(path), path.read_bytes())
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror}.", "Make it readable and run again.") from error

    def _from_archive(self, path: Path, names: Sequence[str], progress: Progress | None) -> dict[str, RawFile]:
        wanted = {PurePosixPath(self.folder, name): name for name in names}
        found: dict[str, RawFile] = {}
        with gzip.open(path) as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                name = wanted.get(PurePosixPath(member.name))
                content = archive.extractfile(member) if name is not None and member.isfile() else None
                if name is None or content is None:
                    continue
                if member.size > _LARGEST_BYTES:
                    raise tarfile.ReadError(f"{member.name} is too large")
                found[name] = RawFile(f"{path}/{member.name}", content.read())
                if progress is not None:
                    progress(f"read {path.name}", len(found), len(names))
                if len(found) == len(names) and not self.read_to_end:
                    break
            while self.read_to_end and stream.read(1 << 20):
                pass  # gzip compares its checksum when it comes to its end
        return found
