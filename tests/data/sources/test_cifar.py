from __future__ import annotations

import gzip
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eyebright.core.errors import DataError
from eyebright.core.settings.data import DataSettings
from eyebright.data.image_set import ImageSet
from eyebright.data.sources.cifar import Cifar10Source, Cifar100Source, CifarSource
from tests.data.sources.tiny import cifar10_files, cifar100_files, cifar_pixels, pack, write_folder

FOLDER = "cifar-10-batches-py"
ARCHIVE = "cifar-10-python.tar.gz"


def read(root: Path, source: CifarSource | None = None, **settings: Any) -> dict[str, ImageSet]:
    choice = DataSettings(source="cifar10", download=False, **settings)
    return (source or Cifar10Source()).read(choice, root, None)


def check_tiny(parts: dict[str, ImageSet]) -> None:
    train, test = parts["train"], parts["test"]
    assert (len(train), len(test)) == (50, 10)
    assert train.classes[0] == "airplane"
    assert train.labels.tolist() == [(number + row) % 10 for number in range(5) for row in range(10)]
    assert test.labels.tolist() == [5, 6, 7, 8, 9, 0, 1, 2, 3, 4]
    for number in range(5):
        assert np.array_equal(train.images[10 * number : 10 * number + 10], cifar_pixels(10, number))
    assert np.array_equal(test.images, cifar_pixels(10, 5))
    assert train.names[3] == "train/cat/photo_s_000003.png"
    assert test.names[1] == "test/frog/photo_s_000051.png"


def test_reads_the_unpacked_folder(tmp_path: Path) -> None:
    write_folder(tmp_path, FOLDER, cifar10_files())
    check_tiny(read(tmp_path))


def test_reads_the_archive_and_extracts_nothing(tmp_path: Path) -> None:
    pack(write_folder(tmp_path, FOLDER, cifar10_files()), tmp_path / ARCHIVE)
    calls: list[tuple[str, int, int]] = []
    settings = DataSettings(source="cifar10")
    check_tiny(Cifar10Source().read(settings, tmp_path, lambda *call: calls.append(call)))
    assert calls[-1] == (f"read {ARCHIVE}", 7, 7)
    assert [path.name for path in tmp_path.iterdir()] == [ARCHIVE]


def test_cifar100_has_the_fine_labels(tmp_path: Path) -> None:
    write_folder(tmp_path, "cifar-100-python", cifar100_files())
    parts = read(tmp_path, Cifar100Source())
    assert parts["train"].labels.tolist() == list(range(100))
    assert np.array_equal(parts["test"].images, cifar_pixels(100, 1))
    assert parts["test"].names[7] == "test/class07/photo_s_000007.png"


def test_the_real_cifar10(cifar10_root: Path) -> None:
    parts = read(cifar10_root)
    train, test = parts["train"], parts["test"]
    assert train.store.pixels.shape == (50_000, 32, 32, 3)
    assert test.store.pixels.shape == (10_000, 32, 32, 3)
    assert np.bincount(train.labels).tolist() == [5000] * 10
    assert np.bincount(test.labels).tolist() == [1000] * 10
    assert test.classes[test.labels[0]] == "cat"
    assert test.names[0] == "test/cat/domestic_cat_s_000907.png"
    assert train.names[0] == "train/frog/leptodactylus_pentadactylus_s_000004.png"
    assert train.images[0, 0, 0].tolist() == [59, 62, 63]  # as every tutorial prints it
    # the mean colour that the literature normalises with
    assert np.round(train.images.mean(axis=(0, 1, 2)) / 255, 4).tolist() == [0.4914, 0.4822, 0.4465]


def damaged(root: Path, name: str, value: Any) -> str:
    """The cause that is told when the file `name` holds `value`."""
    write_folder(root, FOLDER, cifar10_files() | {name: value})
    with pytest.raises(DataError) as caught:
        read(root)
    assert str(root / FOLDER / name) in caught.value.cause
    assert "https://www.cs.toronto.edu/" in caught.value.remedy
    return caught.value.cause


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        pytest.param({b"labels": [0, 1, 2]}, "10 images, 3 labels and 10 names where 10 are expected", id="labels"),
        pytest.param({b"labels": [*range(9), 10]}, "it has the label 10", id="label beyond"),
        pytest.param({b"labels": [*range(9), -1]}, "it has the label -1", id="label below"),
        pytest.param({b"labels": [*range(9), b"3"]}, "labels are no list of whole numbers", id="text label"),
        pytest.param({b"data": np.zeros((10, 3071), np.uint8)}, "the shape (10, 3071)", id="narrow"),
        pytest.param({b"data": np.zeros((10, 3, 32, 32), np.uint8)}, "the shape (10, 3, 32, 32)", id="four axes"),
        pytest.param({b"data": [1, 2]}, "its images have the shape", id="list"),
        pytest.param({b"filenames": 7}, "a list of names is something else", id="names"),
        pytest.param({b"batch_label": b"testing batch 1 of 1"}, "should be 'training batch 2 of 5'", id="other batch"),
        pytest.param({b"batch_label": []}, "should be 'training batch 2 of 5'", id="odd label"),
    ],
)
def test_a_wrong_batch_is_named(tmp_path: Path, change: dict[bytes, Any], cause: str) -> None:
    told = damaged(tmp_path, "data_batch_2", cifar10_files()["data_batch_2"] | change)
    assert cause in told


def test_a_batch_of_fewer_images_than_the_others_is_named(tmp_path: Path) -> None:
    batch = cifar10_files()["data_batch_2"]
    short = {key: value[:3] if key in {b"data", b"labels", b"filenames"} else value for key, value in batch.items()}
    assert "3 images, 3 labels and 3 names where 10 are expected" in damaged(tmp_path, "data_batch_2", short)


def test_a_truncated_batch_is_named(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, FOLDER, cifar10_files())
    content = (folder / "data_batch_3").read_bytes()
    assert "truncated" in damaged(tmp_path, "data_batch_3", content[: len(content) // 2])


def test_a_batch_of_cifar100_is_named(tmp_path: Path) -> None:
    cause = damaged(tmp_path, "test_batch", cifar100_files()["test"])
    assert "is no batch of CIFAR-10: it has no labels" in cause


@pytest.mark.parametrize(
    ("meta", "cause"),
    [
        ({b"label_names": [b"cat", b"dog"]}, "names 2 classes, but CIFAR-10 has 10"),
        ({}, "has no list 'label_names'"),
        ({b"label_names": b"cat"}, "has no list 'label_names'"),
    ],
)
def test_wrong_class_names_are_named(tmp_path: Path, meta: dict[bytes, Any], cause: str) -> None:
    assert cause in damaged(tmp_path, "batches.meta", meta)


def test_a_missing_batch_is_named(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, FOLDER, cifar10_files())
    (folder / "data_batch_4").unlink()
    with pytest.raises(DataError, match="data_batch_4 is missing"):
        read(tmp_path)


def wrong_archive(root: Path) -> DataError:
    with pytest.raises(DataError) as caught:
        read(root)
    assert str(root / ARCHIVE) in caught.value.cause
    assert str(root / ARCHIVE) in caught.value.remedy
    assert [path.name for path in root.iterdir()] == [ARCHIVE]
    return caught.value


def test_the_archive_of_cifar100_in_its_place(tmp_path: Path) -> None:
    pack(write_folder(tmp_path, "cifar-100-python", cifar100_files()), tmp_path / ARCHIVE)
    assert f"does not contain {FOLDER}/batches.meta" in wrong_archive(tmp_path).cause


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9])
def test_a_truncated_archive(tmp_path: Path, share: float) -> None:
    archive = pack(write_folder(tmp_path, FOLDER, cifar10_files()), tmp_path / ARCHIVE)
    content = archive.read_bytes()
    archive.write_bytes(content[: int(len(content) * share)])
    assert "truncated, damaged or no .tar.gz" in wrong_archive(tmp_path).cause


def test_an_archive_without_its_last_bytes_lacks_its_checksum(tmp_path: Path) -> None:
    archive = pack(write_folder(tmp_path, FOLDER, cifar10_files()), tmp_path / ARCHIVE)
    archive.write_bytes(archive.read_bytes()[:-8])
    assert "truncated" in wrong_archive(tmp_path).cause


def test_a_pixel_changed_in_the_archive_is_found_by_its_checksum(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, FOLDER, cifar10_files())
    archive = pack(folder, tmp_path / ARCHIVE)
    unpacked = gzip.decompress(archive.read_bytes())
    # Stored without compression, a changed byte changes one pixel and nothing else.
    stored = bytearray(gzip.compress(unpacked, compresslevel=0))
    place = stored.index(cifar_pixels(10, 5).transpose(0, 3, 1, 2).tobytes()[:100])
    stored[place] ^= 1
    archive.write_bytes(stored)
    assert "CRC" in wrong_archive(tmp_path).cause


def test_a_page_that_a_server_sent_in_place_of_the_archive(tmp_path: Path) -> None:
    (tmp_path / ARCHIVE).write_bytes(b"<html>Moved</html>")
    assert "Not a gzipped file" in wrong_archive(tmp_path).cause


def test_the_unpacked_folder_comes_first(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, FOLDER, cifar10_files())
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    pack(folder, tmp_path / ARCHIVE)
    (tmp_path / ARCHIVE).write_bytes(b"broken")
    copy.rename(folder)
    check_tiny(read(tmp_path))
