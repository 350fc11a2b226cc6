"""CIFAR-10 and CIFAR-100 from the official python archive, as .tar.gz or unpacked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from eyebright.core.errors import DataError
from eyebright.core.settings.data import DataSettings
from eyebright.data.download import RemoteFile
from eyebright.data.image_set import ImageSet
from eyebright.data.progress import Progress
from eyebright.data.sources.archive import Packed, RawFile
from eyebright.data.sources.arrays import array_set
from eyebright.data.sources.base import Source
from eyebright.data.sources.python_pickle import PickledArray, load_dictionary, texts

_EDGE = 32  # pixels


class CifarSource(Source):
    """What the two have in common: pickled dictionaries of (N, 3072) bytes, labels and file names.

    Attributes
    ----------
    packed : the archive.
    meta : file of the class names.
    classes_key, labels_key : where class names and labels are in the dictionaries.
    class_count : number of classes.
    batches : per split, each file and the `batch_label` inside it, by which a file put in another's place is found.
    """

    packed: ClassVar[Packed]
    meta: ClassVar[str]
    classes_key: ClassVar[str]
    labels_key: ClassVar[str]
    class_count: ClassVar[int]
    batches: ClassVar[Mapping[str, Mapping[str, str]]]

    def read(self, settings: DataSettings, root: Path, progress: Progress | None) -> dict[str, ImageSet]:
        """The official training and test images; see `Source.read`."""
        wanted = [self.meta, *(name for files in self.batches.values() for name in files)]
        files = self.packed.read(wanted, settings, root, progress)
        classes, count = self._classes(files.pop(self.meta))
        parts: dict[str, ImageSet] = {}
        for split, batch_labels in self.batches.items():
            pixels, labels, names = [], [], []
            for name, batch_label in batch_labels.items():
                # pop: a batch that is read gives its memory back before the next one
                content = self._batch(files.pop(name), batch_label, count)
                pixels.append(content[0])
                labels.append(content[1])
                names += [f"{split}/{classes[label]}/{file}" for label, file in zip(*content[1:], strict=True)]
            parts[split] = array_set(
                np.concatenate(pixels),  # (N, H, W, C)
                np.concatenate(labels),
                names,
                classes,
                source=self.name,
                split=split,
                settings=settings,
                progress=progress,
            )
        return parts

    @property
    def _remedy(self) -> str:
        return f"Fetch the official archive again: {self.packed.remote.urls[0]}"

    def _classes(self, file: RawFile) -> tuple[tuple[str, ...], int | None]:
        """Class names, and the images per batch where the file tells them."""
        meta = load_dictionary(file, self._remedy)
        try:
            classes = tuple(texts(meta.get(self.classes_key)))
        except ValueError as error:
            raise DataError(f"{file.place} has no list {self.classes_key!r} of class names.", self._remedy) from error
        if len(classes) != self.class_count:
            raise DataError(
                f"{file.place} names {len(classes)} classes, but {self.title} has {self.class_count}.", self._remedy
            )
        count = meta.get("num_cases_per_batch")
        return classes, count if isinstance(count, int) else None

    def _batch(
        self, file: RawFile, batch_label: str, count: int | None
    ) -> tuple[NDArray[np.uint8], NDArray[np.int64], list[str]]:
        """Pixels (N, H, W, C), labels (N,) and file names of one batch."""
        batch = load_dictionary(file, self._remedy)
        missing = {"data", "filenames", self.labels_key} - set(batch)
        if missing:
            raise DataError(
                f"{file.place} is no batch of {self.title}: it has no {', '.join(sorted(missing))}.", self._remedy
            )
        own_label = batch.get("batch_label", batch_label)
        if own_label not in (batch_label, batch_label.encode()):  # no set: a stranger's value may have no hash
            raise DataError(f"{file.place} should be {batch_label!r} but calls itself {own_label!r}.", self._remedy)
        try:
            pixels = self._pixels(batch["data"])
            labels = self._labels(batch[self.labels_key])
            names = texts(batch["filenames"])
        except ValueError as error:
            raise DataError(f"{file.place} is damaged: {error}.", self._remedy) from error
        lengths = {len(pixels), len(labels), len(names)} | ({count} if count is not None else set())
        if len(lengths) > 1 or not len(pixels):
            expected = "" if count is None else f" where {count} are expected"
            raise DataError(
                f"{file.place} has {len(pixels)} images, {len(labels)} labels and {len(names)} names{expected}.",
                self._remedy,
            )
        return pixels, labels, names

    def _pixels(self, data: Any) -> NDArray[np.uint8]:
        array = data.pixels() if isinstance(data, PickledArray) else np.empty(0, np.uint8)
        if array.ndim != 2 or array.shape[1] != 3 * _EDGE * _EDGE:
            raise ValueError(f"its images have the shape {array.shape}, not (N, {3 * _EDGE * _EDGE})")
        planes = array.reshape(-1, 3, _EDGE, _EDGE)  # (N, C, H, W)
        return np.ascontiguousarray(planes.transpose(0, 2, 3, 1))  # (N, H, W, C)

    def _labels(self, values: Any) -> NDArray[np.int64]:
        if not isinstance(values, list) or not all(type(value) is int for value in values):
            raise ValueError("its labels are no list of whole numbers")
        wrong = [value for value in values if not 0 <= value < self.class_count]
        if wrong:
            raise ValueError(f"it has the label {wrong[0]}, but there are {self.class_count} classes")
        return np.array(values, dtype=np.int64)


class Cifar10Source(CifarSource):
    """CIFAR-10 (Krizhevsky 2009, "Learning multiple layers of features from tiny images")."""

    name = "cifar10"
    title = "CIFAR-10"
    description = "60,000 photographs of animals and vehicles, 32x32 colour, 10 classes, 10,000 for the test"
    packed = Packed(
        RemoteFile(
            "cifar-10-python.tar.gz",
            ("https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",),
            "md5:c58f30108f718f92721af3b95e74349a",
        ),
        folder="cifar-10-batches-py",
    )
    meta = "batches.meta"
    classes_key = "label_names"
    labels_key = "labels"
    class_count = 10
    batches: ClassVar[Mapping[str, Mapping[str, str]]] = {
        "train": {f"data_batch_{number}": f"training batch {number} of 5" for number in range(1, 6)},
        "test": {"test_batch": "testing batch 1 of 1"},
    }


class Cifar100Source(CifarSource):
    """CIFAR-100 (Krizhevsky 2009) with its 100 fine classes."""

    name = "cifar100"
    title = "CIFAR-100"
    description = "60,000 photographs, 32x32 colour, 100 classes, 10,000 for the test"
    packed = Packed(
        RemoteFile(
            "cifar-100-python.tar.gz",
            ("https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",),
            "md5:eb9058c3a382ffc7106e4002c42a8d85",
        ),
        folder="cifar-100-python",
    )
    meta = "meta"
    classes_key = "fine_label_names"
    labels_key = "fine_labels"
    class_count = 100
    batches: ClassVar[Mapping[str, Mapping[str, str]]] = {
        "train": {"train": "training batch 1 of 1"},
        "test": {"test": "testing batch 1 of 1"},
    }
