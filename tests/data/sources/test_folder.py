"""Folders and zips in every layout that people have, and the errors for those that are none."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eyebright.core.errors import BadImageError, DataError
from eyebright.core.settings.data import DataSettings
from eyebright.data.cache import Cache
from eyebright.data.decode import decode, fit
from eyebright.data.image_set import BadImage, ImageSet
from eyebright.data.sources.folder import FolderSource
from eyebright.data.streaming import StreamedPixels
from tests.data.pictures import picture, png, pngs, write_tree, write_zip

CLASSES = pngs("dog/1.png", "cat/2.png", "cat/deep/3.png", "bird/4.png")
SPLITS = pngs("train/b/1.png", "train/a/2.png", "val/b/3.png", "val/a/4.png", "test/a/5.png", "test/b/6.png")


def as_folder(path: Path, files: Mapping[str, bytes | None]) -> Path:
    return write_tree(path / "photos", files)


def as_zip(path: Path, files: Mapping[str, bytes | None]) -> Path:
    return write_zip(path / "photos.zip", files)


Write = Callable[[Path, Mapping[str, bytes | None]], Path]


@pytest.fixture(params=[as_folder, as_zip])
def write(request: pytest.FixtureRequest) -> Write:
    made: Write = request.param
    return made


def read(path: Path, **settings: Any) -> dict[str, ImageSet]:
    return FolderSource(path).read(DataSettings(source=str(path), **settings), Path("unused"), None)


def refused(path: Path, **settings: Any) -> DataError:
    with pytest.raises(DataError) as caught:
        read(path, **settings)
    assert str(path) in caught.value.cause
    assert caught.value.remedy
    return caught.value


def as_it_is(name: str, files: Mapping[str, bytes | None] = CLASSES, channels: int = 3) -> np.ndarray:
    content = files[name]
    assert content is not None
    return decode(content, channels=channels)


# ---- layouts


def test_one_folder_a_class(write: Write, tmp_path: Path) -> None:
    path = write(tmp_path, CLASSES)
    parts = read(path)
    assert list(parts) == ["all"]
    whole = parts["all"]
    assert whole.split == "all"
    assert whole.classes == ("bird", "cat", "dog")
    assert whole.names == ["bird/4.png", "cat/2.png", "cat/deep/3.png", "dog/1.png"]
    assert whole.labels.tolist() == [0, 1, 1, 2]
    assert whole.labels.dtype == whole.index.dtype == np.int64
    assert np.array_equal(whole.images, np.stack([as_it_is(name) for name in whole.names]))
    assert (whole.store.source, whole.store.root, whole.store.bad) == ("photos", path, ())
    assert whole.store.key is not None


def test_splits_share_one_store_of_unique_rows(write: Write, tmp_path: Path) -> None:
    parts = read(write(tmp_path, SPLITS))
    assert list(parts) == ["train", "validation", "test"]
    assert [part.split for part in parts.values()] == list(parts)
    assert [part.names for part in parts.values()] == [
        ["train/a/2.png", "train/b/1.png"],
        ["val/a/4.png", "val/b/3.png"],
        ["test/a/5.png", "test/b/6.png"],
    ]
    assert len({id(part.store) for part in parts.values()}) == 1
    assert sorted(np.concatenate([part.index for part in parts.values()]).tolist()) == list(range(6))
    for part in parts.values():
        assert part.labels.tolist() == [0, 1]
        assert np.array_equal(part.images, np.stack([as_it_is(name, SPLITS) for name in part.names]))


@pytest.mark.parametrize(
    ("folders", "splits"),
    [
        (("train",), ["train"]),
        (("train", "test"), ["train", "test"]),
        (("train", "valid"), ["train", "validation"]),
        (("Training", "Testing", "validation"), ["train", "validation", "test"]),
    ],
)
def test_names_of_splits(write: Write, tmp_path: Path, folders: tuple[str, ...], splits: list[str]) -> None:
    path = write(tmp_path, pngs(*(f"{folder}/{name}/1.png" for folder in folders for name in "ab")))
    assert list(read(path)) == splits


@pytest.mark.parametrize("wrapper", ["photos/", "Vacation 2024/photos/"])
@pytest.mark.parametrize("files", [CLASSES, SPLITS])
def test_folders_around_the_whole(write: Write, tmp_path: Path, files: dict[str, bytes | None], wrapper: str) -> None:
    inner = read(write(tmp_path / "inner", files))
    outer = read(write(tmp_path / "outer", {wrapper + name: content for name, content in files.items()}))
    assert list(inner) == list(outer)
    for split, part in outer.items():
        assert part.names == [wrapper + name for name in inner[split].names]
        assert part.fingerprint == inner[split].fingerprint


def test_a_folder_and_its_zip_have_one_fingerprint(tmp_path: Path) -> None:
    assert read(as_folder(tmp_path, CLASSES))["all"].fingerprint == read(as_zip(tmp_path, CLASSES))["all"].fingerprint


def test_train_may_be_a_class_of_vehicles(write: Write, tmp_path: Path) -> None:
    parts = read(write(tmp_path, pngs("bus/1.png", "car/2.png", "train/3.png")))
    assert list(parts) == ["all"]
    assert parts["all"].classes == ("bus", "car", "train")


def test_what_the_systems_leave_behind_is_no_class(write: Write, tmp_path: Path) -> None:
    files = {**CLASSES, "__MACOSX/cat/._2.png": b"x", ".cache/1.png": b"x", ".DS_Store": b"x", "cat/Thumbs.db": b"x"}
    assert read(write(tmp_path, files))["all"].classes == ("bird", "cat", "dog")


def test_some_classes_in_another_order(write: Write, tmp_path: Path) -> None:
    whole = read(write(tmp_path, {**CLASSES, "empty/": None}), classes=("dog", "cat"))["all"]
    assert whole.classes == ("dog", "cat")
    assert whole.names == ["cat/2.png", "cat/deep/3.png", "dog/1.png"]
    assert whole.labels.tolist() == [1, 1, 0]


def test_folders_whose_names_begin_alike(write: Write, tmp_path: Path) -> None:
    files = pngs("a/2.png", "a/deep/0.png", "a/1.png", "a-b/2.png", "a b/3.png", "a/deep-er/0.png")
    whole = read(write(tmp_path, files))["all"]
    assert whole.classes == ("a", "a b", "a-b")
    assert whole.names == sorted(files)
    assert [whole.classes[label] for label in whole.labels] == [name.split("/")[0] for name in whole.names]
    assert np.array_equal(whole.images, np.stack([as_it_is(name, files) for name in whole.names]))


def test_bad_images_move_no_label(write: Write, tmp_path: Path) -> None:
    files = {**SPLITS, "train/a/0.png": b"text", "val/a/9.png": b"", "test/b/7.png": b"text"}
    parts = read(write(tmp_path, files), on_bad_image="skip")
    good = read(write(tmp_path / "good", SPLITS))
    for split, part in parts.items():
        assert (part.names, part.labels.tolist()) == (good[split].names, good[split].labels.tolist())
        assert np.array_equal(part.images, good[split].images)


# ---- size and channels


def test_one_common_size_stays(write: Write, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "eyebright"):
        assert read(write(tmp_path, CLASSES))["all"].shape == (6, 8, 3)
    assert "the images stay as they are, 6x8" in caplog.text


def test_several_sizes_become_64(write: Write, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path, {**CLASSES, "cat/large.png": png(picture(9, 100, 70))})
    with caplog.at_level(logging.INFO, "eyebright"):
        whole = read(path)["all"]
    assert whole.shape == (64, 64, 3)
    assert "the images differ in size and are brought to 64x64; data.size=... changes it" in caplog.text
    assert np.array_equal(whole.images[3], fit(picture(9, 100, 70), 64, 64))


def test_photographs_of_one_camera_become_64(write: Write, tmp_path: Path) -> None:
    path = write(tmp_path, {f"{name}/1.png": png(picture(9, 257, 20)) for name in "ab"})
    assert read(path)["all"].shape == (64, 64, 3)


def test_settings_win(write: Write, tmp_path: Path) -> None:
    whole = read(write(tmp_path, CLASSES), size=5, channels=1, resize="pad", interpolation="lanczos")["all"]
    assert whole.shape == (5, 5, 1)
    expected = [fit(as_it_is(name, channels=1), 5, 5, "pad", "lanczos") for name in whole.names]
    assert np.array_equal(whole.images, np.stack(expected))
    assert (whole.store.resize, whole.store.interpolation) == ("pad", "lanczos")


def test_grey_images_have_one_channel_and_mixed_ones_three(write: Write, tmp_path: Path) -> None:
    grey: dict[str, bytes | None] = {f"{name}/1.png": png(picture(9, channels=1)) for name in "ab"}
    assert read(write(tmp_path / "grey", grey))["all"].shape == (6, 8, 1)
    assert read(write(tmp_path / "mixed", {**grey, "b/2.png": png(picture(9))}))["all"].shape == (6, 8, 3)


# ---- refused


def test_images_in_no_class_folder(write: Write, tmp_path: Path) -> None:
    error = refused(write(tmp_path, pngs("1.png", "2.png")))
    assert "has images in no class folder (2), the first is 1.png" in error.cause
    assert "ROOT/cat/1.jpg" in error.remedy


def test_images_beside_class_folders(write: Write, tmp_path: Path) -> None:
    error = refused(write(tmp_path, {**CLASSES, **pngs("preview.png")}))
    assert "has images in no class folder (1), the first is preview.png" in error.cause


def test_a_test_folder_without_classes(write: Write, tmp_path: Path) -> None:
    error = refused(write(tmp_path, pngs("train/a/1.png", "train/b/1.png", "test/1.png")))
    assert "the first is test/1.png" in error.cause


def test_no_images_at_all(write: Write, tmp_path: Path) -> None:
    error = refused(write(tmp_path, {"cat/": None, "readme.txt": b"about"}))
    assert "holds no images" in error.cause
    assert "ROOT/train/cat/1.jpg" in error.remedy


@pytest.mark.parametrize("empty", [{"empty/": None}, {"empty/readme.txt": b"x"}, {"empty/.hidden.png": b"x"}])
def test_an_empty_class_folder(write: Write, tmp_path: Path, empty: dict[str, bytes | None]) -> None:
    assert "the class folder" in (error := refused(write(tmp_path, {**CLASSES, **empty}))).cause
    assert "/empty has no images" in error.cause


def test_a_class_that_is_empty_in_one_split(write: Write, tmp_path: Path) -> None:
    files = {name: content for name, content in SPLITS.items() if name != "val/b/3.png"}
    assert "val/b has no images" in refused(write(tmp_path, {**files, "val/b/": None})).cause


def test_one_class_only(write: Write, tmp_path: Path) -> None:
    assert "has one class only: cat" in refused(write(tmp_path, pngs("cat/1.png", "cat/2.png"))).cause
    assert "has one class only: cat" in refused(write(tmp_path / "three", CLASSES), classes=("cat",)).cause


def test_classes_that_differ_between_splits(write: Write, tmp_path: Path) -> None:
    path = write(tmp_path, {**SPLITS, **pngs("train/wolf/1.png", "val/wolf/1.png", "train/fox/1.png")})
    assert "the validation split" in refused(path).cause
    assert "has no folder for fox." in refused(path).cause
    extra = write(tmp_path / "extra", {**SPLITS, **pngs("test/fox/1.png", "test/wolf/1.png")})
    assert "the train split" in refused(extra).cause
    assert "has no folder for fox, wolf." in refused(extra).cause
    assert list(read(path, classes=("a", "b"))) == ["train", "validation", "test"]


def test_a_class_that_does_not_exist(write: Write, tmp_path: Path) -> None:
    error = refused(write(tmp_path, CLASSES), classes=("cat", "dogs"))
    assert "has no folder for dogs." in error.cause
    assert error.remedy == "Did you mean 'dog'?"


def test_a_class_named_twice(write: Write, tmp_path: Path) -> None:
    path = write(tmp_path, CLASSES)
    with pytest.raises(DataError, match="names a class twice: cat, cat"):
        read(path, classes=("cat", "cat"))


def test_a_folder_beside_the_splits(write: Write, tmp_path: Path) -> None:
    error = refused(write(tmp_path, {**SPLITS, **pngs("test1/1.png")}))
    assert "has the folder 'test1'" in error.cause


def test_two_folders_for_one_split(write: Write, tmp_path: Path) -> None:
    files = {**SPLITS, **pngs("validation/a/1.png", "validation/b/1.png")}
    assert "has two folders for the validation split" in refused(write(tmp_path, files)).cause


def test_splits_without_a_training_split(write: Write, tmp_path: Path) -> None:
    files = {name: content for name, content in SPLITS.items() if not name.startswith("train")}
    assert "has no folder 'train' beside test, val" in refused(write(tmp_path, files)).cause


# ---- bad images

DAMAGED = {**CLASSES, "cat/9.png": b"text", "dog/0.jpg": b""}


def test_the_first_bad_image_stops(write: Write, tmp_path: Path) -> None:
    path = write(tmp_path, DAMAGED)
    with pytest.raises(BadImageError) as caught:
        read(path)
    assert caught.value.cause.startswith(f"{path}/cat/9.png is not an image of a known format")
    assert "--on-bad-image skip" in caught.value.remedy


def test_bad_images_are_left_out_and_said(write: Write, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path, DAMAGED)
    with caplog.at_level(logging.WARNING, "eyebright"):
        whole = read(path, on_bad_image="skip")["all"]
    assert caplog.messages == [f"{path}: left out 2 of 6 images that cannot be decoded"]
    assert [bad.name for bad in whole.store.bad] == ["cat/9.png", "dog/0.jpg"]
    assert whole.store.bad[1] == BadImage("dog/0.jpg", "is empty (0 bytes)")
    assert whole.names == ["bird/4.png", "cat/2.png", "cat/deep/3.png", "dog/1.png"]
    assert whole.labels.tolist() == [0, 1, 1, 2]
    assert np.array_equal(whole.images, np.stack([as_it_is(name) for name in whole.names]))


def test_a_class_of_bad_images_only(write: Write, tmp_path: Path) -> None:
    path = write(tmp_path, {**CLASSES, "wolf/1.png": b"text"})
    assert "/wolf has no images" in refused(path, on_bad_image="skip").cause


# ---- cache and streaming


def test_streamed_images_are_the_same(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, SPLITS)
    cached = read(path)
    no_room = Cache(tmp_path / "no_room", limit=0, memory_without_room=0)
    monkeypatch.setattr("eyebright.data.sources.folder.Cache", lambda _: no_room)
    streamed = read(path)
    assert isinstance(streamed["train"].store.pixels, StreamedPixels)
    for split, part in cached.items():
        assert np.array_equal(part.images, streamed[split].images)
        assert part.fingerprint == streamed[split].fingerprint


def test_progress_reaches_the_end(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    path = as_folder(tmp_path, CLASSES)
    FolderSource(path).read(DataSettings(source=str(path)), Path("unused"), lambda *said: told.append(said))
    assert told[-1] == ("decode photos", 4, 4)
