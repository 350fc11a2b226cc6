"""Rows come out of the file as they went in, whoever reads them; a file that is not whole is refused."""

from __future__ import annotations

import errno
import os
import pickle
import threading
import tracemalloc
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from eyebright.core.errors import StorageError
from eyebright.data import pixel_file as module
from eyebright.data.pixel_file import PixelFile, is_open, pixel_writer

IMAGES = np.random.default_rng(0).integers(0, 256, (40, 5, 4, 3), np.uint8)


def written(path: Path, images: np.ndarray = IMAGES, most: int | None = None) -> Path:
    with pixel_writer(path, most or len(images), images.shape[1:]) as writer:
        for image in images:
            writer.write(image)
    return path


@pytest.fixture(params=["preadv", "one position"])
def path(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    if request.param == "one position":
        monkeypatch.delattr(os, "preadv", raising=False)
    return written(tmp_path / "pixels.npy")


def test_numpy_reads_what_is_written(path: Path) -> None:
    assert np.array_equal(np.load(path), IMAGES)


@pytest.mark.parametrize("rows", [[3, 0, 3, 39], [], list(range(40))])
def test_rows_in_the_order_asked_for(path: Path, rows: Sequence[int]) -> None:
    pixels = PixelFile(path)
    assert pixels.shape == IMAGES.shape
    found = pixels[np.array(rows, np.int64)]
    assert np.array_equal(found, IMAGES[rows] if rows else np.empty((0, 5, 4, 3)))
    assert found.dtype == np.uint8
    assert found.flags.writeable


@pytest.mark.parametrize("row", [-1, 40])
def test_a_row_that_does_not_exist(path: Path, row: int) -> None:
    with pytest.raises(IndexError, match=f"no row {row} among 40"):
        PixelFile(path)[np.array([0, row])]


def test_reads_that_return_little_are_continued(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = PixelFile._read
    monkeypatch.setattr(PixelFile, "_read", lambda self, buffer, position: whole(self, buffer[:7], position))
    assert np.array_equal(PixelFile(path)[np.array([2, 1])], IMAGES[[2, 1]])


def test_many_threads_read_the_same_as_one(path: Path) -> None:
    pixels = PixelFile(path)
    rows = [np.random.default_rng(seed).permutation(40) for seed in range(64)]
    with ThreadPoolExecutor(8) as pool:
        assert all(
            np.array_equal(found, IMAGES[row])
            for found, row in zip(pool.map(pixels.__getitem__, rows), rows, strict=True)
        )


def test_a_pickled_one_opens_the_file_again(path: Path) -> None:
    content = pickle.dumps(PixelFile(path))
    assert len(content) < 500
    assert np.array_equal(pickle.loads(content)[np.array([7])], IMAGES[[7]])


def test_memory_holds_only_the_rows_asked_for(tmp_path: Path) -> None:
    images = np.zeros((64, 128, 128, 1), np.uint8)  # 1 MiB
    pixels = PixelFile(written(tmp_path / "pixels.npy", images))
    tracemalloc.start()
    try:
        for row in range(64):
            pixels[np.array([row])]
        assert tracemalloc.get_traced_memory()[1] < 3 * images[0].nbytes
    finally:
        tracemalloc.stop()


# ---- in use


def test_a_file_is_open_as_long_as_the_object_lives(path: Path) -> None:
    assert not is_open(path)
    pixels = PixelFile(path)
    assert is_open(path)
    assert pixels.shape[0] == 40
    del pixels
    assert not is_open(path)


def test_a_file_that_does_not_exist_is_not_open(tmp_path: Path) -> None:
    assert not is_open(tmp_path / "none.npy")
    with pytest.raises(FileNotFoundError):
        PixelFile(tmp_path / "none.npy")


def test_a_removed_file_is_read_to_the_end(path: Path) -> None:
    pixels = PixelFile(path)
    path.unlink()
    assert np.array_equal(pixels[np.arange(40)], IMAGES)


# ---- damaged


@pytest.mark.parametrize("change", [-1, 1, -2400])
def test_another_length_is_refused(path: Path, change: int) -> None:
    size = path.stat().st_size
    os.truncate(path, size + change)
    with pytest.raises(ValueError, match=f"has {size + change} bytes, not {size}"):
        PixelFile(path)
    assert not is_open(path)


@pytest.mark.parametrize(
    ("array", "reason"), [(IMAGES.astype(np.int16), "it holds int16"), (np.asfortranarray(IMAGES), "uint8 by columns")]
)
def test_other_arrays_are_refused(tmp_path: Path, array: np.ndarray, reason: str) -> None:
    np.save(tmp_path / "pixels.npy", array)
    with pytest.raises(ValueError, match=reason):
        PixelFile(tmp_path / "pixels.npy")


def test_a_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pixels.npy").write_text("no array")
    with pytest.raises(ValueError, match="magic string"):
        PixelFile(tmp_path / "pixels.npy")


def test_a_file_that_is_cut_while_it_is_read_is_named(path: Path) -> None:
    pixels = PixelFile(path)
    os.truncate(path, 1000)
    with pytest.raises(StorageError, match=rf"{path}: the file has become shorter"):
        pixels[np.array([39])]


def test_a_disk_that_fails_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = PixelFile(path)

    def broken(*_: object) -> int:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(PixelFile, "_read", broken)
    with pytest.raises(StorageError, match=rf"{path}: Input/output error"):
        pixels[np.array([0])]


# ---- writing


@pytest.mark.parametrize("count", [0, 1, 39])
def test_fewer_images_than_announced(tmp_path: Path, count: int) -> None:
    path = written(tmp_path / "pixels.npy", IMAGES[:count], most=1_000_000)
    assert np.array_equal(PixelFile(path)[np.arange(count)], IMAGES[:count])


def test_the_disk_is_kept_busy_while_images_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FLUSH_BYTES", 10 * IMAGES[0].nbytes)
    flushed: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda _: flushed.append(threading.current_thread().name))
    path = tmp_path / "pixels.npy"
    with pixel_writer(path, 40, (5, 4, 3)) as writer:
        for image in IMAGES:
            writer.write(image)
            writer.wait()  # so that every step is over when the next one is due
    assert [name.split("_")[0] for name in flushed] == ["flush"] * 4 + ["MainThread"]
    assert np.array_equal(np.load(path), IMAGES)


def test_a_disk_that_fills_up_on_the_way_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FLUSH_BYTES", 1)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        written(tmp_path / "pixels.npy")
