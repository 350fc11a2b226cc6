"""Any folder of images, or a zip of one: one folder a class, divided into splits or not."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eyebright.core.errors import BadImageError, DataError, nearest
from eyebright.core.settings.data import DataSettings
from eyebright.data.cache import Cache, DecodeJob, cache_folder
from eyebright.data.decode import Header
from eyebright.data.image_files import ImageFiles, open_files
from eyebright.data.image_set import ImageSet, ImageStore
from eyebright.data.progress import Progress
from eyebright.data.sources.base import Source
from eyebright.data.streaming import Decoding

# What the folder of a split may be called, in lower case. In all other layouts a folder is a class.
_SPLITS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}
_LAYOUT = """Arrange the images so that each class has its folder:
  ROOT/cat/1.jpg                                or, with the splits given:
  ROOT/dog/2.jpg                                ROOT/train/cat/1.jpg  ROOT/validation/cat/2.jpg  ROOT/test/cat/3.jpg"""

# Headers that are read to find out the size and whether there are colours: enough to meet both kinds
# where they are mixed, without reading a large set twice.
_PEEKED_IMAGES = 500
# Images of one common size up to this edge were prepared for a classifier and stay as they are; larger ones
# come from a camera.
_LARGEST_OWN_EDGE = 256
_DEFAULT_SHAPE = (64, 64)  # (H, W): a CNN trains on some thousand such images within minutes on a CPU

_logger = logging.getLogger("eyebright")


@dataclasses.dataclass(frozen=True)
class Defaults:
    """What a known data set knows about itself; the settings win, and None is found out from the files.

    Attributes
    ----------
    source : name of the data set.
    classes : its classes in their order; other folders are left aside.
    size : edge in pixels.
    channels : 1 or 3.
    """

    source: str
    classes: tuple[str, ...] | None = None
    size: int | None = None
    channels: int | None = None


class FolderSource(Source):
    """A folder or zip of one's own.

    Parameters
    ----------
    path : of the folder or zip.
    """

    name = "folder"
    title = "A folder or zip of your own"
    description = "images in ROOT/CLASS/ or ROOT/{train,validation,test}/CLASS/"

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, settings: DataSettings, root: Path, progress: Progress | None) -> dict[str, ImageSet]:  # noqa: ARG002 - the path says where it is
        """All images, under the splits that have a folder, else under "all"; see `Source.read`."""
        defaults = Defaults(self.path.resolve().name.removesuffix(".zip"))
        return read_folder(self.path, settings, defaults, progress)


def read_folder(
    path: Path, settings: DataSettings, defaults: Defaults, progress: Progress | None = None
) -> dict[str, ImageSet]:
    """Read a folder or zip into one store; each split selects from its rows.

    Returns
    -------
    The splits that have a folder, or the one key "all".

    Raises
    ------
    DataError : the folders are not laid out as expected, a class has no images, or classes differ.
    BadImageError : an image cannot be decoded, and `settings.on_bad_image` is "error".
    """
    files = open_files(path)
    layout = _find_layout(files)
    classes = _choose_classes(layout, settings.classes or defaults.classes)
    split_of, label_of = _meanings(files, layout, classes)
    rows = np.flatnonzero(label_of[files.parents] >= 0)
    _refuse_empty_classes(layout, split_of[files.parents[rows]], label_of[files.parents[rows]], classes)
    decoding = _choose_decoding(files, rows, settings, defaults)
    job = DecodeJob(files, rows, decoding, defaults.source, settings.on_bad_image, progress)
    decoded = Cache(cache_folder()).load(job)
    if decoded.bad:
        _logger.warning("%s: left out %d of %d images that cannot be decoded", path, len(decoded.bad), len(rows))
    parents = files.parents[decoded.rows]
    _refuse_empty_classes(layout, split_of[parents], label_of[parents], classes)
    store = ImageStore(
        pixels=decoded.pixels,
        labels=label_of[parents],
        names=files.names.take(decoded.rows),
        classes=classes,
        source=defaults.source,
        bad=decoded.bad,
        resize=decoding.resize,
        interpolation=decoding.interpolation,
        key=decoded.key,
        root=path,
    )
    return {
        split: ImageSet(store, np.flatnonzero(split_of[parents] == number), split)
        for number, split in enumerate(layout.splits)
    }


@dataclasses.dataclass(frozen=True)
class _Layout:
    """What the folders mean.

    Attributes
    ----------
    root : the folder or zip.
    splits : for each split its class folders by class name.
    """

    root: Path
    splits: dict[str, dict[str, str]]


def _find_layout(files: ImageFiles) -> _Layout:
    if not len(files.names):
        raise DataError(f"{files.root} holds no images.", _LAYOUT)
    folders = [tuple(name.split("/")) for name in files.folders]
    # Of the images only their folders matter, which are few. One right in the root has no position among them.
    filled = [folders[position] if position >= 0 else () for position in np.unique(files.parents).tolist()]
    level = _skip_wrappers(filled, folders)
    split_of = _find_splits(files.root, filled, folders, level)
    if split_of:
        level += 1
    _refuse_loose_images(files, folders, level)
    splits: dict[str, dict[str, str]] = {split: {} for split in _SPLITS.values() if split in split_of.values()}
    splits = splits or {"all": {}}
    for folder in folders:
        if len(folder) == level + 1:
            split = split_of[folder[level - 1]] if split_of else "all"
            splits[split][folder[level]] = "/".join(folder)
    return _Layout(files.root, splits)


def _refuse_loose_images(files: ImageFiles, folders: list[tuple[str, ...]], level: int) -> None:
    """Images must lie in the class folders, which are those at `level`, or below."""
    depths = np.array([*map(len, folders), 0])  # the last one stands for the root, whose position is -1
    loose = np.flatnonzero(depths[files.parents] <= level)
    if len(loose):
        raise DataError(
            f"{files.root} has images in no class folder ({len(loose)}), the first is {files.names[loose[0]]}.", _LAYOUT
        )


def _skip_wrappers(filled: list[tuple[str, ...]], folders: list[tuple[str, ...]]) -> int:
    """How many folders, each the only one, wrap the whole: photos/... in photos.zip."""
    level = 0
    while True:
        tops = {folder[level] for folder in folders if len(folder) > level}
        if len(tops) != 1 or tops.pop().lower() in _SPLITS or any(len(folder) <= level + 1 for folder in filled):
            return level
        level += 1


def _find_splits(
    root: Path, filled: list[tuple[str, ...]], folders: list[tuple[str, ...]], level: int
) -> dict[str, str]:
    """The split of each folder at `level`; empty where the folders there are classes."""
    split_of = {folder[level]: _SPLITS.get(folder[level].lower()) for folder in folders if len(folder) == level + 1}
    direct = {folder[level] for folder in filled if len(folder) == level + 1}
    # "train" may be a class of vehicles as well: then images lie in it directly.
    divided = [name for name, split in split_of.items() if split and name not in direct]
    if not divided or not ("train" in split_of.values() or all(split_of.values())):
        return {}
    found: dict[str, str] = {}
    for name, split in split_of.items():
        if split is None:
            raise DataError(
                f"{root} has the folder {name!r} beside {divided[0]!r}, and it is not a split.",
                f"Move it elsewhere or call it train, validation or test. If {divided[0]!r} is a class, "
                "put its images directly into it.",
            )
        if split in found.values():
            raise DataError(f"{root} has two folders for the {split} split, one is {name!r}.", "Join them.")
        found[name] = split
    if "train" not in found.values():
        raise DataError(f"{root} has no folder 'train' beside {', '.join(found)}.", _LAYOUT)
    return found


def _meanings(
    files: ImageFiles, layout: _Layout, classes: tuple[str, ...]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each of `files.folders` (F,): the position of its split in the layout, and its label; -1 where it has none.

    Folders below a class folder mean what that one means.
    """
    label = {name: position for position, name in enumerate(classes)}
    meaning = {
        folder: (number, label[name])
        for number, folders in enumerate(layout.splits.values())
        for name, folder in folders.items()
        if name in label
    }
    depth = len(next(iter(meaning)).split("/"))
    found = [meaning.get("/".join(name.split("/", depth)[:depth]), (-1, -1)) for name in files.folders]
    split_of, label_of = np.array(found, np.int64).T
    return split_of, label_of


def _choose_classes(layout: _Layout, wanted: tuple[str, ...] | None) -> tuple[str, ...]:
    """`wanted`, else all in the order of their names; every split must have them."""
    every = {name for folders in layout.splits.values() for name in folders}
    classes = tuple(sorted(every)) if wanted is None else wanted
    for split, folders in layout.splits.items():
        missing = [name for name in classes if name not in folders]
        if not missing:
            continue
        where = f"{layout.root}" if split == "all" else f"the {split} split of {layout.root}"
        remedy = "Give every split the same class folders, or choose common ones with data.classes."
        if not every.issuperset(missing):
            remedy = nearest(next(name for name in missing if name not in every), every)
        raise DataError(f"{where} has no folder for {', '.join(missing)}.", remedy)
    if len(set(classes)) < len(classes):
        raise DataError(f"data.classes names a class twice: {', '.join(classes)}.", "Name each class once.")
    if len(classes) < 2:
        raise DataError(f"{layout.root} has one class only: {''.join(classes)}.", f"Two are needed. {_LAYOUT}")
    return classes


def _refuse_empty_classes(
    layout: _Layout, splits: NDArray[np.int64], labels: NDArray[np.int64], classes: tuple[str, ...]
) -> None:
    """`splits` and `labels` (N,) are those of the images: positions in the layout's splits and in `classes`."""
    counts = np.bincount(splits * len(classes) + labels, minlength=len(layout.splits) * len(classes))
    empty = np.flatnonzero(counts == 0)
    if len(empty):
        split, label = divmod(int(empty[0]), len(classes))
        folder = list(layout.splits.values())[split][classes[label]]
        raise DataError(
            f"the class folder {layout.root}/{folder} has no images that can be read.",
            "Add images to it, or remove it (in every split).",
        )


def _choose_decoding(
    files: ImageFiles, rows: NDArray[np.int64], settings: DataSettings, defaults: Defaults
) -> Decoding:
    """The settings, else the defaults, else what a sample of the files suggests."""
    size, channels = settings.size or defaults.size, settings.channels or defaults.channels
    headers = _peek(files, rows) if size is None or channels is None else []
    height, width = (size, size) if size is not None else _own_size(files.root, headers)
    if channels is None:
        channels = 1 if headers and all(header.grey for header in headers) else 3
        _logger.info("%s: %s images", files.root, "grey" if channels == 1 else "colour")
    return Decoding(height, width, channels, settings.resize, settings.interpolation)


def _own_size(root: Path, headers: list[Header]) -> tuple[int, int]:
    """(height, width) that the images share, or the default where they share none or a large one."""
    shapes = {(header.height, header.width) for header in headers}
    if len(shapes) == 1:
        height, width = shapes.pop()
        if max(height, width) <= _LARGEST_OWN_EDGE:
            _logger.info("%s: the images stay as they are, %dx%d (height x width)", root, height, width)
            return height, width
        reason = f"measure {height}x{width} (height x width)"
    else:
        reason = "differ in size"
    _logger.info("%s: the images %s and are brought to %dx%d; data.size=... changes it", root, reason, *_DEFAULT_SHAPE)
    return _DEFAULT_SHAPE


def _peek(files: ImageFiles, rows: NDArray[np.int64]) -> list[Header]:
    """Headers of images spread evenly over all; damaged ones are for the decoder to complain of."""
    headers = []
    for name in files.names.take(rows[:: -(-len(rows) // _PEEKED_IMAGES)]):
        with contextlib.suppress(BadImageError):
            headers.append(files.header(name))
    return headers
