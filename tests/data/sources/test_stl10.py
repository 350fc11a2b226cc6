from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from eyebright.core.errors import DataError
from eyebright.core.settings.data import DataSettings
from eyebright.data.image_set import ImageSet
from eyebright.data.sources.stl10 import Stl10Source
from tests.data.sources.tiny import pack, write_folder, write_stl10


def read(root: Path) -> dict[str, ImageSet]:
    return Stl10Source().read(DataSettings(source="stl10", download=False), root, None)


def test_pixels_stand_column_by_column(tmp_path: Path) -> None:
    """One red pixel at row 2, column 5: byte 5 * 96 + 2 of the first plane."""
    content = bytearray(3 * 96 * 96)
    content[5 * 96 + 2] = 255
    content[96 * 96 + 95 * 96 + 7] = 100  # green at row 7, column 95
    files = {"train_X.bin": bytes(content), "train_y.bin": b"\x04", "test_X.bin": bytes(content), "test_y.bin": b"\x0a"}
    write_folder(tmp_path, "stl10_binary", files)
    parts = read(tmp_path)
    image = parts["train"].images[0]  # (H, W, C)
    assert image[2, 5].tolist() == [255, 0, 0]
    assert image[7, 95].tolist() == [0, 100, 0]
    assert image.sum() == 355
    assert parts["train"].classes[parts["train"].labels[0]] == "cat"  # the fourth: labels begin with 1
    assert parts["test"].classes[parts["test"].labels[0]] == "truck"


def test_folder_and_archive_are_the_same(tmp_path: Path) -> None:
    write_stl10(tmp_path)
    unpacked = read(tmp_path)
    expected = np.random.default_rng(1).integers(0, 256, (10, 96, 96, 3), dtype=np.uint8)
    assert np.array_equal(unpacked["test"].images, expected)
    pack(tmp_path / "stl10_binary", tmp_path / "stl10_binary.tar.gz")
    assert read(tmp_path)["test"].fingerprint == unpacked["test"].fingerprint


@pytest.mark.parametrize(
    ("name", "content", "cause"),
    [
        pytest.param("train_X.bin", bytes(27_648 * 10 - 1), "is no whole number of images", id="truncated"),
        pytest.param("train_X.bin", bytes(27_648 * 9), "has 9 images, but", id="an image less"),
        pytest.param("test_X.bin", b"", "is no whole number of images", id="empty"),
        pytest.param("test_y.bin", bytes(range(10)), "labels outside 1..10", id="from 0"),
        pytest.param("test_y.bin", bytes(range(2, 12)), "labels outside 1..10", id="to 11"),
        pytest.param("test_y.bin", bytes([1]), "has 1 labels", id="one label"),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, name: str, content: bytes, cause: str) -> None:
    write_stl10(tmp_path)
    (tmp_path / "stl10_binary" / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        read(tmp_path)
    assert str(tmp_path / "stl10_binary" / name) in caught.value.cause
    assert cause in caught.value.cause
    assert "stl10_binary.tar.gz" in caught.value.remedy
