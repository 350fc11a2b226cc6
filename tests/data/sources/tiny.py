"""Tiny data sets in the formats of the real ones, made by hand."""

from __future__ import annotations

import gzip
import struct
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

CIFAR10_CLASSES = b"airplane automobile bird cat deer dog frog horse ship truck".split()
CIFAR100_CLASSES = [f"class{number:02d}".encode() for number in range(100)]


def python2_pickle(value: Any) -> bytes:
    """`value` as Python 2 and the numpy of 2009 pickled it (protocol 2), as the official archives hold it."""
    return b"\x80\x02" + _python2(value) + b"."


def _python2(value: Any) -> bytes:
    match value:
        case dict():
            return b"}(" + b"".join(_python2(key) + _python2(item) for key, item in value.items()) + b"u"
        case list():
            return b"](" + b"".join(map(_python2, value)) + b"e"
        case int():
            return b"J" + struct.pack("<i", value)
        case bytes():  # opcode T: a string of Python 2
            return b"T" + struct.pack("<i", len(value)) + value
        case np.ndarray():
            shape = b"(" + b"".join(map(_python2, value.shape)) + b"t"
            empty = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR"
            kind = b"cnumpy\ndtype\n(U\x02u1K\x00K\x01tR(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
            return empty + b"(K\x01" + shape + kind + b"\x89" + _python2(value.tobytes()) + b"tb"
    raise TypeError(value)


def cifar_pixels(count: int, seed: int) -> NDArray[np.uint8]:
    """Images (N, H, W, C) of noise."""
    return np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)


def cifar10_files() -> dict[str, dict[bytes, Any]]:
    """The dictionaries of a CIFAR-10 with ten images a batch, one a class; file names tell the row."""
    files: dict[str, dict[bytes, Any]] = {
        "batches.meta": {b"num_cases_per_batch": 10, b"label_names": CIFAR10_CLASSES, b"num_vis": 3072}
    }
    for number in range(6):
        name = "test_batch" if number == 5 else f"data_batch_{number + 1}"
        label = b"testing batch 1 of 1" if number == 5 else b"training batch %d of 5" % (number + 1)
        files[name] = {
            b"batch_label": label,
            b"labels": [(number + row) % 10 for row in range(10)],
            b"data": cifar_pixels(10, number).transpose(0, 3, 1, 2).reshape(10, 3072),
            b"filenames": [b"photo_s_%06d.png" % (10 * number + row) for row in range(10)],
        }
    return files


def cifar100_files() -> dict[str, dict[bytes, Any]]:
    """The dictionaries of a CIFAR-100 with one training and one test image a class."""
    files: dict[str, dict[bytes, Any]] = {"meta": {b"fine_label_names": CIFAR100_CLASSES, b"coarse_label_names": []}}
    for seed, (name, label) in enumerate((("train", b"training batch 1 of 1"), ("test", b"testing batch 1 of 1"))):
        files[name] = {
            b"batch_label": label,
            b"fine_labels": list(range(100)),
            b"coarse_labels": [0] * 100,
            b"data": cifar_pixels(100, seed).transpose(0, 3, 1, 2).reshape(100, 3072),
            b"filenames": [b"photo_s_%06d.png" % row for row in range(100)],
        }
    return files


def write_folder(root: Path, folder: str, files: Mapping[str, Any]) -> Path:
    """Dictionaries as pickles, bytes as they are."""
    path = root / folder
    path.mkdir(parents=True, exist_ok=True)
    for name, value in files.items():
        (path / name).write_bytes(value if isinstance(value, bytes) else python2_pickle(value))
    return path


def pack(folder: Path, archive: Path) -> Path:
    """`folder` as a .tar.gz; the folder is removed."""
    with tarfile.open(archive, "w:gz") as packed:
        packed.add(folder, folder.name)
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    return archive


def idx(array: NDArray[np.uint8]) -> bytes:
    """An idx file of unsigned bytes."""
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def write_idx_set(root: Path, name: str) -> None:
    """An idx data set with two images a class for training and one for the test."""
    (root / name).mkdir(parents=True)
    for prefix, count in (("train", 20), ("t10k", 10)):
        pixels = np.random.default_rng(count).integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = np.arange(count, dtype=np.uint8) % 10
        for file, array in ((f"{prefix}-images-idx3-ubyte.gz", pixels), (f"{prefix}-labels-idx1-ubyte.gz", labels)):
            (root / name / file).write_bytes(gzip.compress(idx(array)))


def write_stl10(root: Path) -> None:
    """An STL-10 with one image a class, column by column as the original."""
    files: dict[str, bytes] = {}
    for seed, split in enumerate(("train", "test")):
        pixels = np.random.default_rng(seed).integers(0, 256, (10, 96, 96, 3), dtype=np.uint8)  # (N, H, W, C)
        files[f"{split}_X.bin"] = pixels.transpose(0, 3, 2, 1).tobytes()  # (N, C, W, H)
        files[f"{split}_y.bin"] = bytes(range(1, 11))
    write_folder(root, "stl10_binary", files)


def write_emotions(root: Path) -> None:
    """Two faces a class and split, one grey value each, and a class that Emotions leaves aside."""
    for split in ("train", "validation", "test"):
        for number, name in enumerate(("angry", "disgust", "fear", "happy", "sad", "surprise")):
            folder = root / "emotions" / split / name
            folder.mkdir(parents=True)
            for copy in range(2):
                Image.new("L", (48, 48), 40 * number + copy).save(folder / f"{copy}.png")


WRITERS: dict[str, Callable[[Path], object]] = {
    "digits": lambda _root: None,
    "cifar10": lambda root: write_folder(root, "cifar-10-batches-py", cifar10_files()),
    "cifar100": lambda root: write_folder(root, "cifar-100-python", cifar100_files()),
    "mnist": lambda root: write_idx_set(root, "mnist"),
    "fashion_mnist": lambda root: write_idx_set(root, "fashion_mnist"),
    "stl10": write_stl10,
    "emotions": write_emotions,
}
