"""MNIST and Fashion-MNIST from their idx files, gzipped or not."""

from __future__ import annotations

import gzip
import io
import math
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from eyebright.core.errors import DataError
from eyebright.core.settings.data import DataSettings
from eyebright.data.download import RemoteFile, fetch
from eyebright.data.image_set import ImageSet
from eyebright.data.progress import Progress
from eyebright.data.sources.arrays import array_set
from eyebright.data.sources.base import Source

_EDGE = 28  # pixels
_LARGEST_BYTES = 1 << 30  # the real files hold 47 MB; a header that promises more is wrong
_UNSIGNED_BYTE = 0x08  # idx type code


def read_idx(stream: io.BufferedIOBase, dimensions: int) -> NDArray[np.uint8]:
    """The array in an idx file of unsigned bytes (LeCun, Cortes and Burges; big-endian).

    Parameters
    ----------
    stream : the file, unpacked.
    dimensions : 1 for labels, 3 for images.

    Raises
    ------
    ValueError : magic number, dimensions or length are not those of such a file.
    """
    header = stream.read(4 + 4 * dimensions)
    magic = bytes([0, 0, _UNSIGNED_BYTE, dimensions])
    if header[:4] != magic:
        raise ValueError(f"it begins with {header[:4].hex(' ') or 'nothing'} where {magic.hex(' ')} is expected")
    if len(header) < 4 + 4 * dimensions:
        raise ValueError("it ends inside its header")
    shape = tuple(int(length) for length in np.frombuffer(header, ">u4", offset=4))
    size = math.prod(shape)
    if not 0 < size <= _LARGEST_BYTES:
        raise ValueError(f"its header promises the shape {shape}")
    content = stream.read(size + 1)  # one more shows what is too much, and makes gzip check its sum
    if len(content) != size:
        raise ValueError(f"its header promises {size} bytes, but it has {'more' if len(content) > size else 'fewer'}")
    return np.frombuffer(content, np.uint8).reshape(shape)


class IdxSource(Source):
    """Four idx files: images and labels, for training and test.

    Attributes
    ----------
    mirrors : addresses of the folder of the four files.
    md5 : of the four files, by name.
    classes : class names.
    """

    mirrors: ClassVar[tuple[str, ...]]
    md5: ClassVar[Mapping[str, str]]
    classes: ClassVar[tuple[str, ...]]

    def read(self, settings: DataSettings, root: Path, progress: Progress | None) -> dict[str, ImageSet]:
        """The official training and test images; see `Source.read`."""
        parts: dict[str, ImageSet] = {}
        for split, prefix in (("train", "train"), ("test", "t10k")):
            images_path = self._path(f"{prefix}-images-idx3-ubyte.gz", settings, root, progress)
            labels_path = self._path(f"{prefix}-labels-idx1-ubyte.gz", settings, root, progress)
            pixels, labels = self._array(images_path, 3), self._array(labels_path, 1)
            self._check(pixels, labels, images_path, labels_path)
            parts[split] = array_set(
                pixels[..., None],  # (N, H, W, C)
                labels.astype(np.int64),
                [f"{split}/{number:05d}" for number in range(len(labels))],
                self.classes,
                source=self.name,
                split=split,
                settings=settings,
                progress=progress,
            )
        return parts

    def _path(self, name: str, settings: DataSettings, root: Path, progress: Progress | None) -> Path:
        """The file of this name, unpacked or not, fetched if there is neither."""
        unpacked = root / self.name / name.removesuffix(".gz")
        if unpacked.is_file():
            return unpacked
        urls = tuple(mirror + name for mirror in self.mirrors)
        remote = RemoteFile(f"{self.name}/{name}", urls, f"md5:{self.md5[name]}")
        return fetch(remote, root, download=settings.download, progress=progress)

    def _array(self, path: Path, dimensions: int) -> NDArray[np.uint8]:
        try:
            with path.open("rb") as file:
                return read_idx(gzip.GzipFile(fileobj=file) if path.suffix == ".gz" else file, dimensions)
        except (ValueError, OSError, EOFError, zlib.error) as error:
            kind = "labels" if dimensions == 1 else "images"
            raise DataError(f"{path} is no whole file of {kind}: {error}.", self._remedy(path)) from error

    def _check(
        self, pixels: NDArray[np.uint8], labels: NDArray[np.uint8], images_path: Path, labels_path: Path
    ) -> None:
        if pixels.shape[1:] != (_EDGE, _EDGE):
            size = "x".join(map(str, pixels.shape[1:]))
            raise DataError(f"{images_path} has images of {size}, not {_EDGE}x{_EDGE}.", self._remedy(images_path))
        if labels.max() >= len(self.classes):
            raise DataError(
                f"{labels_path} has the label {labels.max()}, but there are {len(self.classes)} classes.",
                self._remedy(labels_path),
            )
        if len(pixels) != len(labels):
            raise DataError(
                f"{images_path} has {len(pixels)} images, but {labels_path} has {len(labels)} labels.",
                f"Delete both and run again, or place the files of {self.mirrors[0]} there by hand.",
            )

    def _remedy(self, path: Path) -> str:
        return f"Delete {path} and run again to fetch it, or place the file of {self.mirrors[0]} there by hand."


class MnistSource(IdxSource):
    """MNIST (LeCun, Bottou, Bengio and Haffner 1998)."""

    name = "mnist"
    title = "MNIST"
    description = "70,000 handwritten digits, 28x28 grey, 10 classes, 10,000 for the test"
    mirrors = (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    )
    md5: ClassVar[Mapping[str, str]] = {
        "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
        "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
        "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
    }
    classes = tuple(str(digit) for digit in range(10))


class FashionMnistSource(IdxSource):
    """Fashion-MNIST (Xiao, Rasul and Vollgraf 2017)."""

    name = "fashion_mnist"
    title = "Fashion-MNIST"
    description = "70,000 pictures of clothes, 28x28 grey, 10 classes, 10,000 for the test"
    mirrors = ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",)
    md5: ClassVar[Mapping[str, str]] = {
        "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
        "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
        "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
    }
    classes = (
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    )
