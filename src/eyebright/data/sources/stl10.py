"""STL-10 from its binary archive, as .tar.gz or unpacked; the labelled images only."""

from __future__ import annotations

from pathlib import Path

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

_EDGE = 96  # pixels
_CLASSES = ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck")


class Stl10Source(Source):
    """STL-10 (Coates, Lee and Ng 2011, "An analysis of single layer networks in unsupervised feature learning")."""

    name = "stl10"
    title = "STL-10"
    description = "13,000 photographs of animals and vehicles, 96x96 colour, 10 classes, 8,000 for the test"
    packed = Packed(
        RemoteFile(
            "stl10_binary.tar.gz",
            ("http://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz",),
            "md5:91f7769df0f17e558f3565bffb0c7dfb",
        ),
        folder="stl10_binary",
        read_to_end=False,  # 2.7 GB of unlabelled images follow
    )

    def read(self, settings: DataSettings, root: Path, progress: Progress | None) -> dict[str, ImageSet]:
        """The official training and test images; see `Source.read`."""
        wanted = [f"{split}_{kind}.bin" for split in ("train", "test") for kind in ("X", "y")]
        files = self.packed.read(wanted, settings, root, progress)
        parts: dict[str, ImageSet] = {}
        for split in ("train", "test"):
            pixels, labels = self._arrays(files.pop(f"{split}_X.bin"), files.pop(f"{split}_y.bin"))
            parts[split] = array_set(
                pixels,
                labels,
                [f"{split}/{number:04d}" for number in range(len(labels))],
                _CLASSES,
                source=self.name,
                split=split,
                settings=settings,
                progress=progress,
            )
        return parts

    def _arrays(self, images: RawFile, targets: RawFile) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Pixels (N, H, W, C) and labels (N,)."""
        remedy = f"Fetch the official archive again: {self.packed.remote.urls[0]}"
        size = 3 * _EDGE * _EDGE
        count, rest = divmod(len(images.content), size)
        if rest or not count:
            raise DataError(
                f"{images.place} has {len(images.content)} bytes, which is no whole number of images of {size}.", remedy
            )
        labels = np.frombuffer(targets.content, np.uint8).astype(np.int64) - 1  # 1..10 in the file
        if len(labels) != count:
            raise DataError(f"{images.place} has {count} images, but {targets.place} has {len(labels)} labels.", remedy)
        if labels.min() < 0 or labels.max() >= len(_CLASSES):
            raise DataError(f"{targets.place} has labels outside 1..{len(_CLASSES)}.", remedy)
        planes = np.frombuffer(images.content, np.uint8).reshape(count, 3, _EDGE, _EDGE)  # (N, C, W, H)
        return np.ascontiguousarray(planes.transpose(0, 3, 2, 1)), labels  # (N, H, W, C)
