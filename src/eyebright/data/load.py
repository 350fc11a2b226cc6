"""`load`: from the choice of a data set to its three splits."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import platformdirs

from eyebright.core.errors import DataError, nearest
from eyebright.core.settings.data import DataSettings
from eyebright.data.copies import without_copies
from eyebright.data.image_set import Splits
from eyebright.data.label_patch import relabelled
from eyebright.data.progress import Progress
from eyebright.data.sources.base import SOURCES, Source, find
from eyebright.data.sources.folder import FolderSource
from eyebright.data.split import divide


def load(settings: DataSettings | str | Path, *, progress: Progress | None = None) -> Splits:
    """Read a data set, downloading it first where that is needed and allowed, and divide it.

    Labels are corrected last, so that the same images are in the same splits with and without a patch.

    Parameters
    ----------
    settings : which data set, and how; or only its name or path.
    progress : told what is being done; default: silence.

    Raises
    ------
    DataError : the data set is unknown, cannot be read, or cannot be divided; or a label patch does not fit it.
    DownloadError : it is not there and cannot be fetched.
    """
    if not isinstance(settings, DataSettings):
        settings = DataSettings(source=str(settings))
    parts = resolve(settings.source).read(settings, data_root(settings.root), progress)
    splits = divide(parts, settings)
    if settings.leave_out_copies:
        splits = without_copies(splits, near=settings.leave_out_copies == "near", progress=progress)
    return relabelled(splits, settings.label_patches)


def resolve(source: str) -> Source:
    """The known data set called `source`, else the image folder or zip at that path.

    A known name wins over a folder of the same name, which `./name` reaches.

    Raises
    ------
    DataError : it is neither.
    """
    if source in SOURCES:
        return find(source)
    path = Path(source).expanduser()
    if path.exists():
        return FolderSource(path)
    raise DataError(
        f"{source!r} is neither the name of a data set nor the path of an existing image folder or zip.",
        f"{nearest(source, SOURCES)} A path is read from the current folder, {Path.cwd()}.",
    )


def own_folder(source: str) -> Path | None:
    """The folder of the user's own images that `source` names.

    None for known data sets, which stay as they were published, and for zips: their files are not to be moved.

    Raises
    ------
    DataError : `source` names nothing.
    """
    found = resolve(source)
    return found.path if isinstance(found, FolderSource) and found.path.is_dir() else None


def located(settings: DataSettings) -> DataSettings:
    """The same choice with absolute paths, which means the same images from every current folder."""
    source, root = settings.source, settings.root
    if source not in SOURCES and Path(source).expanduser().exists():
        source = _absolute(source)
    return dataclasses.replace(
        settings,
        source=source,
        root=root and _absolute(root),
        label_patches=tuple(_absolute(path) for path in settings.label_patches),
    )


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().absolute())


def data_root(root: str | None = None) -> Path:
    """The folder that holds the known data sets: `root`, else EYEBRIGHT_DATA, else the platform's cache folder.

    Raises
    ------
    DataError : it is a file.
    """
    chosen = root or os.environ.get("EYEBRIGHT_DATA")
    path = Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("eyebright") / "data"
    if path.exists() and not path.is_dir():
        raise DataError(f"the data root {path} is not a folder.", "Choose a folder with --data-root or EYEBRIGHT_DATA.")
    return path
