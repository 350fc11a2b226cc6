"""Decoded once, never half, never more than the bound; and what happens where there is no room."""

from __future__ import annotations

import dataclasses
import errno
import json
import logging
import os
import shutil
import subprocess
import sys
import threading
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock

from eyebright.core.errors import BadImageError, StorageError
from eyebright.data import cache as module
from eyebright.data.cache import Cache, DecodeJob, cache_folder
from eyebright.data.decode import DECODER_VERSION, Target, fit, load_image
from eyebright.data.image_files import open_files
from eyebright.data.image_set import BadImage
from eyebright.data.pixel_file import PixelFile
from eyebright.data.streaming import Decoding, StreamedPixels
from tests.data.pictures import picture, png, pngs, write_tree, write_zip

DECODING = Decoding(5, 4, 3, "crop", "bilinear")
NAMES = tuple(f"cat/{number:02d}.png" for number in range(10))
IMAGE_BYTES = 5 * 4 * 3
PIXELS = np.stack([fit(picture(seed), 5, 4) for seed in range(10)])


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "photos", pngs(*NAMES))


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "decoded", reserve=0)


@pytest.fixture
def decoded_names(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that have been decoded so far."""
    names: list[str] = []

    def counted(source: bytes, target: Target, *, name: str) -> Any:
        names.append(name)
        return load_image(source, target, name=name)

    monkeypatch.setattr("eyebright.data.streaming.load_image", counted)
    return names


def job(root: Path, **changes: Any) -> DecodeJob:
    files = open_files(root)
    return dataclasses.replace(DecodeJob(files, np.arange(len(files.names)), DECODING, "photos"), **changes)


def all_of(pixels: Any) -> np.ndarray:
    return np.asarray(pixels[np.arange(pixels.shape[0])])


# ---- decoded once


def test_the_pixels_are_those_of_decode_and_fit(photos: Path, cache: Cache) -> None:
    decoded = cache.load(job(photos))
    assert np.array_equal(all_of(decoded.pixels), PIXELS)
    assert decoded.rows.tolist() == list(range(10))
    assert decoded.rows.dtype == np.int64
    assert (decoded.bad, decoded.streamed) == ((), False)


def test_the_second_time_nothing_is_decoded(photos: Path, cache: Cache, decoded_names: list[str]) -> None:
    first = cache.load(job(photos))
    assert len(decoded_names) == 10
    second = cache.load(job(photos))
    assert len(decoded_names) == 10
    assert np.array_equal(all_of(first.pixels), all_of(second.pixels))
    assert first.key == second.key


def test_small_sets_are_in_memory_and_large_ones_stay_in_their_file(photos: Path, cache: Cache) -> None:
    small, large = cache.load(job(photos)).pixels, dataclasses.replace(cache, memory=0).load(job(photos)).pixels
    assert type(small) is np.ndarray
    assert isinstance(large, PixelFile)
    assert np.array_equal(all_of(small), all_of(large))


def test_progress_is_told_to_the_end(photos: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PROGRESS_IMAGES", 4)
    told: list[tuple[str, int, int]] = []
    cache.load(job(photos, progress=lambda *said: told.append(said)))
    assert told == [("decode photos", 4, 10), ("decode photos", 8, 10), ("decode photos", 10, 10)]


def test_every_choice_of_the_decoding_has_its_own_entry(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = job(photos)
    keys = {first.key}
    for change in (
        {"height": 6},
        {"width": 6},
        {"channels": 1},
        {"resize": "pad"},
        {"interpolation": "nearest"},
    ):
        keys.add(job(photos, decoding=dataclasses.replace(DECODING, **change)).key)
    keys.add(job(photos, rows=first.rows[::-1]).key)
    monkeypatch.setattr(module, "DECODER_VERSION", DECODER_VERSION + 1)
    keys.add(job(photos).key)
    assert len(keys) == 8


def test_another_content_is_decoded_anew(photos: Path, cache: Cache) -> None:
    before = cache.load(job(photos))
    (photos / NAMES[3]).write_bytes(png(picture(77)))
    after = cache.load(job(photos))
    assert np.array_equal(all_of(after.pixels)[3], fit(picture(77), 5, 4))
    assert before.key != after.key


def test_the_key_is_that_of_the_pixels_wherever_they_came_from(photos: Path, tmp_path: Path, cache: Cache) -> None:
    archive = write_zip(tmp_path / "photos.zip", pngs(*NAMES))
    unlike = job(photos), job(archive)
    assert unlike[0].key != unlike[1].key  # of the entries
    assert cache.load(unlike[0]).key == cache.load(unlike[1]).key


# ---- bad images


@pytest.fixture
def damaged(photos: Path) -> Path:
    return write_tree(photos, {NAMES[2]: b"text", NAMES[7]: b"", NAMES[8]: png(picture(8))[:60]})


def test_a_bad_image_stops_and_leaves_nothing(damaged: Path, cache: Cache) -> None:
    with pytest.raises(BadImageError, match=f"{damaged / NAMES[2]} is not an image"):
        cache.load(job(damaged))
    assert cache.entries() == []
    assert list(cache.folder.glob(".*")) == []


@pytest.mark.parametrize("memory", [0, 1 << 20])
def test_bad_images_are_left_out_and_named(damaged: Path, cache: Cache, memory: int) -> None:
    cache = dataclasses.replace(cache, memory=memory)
    for _ in range(2):  # decoded, then found in the cache
        decoded = cache.load(job(damaged, on_bad_image="skip"))
        assert decoded.rows.tolist() == [0, 1, 3, 4, 5, 6, 9]
        assert decoded.pixels.shape == (7, 5, 4, 3)
        assert np.array_equal(all_of(decoded.pixels), PIXELS[decoded.rows])
        assert [bad.name for bad in decoded.bad] == [NAMES[2], NAMES[7], NAMES[8]]
        assert decoded.bad[1] == BadImage(NAMES[7], "is empty (0 bytes)")


def test_who_wants_to_stop_is_stopped_by_an_entry_with_bad_images_too(damaged: Path, cache: Cache) -> None:
    cache.load(job(damaged, on_bad_image="skip"))
    with pytest.raises(BadImageError) as caught:
        cache.load(job(damaged))
    assert caught.value.cause.startswith(f"{damaged / NAMES[2]} is not an image")


def test_all_images_may_be_bad(tmp_path: Path, cache: Cache) -> None:
    root = write_tree(tmp_path / "photos", {"cat/a.png": b"x", "cat/b.png": b"y"})
    for memory in (0, 1 << 20):
        decoded = dataclasses.replace(cache, memory=memory).load(job(root, on_bad_image="skip"))
        assert decoded.pixels.shape == (0, 5, 4, 3)
        assert len(decoded.bad) == 2


# ---- whole or not there


def test_an_interrupted_write_leaves_nothing(photos: Path, cache: Cache) -> None:
    def interrupt(what: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.load(job(photos, progress=interrupt))
    assert list(cache.folder.glob("*/")) == []
    assert np.array_equal(all_of(cache.load(job(photos)).pixels), PIXELS)


CHILD = """
import os, sys
from pathlib import Path
import numpy as np
from eyebright.data.cache import Cache, DecodeJob
from eyebright.data.image_files import open_files
from eyebright.data.streaming import Decoding
files = open_files(Path(sys.argv[1]))
stop = (lambda *_: os._exit(9)) if sys.argv[3] == "die" else None
job = DecodeJob(files, np.arange(len(files.names)), Decoding(5, 4, 3, "crop", "bilinear"), "photos", progress=stop)
print(Cache(Path(sys.argv[2]), reserve=0).load(job).key)
"""


def child(photos: Path, cache: Cache, what: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CHILD, str(photos), str(cache.folder), what]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_what_a_killed_process_left_is_not_used_and_is_removed(photos: Path, cache: Cache) -> None:
    with child(photos, cache, "die") as process:
        assert process.wait() == 9
    assert len(list(cache.folder.glob(".*.tmp/"))) == 1
    assert cache.entries() == []
    assert np.array_equal(all_of(cache.load(job(photos)).pixels), PIXELS)
    assert list(cache.folder.glob(".*.tmp/")) == []


def test_what_is_being_made_is_not_removed(photos: Path, cache: Cache) -> None:
    under_way = cache.folder / f".{'a' * 32}.1.tmp"
    under_way.mkdir(parents=True)
    with FileLock(cache.folder / f"{'a' * 32}.lock"):
        ThreadPoolExecutor().submit(cache.load, job(photos)).result()
        assert under_way.exists()
    cache.clear()
    assert not under_way.exists()


@pytest.mark.parametrize("memory", [0, 1 << 20])
@pytest.mark.parametrize("damage", ["shorter", "gone", "other", "record", "no record"])
def test_a_damaged_entry_is_made_again(
    photos: Path, cache: Cache, memory: int, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    cache = dataclasses.replace(cache, memory=memory)
    cache.load(job(photos))
    entry = cache.folder / job(photos).key
    match damage:
        case "shorter":
            os.truncate(entry / "pixels.npy", 200)
        case "gone":
            (entry / "pixels.npy").unlink()
        case "other":
            np.save(entry / "pixels.npy", PIXELS[1:])
        case "record":
            (entry / "entry.json").write_text('{"source"')
        case "no record":
            (entry / "entry.json").unlink()
    with caplog.at_level(logging.WARNING, "eyebright"):
        assert np.array_equal(all_of(cache.load(job(photos)).pixels), PIXELS)
    assert ("is damaged" in caplog.text) == (damage != "no record")
    assert len(cache.entries()) == 1


def test_a_full_disk_is_said_and_leaves_nothing(photos: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StorageError, match="the disk is full"):
            cache.load(job(photos))
    assert list(cache.folder.glob("*/")) == []
    assert np.array_equal(all_of(cache.load(job(photos)).pixels), PIXELS)


# ---- several at once


def test_two_processes_that_decode_the_same(photos: Path, cache: Cache) -> None:
    children = [child(photos, cache, "live") for _ in range(2)]
    keys = {process.communicate()[0].strip() for process in children}
    assert [process.returncode for process in children] == [0, 0]
    assert keys == {cache.load(job(photos)).key}
    assert len(cache.entries()) == 1


def test_one_decodes_and_the_others_wait_for_it(
    photos: Path, cache: Cache, decoded_names: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    # The first one is held inside its work until the second one waits.
    begun, waits = threading.Event(), threading.Event()

    class Waits(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "waiting for it" in record.getMessage():
                waits.set()

    def hold(what: str, done: int, total: int) -> None:
        begun.set()
        assert waits.wait(20)

    handler = Waits()
    logging.getLogger("eyebright").addHandler(handler)
    try:
        with caplog.at_level(logging.INFO, "eyebright"), ThreadPoolExecutor(2) as pool:
            first = pool.submit(cache.load, job(photos, progress=hold))
            assert begun.wait(20)
            second = pool.submit(cache.load, job(photos))
            assert np.array_equal(all_of(first.result().pixels), all_of(second.result().pixels))
    finally:
        logging.getLogger("eyebright").removeHandler(handler)
    assert len(decoded_names) == 10


# ---- the bound


def sets(tmp_path: Path, count: int) -> list[Path]:
    """Folders of ten other pictures each."""
    return [
        write_tree(tmp_path / f"set{number}", {name: png(picture(100 * number + 1)) for name in NAMES})
        for number in range(count)
    ]


def used(cache: Cache, root: Path, seconds: int) -> str:
    """Load a set as if it were so many seconds after 1970, and tell its key."""
    wanted = job(root, source=root.name)
    cache.load(wanted)
    os.utime(cache.folder / wanted.key / "entry.json", (seconds, seconds))
    return wanted.key


def test_entries_are_listed_by_use(tmp_path: Path, cache: Cache) -> None:
    first, second = sets(tmp_path, 2)
    keys = used(cache, first, 100), used(cache, second, 50)
    entries = cache.entries()
    assert [entry.key for entry in entries] == list(keys)
    assert [(entry.source, entry.n) for entry in entries] == [("set0", 10), ("set1", 10)]
    assert [entry.last_used.timestamp() for entry in entries] == [100, 50]
    assert entries[0].bytes == sum(file.stat().st_size for file in (cache.folder / keys[0]).iterdir())
    assert entries[0].bytes > 10 * IMAGE_BYTES


def test_the_least_recently_used_gives_way(tmp_path: Path, cache: Cache) -> None:
    a, b, c = sets(tmp_path, 3)
    keys = used(cache, a, 100), used(cache, b, 200)
    cache.load(job(a))  # now a is the last used
    room_for_two = dataclasses.replace(cache, limit=sum(entry.bytes for entry in cache.entries()))
    third = room_for_two.load(job(c))
    assert not third.streamed
    assert {entry.key for entry in cache.entries()} == {keys[0], job(c).key}


def test_as_many_give_way_as_are_needed_and_no_more(tmp_path: Path, cache: Cache) -> None:
    roots = sets(tmp_path, 4)
    keys = [used(cache, root, seconds) for seconds, root in enumerate(roots[:3])]
    (entry, *_) = cache.entries()
    dataclasses.replace(cache, limit=2 * entry.bytes).load(job(roots[3]))
    assert {entry.key for entry in cache.entries()} == {keys[2], job(roots[3]).key}


def test_an_entry_in_use_never_gives_way(tmp_path: Path, cache: Cache) -> None:
    cache = dataclasses.replace(cache, memory=0)
    a, b, c = sets(tmp_path, 3)
    used(cache, b, 200)
    used_now = cache.load(job(a)).pixels
    os.utime(cache.folder / job(a).key / "entry.json", (1, 1))  # the least recently used
    dataclasses.replace(cache, limit=sum(entry.bytes for entry in cache.entries())).load(job(c))
    assert {entry.key for entry in cache.entries()} == {job(a).key, job(c).key}
    cache.clear()
    assert [entry.key for entry in cache.entries()] == [job(a).key]
    assert all_of(used_now).shape == (10, 5, 4, 3)
    del used_now
    cache.clear()
    assert cache.entries() == []


def test_clear_says_what_it_freed_and_leaves_what_is_not_its_own(tmp_path: Path, cache: Cache) -> None:
    for root in sets(tmp_path, 2):
        cache.load(job(root))
    (cache.folder / "thesis").mkdir()
    (cache.folder / "thesis" / "entry.json").write_text("{}")
    size = sum(entry.bytes for entry in cache.entries())
    assert cache.clear() == size
    assert cache.entries() == []
    assert (cache.folder / "thesis" / "entry.json").exists()
    assert cache.clear() == 0


def test_a_cache_that_was_never_used(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "never")
    assert cache.entries() == []
    assert cache.clear() == 0
    assert not cache.folder.exists()


# ---- no room


def test_larger_than_the_bound_is_streamed_pixel_for_pixel(
    damaged: Path, cache: Cache, caplog: pytest.LogCaptureFixture
) -> None:
    whole = cache.load(job(damaged, on_bad_image="skip"))
    small = dataclasses.replace(cache, folder=cache.folder / "small", limit=10 * IMAGE_BYTES - 1, memory_without_room=0)
    with caplog.at_level(logging.WARNING, "eyebright"):
        streamed = small.load(job(damaged, on_bad_image="skip"))
    assert streamed.streamed
    assert "each one is decoded every time it is used, which is slow" in caplog.text
    assert isinstance(streamed.pixels, StreamedPixels)
    assert streamed.pixels.shape == whole.pixels.shape
    assert np.array_equal(all_of(streamed.pixels), all_of(whole.pixels))
    assert (streamed.rows.tolist(), streamed.bad, streamed.key) == (whole.rows.tolist(), whole.bad, whole.key)


def test_files_to_be_streamed_are_checked_once_and_it_is_said_each_time(
    damaged: Path, cache: Cache, decoded_names: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    small = dataclasses.replace(cache, limit=1, memory_without_room=0)
    with pytest.raises(BadImageError, match=NAMES[2]):
        small.load(job(damaged))
    decoded_names.clear()
    first = small.load(job(damaged, on_bad_image="skip"))
    assert len(decoded_names) == 10
    again = small.load(job(damaged, on_bad_image="skip"))
    assert len(decoded_names) == 10
    assert (first.key, first.bad) == (again.key, again.bad)
    assert caplog.text.count("each one is decoded every time it is used") == 2


def test_a_streamed_set_moves_into_the_cache_when_there_is_room(photos: Path, cache: Cache) -> None:
    assert dataclasses.replace(cache, limit=1, memory_without_room=0).load(job(photos)).streamed
    assert not cache.load(job(photos)).streamed
    assert json.loads((cache.folder / job(photos).key / "entry.json").read_text())["streamed"] is False
    assert len(cache.entries()) == 1


@pytest.mark.parametrize(("free", "streamed"), [(1000 + 10 * IMAGE_BYTES, False), (999 + 10 * IMAGE_BYTES, True)])
def test_the_disk_keeps_its_reserve(
    photos: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch, free: int, streamed: bool
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 0, free))
    assert dataclasses.replace(cache, reserve=1000, memory_without_room=0).load(job(photos)).streamed == streamed


def test_a_small_set_is_decoded_into_memory_where_the_disk_is_full(
    damaged: Path, cache: Cache, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "eyebright"):
        decoded = dataclasses.replace(cache, limit=1).load(job(damaged, on_bad_image="skip"))
    assert "they are decoded into memory, and again the next time" in caplog.text
    assert not decoded.streamed
    assert np.array_equal(all_of(decoded.pixels), PIXELS[decoded.rows])
    assert len(decoded.rows) == 7
    assert cache.entries() == []


# ---- where


def test_the_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EYEBRIGHT_CACHE", "~/pixels")
    assert cache_folder() == Path.home() / "pixels"
    monkeypatch.delenv("EYEBRIGHT_CACHE")
    assert cache_folder().parts[-2:] == ("eyebright", "decoded")


def test_a_cache_folder_that_is_a_file_is_refused_with_the_way_out(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=str(tmp_path / "file")) as caught:
        Cache(tmp_path / "file" / "cache").load(job(photos))
    assert "EYEBRIGHT_CACHE" in caught.value.remedy
