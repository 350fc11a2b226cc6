"""Corrections of labels: the file, the overlay on loading, and moving files there and back, crashes included."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from eyebright.core.errors import DataError, StorageError
from eyebright.core.recipe import recipe
from eyebright.core.settings.data import DataSettings
from eyebright.data.image_set import Splits
from eyebright.data.label_patch import Change, LabelPatch, move, move_back, override, relabelled
from eyebright.data.load import load, located, own_folder
from tests.data.sources.tiny import WRITERS


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Ten images in each of three classes, every one of another colour; owls have folders of their own."""
    folder = tmp_path / "photos"
    for label, name in enumerate(("cat", "dog", "owl")):
        for number in range(10):
            place = folder / name / ("barn" if name == "owl" and number % 2 else "")
            place.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8), (60 * label, 20 * number, 7)).save(place / f"{number}.png")
    return folder


def patch(*changes: tuple[str | None, str, str], source: str = "photos", **fields: Any) -> LabelPatch:
    made = tuple(
        Change(index=number, file=file, given=given, proposed=proposed)
        for number, (file, given, proposed) in enumerate(changes)
    )
    return LabelPatch(source=source, split="train", changes=made, **fields)


def written(path: Path, **changes: Any) -> Path:
    """A patch file as the report's page writes it, with some fields changed; None takes a field away."""
    change = {"index": 3, "file": "cat/3.png", "given": "cat", "proposed": "dog"}
    fields = {"eyebright_label_patch": 1, "source": "photos", "split": "test", "changes": [change]} | changes
    path.write_text(json.dumps({name: value for name, value in fields.items() if value is not None}))
    return path


def tree(folder: Path) -> dict[str, str]:
    """Every file with its content, and every folder; journals aside."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in sorted(folder.rglob("*"))
        if not path.name.startswith(".eyebright")
    }


class TestTheFile:
    def test_what_the_page_writes_is_read(self, tmp_path: Path) -> None:
        found = LabelPatch.read(written(tmp_path / "labels.json", fingerprint="ab12"))
        assert (found.source, found.split, found.fingerprint) == ("photos", "test", "ab12")
        assert found.changes == (Change(index=3, file="cat/3.png", given="cat", proposed="dog"),)

    def test_it_survives_writing(self, tmp_path: Path) -> None:
        made = patch(("cat/ä 1.png", "cat", "dog"), (None, "dog", "owl"))
        made.write(tmp_path / "labels.json")
        assert LabelPatch.read(tmp_path / "labels.json") == made
        assert json.loads((tmp_path / "labels.json").read_text())["eyebright_label_patch"] == 1

    def test_the_digest_is_of_the_content(self, tmp_path: Path) -> None:
        one = LabelPatch.read(written(tmp_path / "one.json"))
        (tmp_path / "two.json").write_text(json.dumps(json.loads((tmp_path / "one.json").read_text()), indent=7))
        assert one.digest == LabelPatch.read(tmp_path / "two.json").digest
        assert one.digest != dataclasses.replace(one, source="others").digest

    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            ({"eyebright_label_patch": 2}, "another version"),
            ({"eyebright_label_patch": None}, "has no field 'eyebright_label_patch'"),
            ({"split": "tset"}, "split: Input should be"),
            ({"source": None}, "source: Field required"),
            ({"extra": 1}, "extra: "),
            ({"changes": [{"index": -1, "given": "a", "proposed": "b"}]}, r"changes\.0\.index"),
            ({"changes": [{"index": 1, "given": "a", "proposed": "b", "sha256": "12"}]}, r"changes\.0\.sha256"),
            ({"changes": [{"index": 1, "given": "a", "proposed": "a"}]}, "source image 1 the class that it has"),
            ({"changes": 2 * [{"index": 1, "given": "a", "proposed": "b"}]}, "changes source image 1 twice"),
            (
                {"changes": [{"index": n, "file": "a/1.png", "given": "a", "proposed": "b"} for n in (1, 2)]},
                "changes a/1.png twice",
            ),
        ],
    )
    def test_what_is_no_patch_is_refused(self, tmp_path: Path, fields: dict[str, Any], message: str) -> None:
        with pytest.raises(DataError, match=message):
            LabelPatch.read(written(tmp_path / "labels.json", **fields))

    @pytest.mark.parametrize("content", ["", "[]", "{", "\x00\xff", "3"])
    def test_garbage_is_refused_by_name(self, tmp_path: Path, content: str) -> None:
        (tmp_path / "labels.json").write_text(content, encoding="latin-1")
        with pytest.raises(DataError, match=r"labels\.json cannot be used") as caught:
            LabelPatch.read(tmp_path / "labels.json")
        assert "pydoc eyebright.data.label_patch" in caught.value.remedy

    def test_a_missing_file_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="No such file"):
            LabelPatch.read(tmp_path / "labels.json")


def load_photos(folder: Path, *patches: Path) -> Splits:
    return load(DataSettings(source=str(folder), label_patches=tuple(map(str, patches))))


def labels_by_name(splits: Splits) -> dict[str, str]:
    return {
        name: part.classes[label]
        for part in splits
        for name, label in zip(part.names, part.labels.tolist(), strict=True)
    }


class TestOnLoading:
    def test_labels_change_and_the_splits_stay(self, photos: Path, tmp_path: Path) -> None:
        before = load_photos(photos)
        rows = before.test.index[:2]
        proposed = {int(row): "owl" if before.test.store.labels[row] != 2 else "cat" for row in rows}
        made = LabelPatch.of(before.test, proposed)
        made.write(tmp_path / "labels.json")
        after = load_photos(photos, tmp_path / "labels.json")
        assert all(np.array_equal(one.index, other.index) for one, other in zip(before, after, strict=True))
        changed = {
            name: label for name, label in labels_by_name(after).items() if labels_by_name(before)[name] != label
        }
        assert changed == {before.test.store.names[row]: name for row, name in proposed.items()}
        assert after.test.fingerprint != before.test.fingerprint
        assert after.train.fingerprint == before.train.fingerprint

    def test_what_python_writes_names_files_and_their_content(self, photos: Path) -> None:
        part = load_photos(photos).train
        row = int(part.index[0])
        made = LabelPatch.of(part, {row: next(name for name in part.classes if name != part.classes[part.labels[0]])})
        change = made.changes[0]
        assert change.file is not None
        assert change.sha256 == hashlib.sha256((photos / change.file).read_bytes()).hexdigest()
        assert (made.source, made.split, made.fingerprint) == ("photos", "train", part.fingerprint)

    def test_patches_follow_each_other(self, photos: Path, tmp_path: Path) -> None:
        splits = load_photos(photos)
        for number, change in enumerate([("cat/1.png", "cat", "dog"), ("cat/1.png", "dog", "owl")]):
            patch(change).write(tmp_path / f"{number}.json")
        both = [tmp_path / "0.json", tmp_path / "1.json"]
        assert labels_by_name(relabelled(splits, both))["cat/1.png"] == "owl"
        with pytest.raises(DataError, match="its label is 'cat' and not 'dog'"):
            relabelled(splits, both[::-1])

    def test_a_zip_is_corrected_like_a_folder(self, photos: Path, tmp_path: Path) -> None:
        packed = tmp_path / "photos.zip"
        with zipfile.ZipFile(packed, "w") as archive:
            for path in sorted(photos.rglob("*.png")):
                archive.write(path, path.relative_to(photos))
        content = hashlib.sha256((photos / "dog" / "4.png").read_bytes()).hexdigest()
        change = Change(index=0, file="dog/4.png", given="dog", proposed="cat", sha256=content)
        LabelPatch(source="photos", split="test", changes=(change,)).write(tmp_path / "labels.json")
        assert labels_by_name(load_photos(packed, tmp_path / "labels.json"))["dog/4.png"] == "cat"
        other = dataclasses.replace(change, sha256="0" * 64)
        LabelPatch(source="photos", split="test", changes=(other,)).write(tmp_path / "labels.json")
        with pytest.raises(DataError, match="its content is another"):
            load_photos(packed, tmp_path / "labels.json")

    def test_images_that_are_no_files_are_known_by_row_and_split(self, tmp_path: Path) -> None:
        WRITERS["cifar10"](tmp_path)
        settings = DataSettings(source="cifar10", root=str(tmp_path), validation=0.5)
        before = load(settings)
        part = before.validation
        row, given = int(part.index[3]), part.classes[part.labels[3]]
        proposed = next(name for name in part.classes if name != given)
        made = LabelPatch.of(part, {row: proposed})
        assert (made.changes[0].file, made.changes[0].sha256) == (None, None)
        made.write(tmp_path / "labels.json")
        after = load(dataclasses.replace(settings, label_patches=(str(tmp_path / "labels.json"),)))
        assert after.validation.classes[after.validation.labels[3]] == proposed
        # The training and test images of CIFAR-10 have rows of their own.
        assert np.array_equal(after.test.labels, before.test.labels)
        assert np.array_equal(after.train.labels, before.train.labels)
        assert after.test.store is not after.train.store is after.validation.store

    @pytest.mark.parametrize(
        ("made", "message"),
        [
            (patch(("cat/1.png", "dog", "owl")), "its label is 'cat' and not 'dog'"),
            (patch(("cat/99.png", "cat", "owl")), "photos has no such image"),
            (patch(("cat/1.png", "cat", "wol")), "names the class 'wol'"),
            (patch((None, "cat", "dog"), source="pets"), "is for 'pets' and not for 'photos'"),
            (
                LabelPatch(source="photos", split="test", changes=(Change(index=999, given="cat", proposed="dog"),)),
                "photos has only 30 images there",
            ),
        ],
    )
    def test_what_does_not_fit_is_refused(self, photos: Path, made: LabelPatch, message: str) -> None:
        with pytest.raises(DataError, match=message):
            made.applied(load_photos(photos))

    def test_a_row_of_another_name_is_refused(self, shades: Splits) -> None:
        change = Change(index=4, file="test/5.png", given="grey", proposed="dark")
        with pytest.raises(DataError, match=r"in shades this row is test/4\.png"):
            LabelPatch(source="shades", split="test", changes=(change,)).applied(shades)

    def test_a_patch_of_what_is_not_there_cannot_be_made(self, shades: Splits) -> None:
        with pytest.raises(DataError, match="names the class 'drak'") as caught:
            LabelPatch.of(shades.test, {4: "drak"})
        assert caught.value.remedy == "Did you mean 'dark'?"
        with pytest.raises(DataError, match="source image 400 is not in"):
            LabelPatch.of(shades.test, {400: "dark"})
        with pytest.raises(DataError, match="the class that it has"):
            LabelPatch.of(shades.test, {3: "dark"})
        with pytest.raises(DataError, match="'extra' is no split"):
            LabelPatch.of(dataclasses.replace(shades.test, split="extra"), {4: "dark"})

    @pytest.mark.parametrize("name", ["labels.json", "a b, [c] 'd' \\e=f.json", "\\'x\\\\'", "end\\"])
    def test_the_override_is_read_back_as_the_same_path(self, tmp_path: Path, name: str) -> None:
        chosen = recipe("digits/mlp", [override([tmp_path / name, tmp_path / "other.json"])])
        assert chosen.data.label_patches == (str(tmp_path / name), str(tmp_path / "other.json"))

    def test_a_located_choice_has_absolute_patches(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        settings = located(DataSettings(source="digits", label_patches=("a.json", str(tmp_path / "b.json"))))
        assert settings.label_patches == (str(tmp_path / "a.json"), str(tmp_path / "b.json"))


MOVES = patch(("cat/1.png", "cat", "dog"), ("owl/barn/3.png", "owl", "cat"), ("dog/1.png", "dog", "owl"))
MOVED = {"cat/1.png": "dog/1-2.png", "owl/barn/3.png": "cat/barn/3.png", "dog/1.png": "owl/1.png"}


class TestMoving:
    def test_files_go_to_their_class_and_back(self, photos: Path) -> None:
        before = tree(photos)
        # owl/1.png lies in owl/barn, so the dog finds its name free; dog/1.png is taken while the cat is planned.
        assert move(photos, MOVES) == 3
        expected = {MOVED.get(name, name): content for name, content in before.items()}
        assert tree(photos) == expected | {"cat/barn": "folder"}
        assert sorted(set(labels_by_name(load_photos(photos)).values())) == ["cat", "dog", "owl"]
        assert move(photos, MOVES) == 0
        assert move_back(photos, MOVES) == 3
        assert tree(photos) == before
        assert not list(photos.glob(".eyebright*"))
        with pytest.raises(DataError, match="keeps no journal"):
            move_back(photos, MOVES)

    def test_moving_gives_the_labels_that_loading_gives(self, photos: Path, tmp_path: Path) -> None:
        one = patch(("cat/2.png", "cat", "dog"))
        one.write(tmp_path / "labels.json")
        corrected = labels_by_name(load_photos(photos, tmp_path / "labels.json"))
        pixels = {tuple(image[0, 0]): name for name, image in _images(load_photos(photos)).items()}
        move(photos, one)
        moved = load_photos(photos)
        for name, image in _images(moved).items():
            assert labels_by_name(moved)[name] == corrected[pixels[tuple(image[0, 0])]]

    @pytest.mark.parametrize("crash", range(4))
    @pytest.mark.parametrize("finish", [move, move_back])
    def test_after_a_crash_either_command_finishes(
        self, photos: Path, monkeypatch: pytest.MonkeyPatch, crash: int, finish: Callable[[Path, LabelPatch], int]
    ) -> None:
        whole = shutil.copytree(photos, photos.parent / "whole" / "photos")
        move(whole, MOVES)
        before = tree(photos)
        with monkeypatch.context() as patched:
            patched.setattr(Path, "rename", _crashing(crash))
            with pytest.raises(KeyboardInterrupt) if crash < 3 else contextlib.nullcontext():
                move(photos, MOVES)
        assert len(tree(photos)) >= len(before)  # no file is lost at any moment
        finish(photos, MOVES)
        assert tree(photos) == (tree(whole) if finish is move else before)

    def test_a_crash_while_taking_back_is_finished_too(self, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        before = tree(photos)
        move(photos, MOVES)
        with monkeypatch.context() as patched:
            patched.setattr(Path, "rename", _crashing(1))
            with pytest.raises(KeyboardInterrupt):
                move_back(photos, MOVES)
        assert move_back(photos, MOVES) == 2
        assert tree(photos) == before

    def test_splits_and_wrappers_stay(self, tmp_path: Path) -> None:
        folder = tmp_path / "photos"
        for split in ("train", "test"):
            for name in ("cat", "dog"):
                (folder / "all" / split / name / "cat").mkdir(parents=True)
                Image.new("L", (4, 4)).save(folder / "all" / split / name / "cat" / "1.png")
        move(folder, patch(("all/test/cat/cat/1.png", "cat", "dog")))
        assert (folder / "all" / "test" / "dog" / "cat" / "1-2.png").is_file()
        assert (folder / "all" / "train" / "cat" / "cat" / "1.png").is_file()

    @pytest.mark.parametrize(
        ("made", "message"),
        [
            (patch(("cat/77.png", "cat", "dog")), "it is not in"),
            (patch(("cat/1.png", "dog", "owl")), "it is in no folder 'dog'"),
            (patch(("cat/1.png", "cat", "fox")), "that has a folder 'fox' beside it"),
            (patch((None, "cat", "dog")), "names no file for source image 0"),
            (patch(("cat/1.png", "cat", "dog"), source="pets"), "is for 'pets' and not for 'photos'"),
            (patch(("cat/../../secret.png", "cat", "dog")), "is no plain path inside"),
            (patch(("../secret.png", "cat", "dog")), "is no plain path inside"),
            (patch(("cat\\1.png", "cat", "dog")), "is no plain path inside"),
            (patch(("cat/1.png", "cat", "../..")), "is no plain path inside"),
            (patch(("outside/secret.png", "outside", "dog")), "is no plain path inside"),
            (patch(("", "cat", "dog")), "is no plain path inside"),
            (patch(("cat//1.png", "cat", "dog")), "is no plain path inside"),
            (patch(("cat/1.png", "cat", "")), "is no plain path inside"),
            (patch(("cat/1.png", "cat", "linked")), "is no plain path inside"),
        ],
    )
    def test_what_does_not_fit_moves_nothing(self, photos: Path, made: LabelPatch, message: str) -> None:
        Image.new("L", (4, 4)).save(photos.parent / "secret.png")
        (photos / "outside").symlink_to(photos.parent)
        (photos / "linked").symlink_to(photos.parent)
        before = tree(photos.parent)
        both = dataclasses.replace(made, changes=(*patch(("cat/5.png", "cat", "dog")).changes, *made.changes))
        with pytest.raises(DataError, match=message):
            move(photos, both)
        assert tree(photos.parent) == before
        assert not list(photos.glob(".eyebright*"))

    def test_an_absolute_path_is_refused(self, photos: Path) -> None:
        secret = photos.parent / "cat" / "secret.png"
        secret.parent.mkdir()
        secret.write_bytes(b"secret")
        with pytest.raises(DataError, match="is no plain path inside"):
            move(photos, patch((str(secret), "cat", "dog")))

    def test_changed_content_is_refused(self, photos: Path) -> None:
        content = hashlib.sha256((photos / "cat" / "1.png").read_bytes()).hexdigest()
        change = Change(index=1, file="cat/1.png", given="cat", proposed="dog", sha256=content)
        made = LabelPatch(source="photos", split="test", changes=(change,))
        (photos / "cat" / "1.png").write_bytes(b"another picture")
        with pytest.raises(DataError, match="its content is another"):
            move(photos, made)
        assert (photos / "cat" / "1.png").is_file()

    def test_content_that_changed_after_moving_is_not_taken_back(self, photos: Path) -> None:
        move(photos, MOVES)
        (photos / "owl" / "1.png").write_bytes(b"another picture")
        moved = tree(photos)
        with pytest.raises(DataError, match="has been changed since"):
            move_back(photos, MOVES)
        assert tree(photos) == moved

    def test_later_patches_are_taken_back_first(self, photos: Path) -> None:
        before = tree(photos)
        later = patch(("dog/1-2.png", "dog", "owl"))
        move(photos, MOVES)
        move(photos, later)
        with pytest.raises(DataError, match="neither is there") as caught:
            move_back(photos, MOVES)
        assert "Take later patches back first" in caught.value.remedy
        move_back(photos, later)
        move_back(photos, MOVES)
        assert tree(photos) == before

    def test_a_new_file_in_the_old_place_is_not_overwritten(self, photos: Path) -> None:
        move(photos, MOVES)
        (photos / "cat" / "1.png").write_bytes(b"new")
        with pytest.raises(DataError, match="both are there"):
            move_back(photos, MOVES)
        assert (photos / "cat" / "1.png").read_bytes() == b"new"

    def test_a_folder_that_others_use_by_now_stays(self, photos: Path) -> None:
        move(photos, MOVES)
        (photos / "cat" / "barn" / "mine.txt").write_text("mine")
        move_back(photos, MOVES)
        assert (photos / "cat" / "barn" / "mine.txt").read_text() == "mine"

    def test_a_strangers_journal_reaches_nothing_outside(self, photos: Path) -> None:
        (photos.parent / "secret.png").write_bytes(b"secret")
        content = hashlib.sha256(b"secret").hexdigest()
        moves = [{"before": "cat/new.png", "after": "../secret.png", "sha256": content}]
        journal = {"eyebright_label_journal": 1, "moves": moves, "made": []}
        (photos / f".eyebright-labels-{MOVES.digest}.json").write_text(json.dumps(journal))
        with pytest.raises(DataError, match="is no plain path inside"):
            move_back(photos, MOVES)
        assert (photos.parent / "secret.png").is_file()

    def test_a_strangers_journal_removes_nothing_outside(self, photos: Path) -> None:
        (photos.parent / "empty").mkdir()
        journal = {"eyebright_label_journal": 1, "moves": [], "made": ["../empty"]}
        (photos / f".eyebright-labels-{MOVES.digest}.json").write_text(json.dumps(journal))
        with pytest.raises(DataError, match="is no plain path inside"):
            move_back(photos, MOVES)
        assert (photos.parent / "empty").is_dir()

    def test_a_damaged_journal_is_named(self, photos: Path) -> None:
        (photos / f".eyebright-labels-{MOVES.digest}.json").write_text("{")
        with pytest.raises(DataError, match=r"\.eyebright-labels-.* cannot be used"):
            move(photos, MOVES)

    def test_a_full_disk_is_an_error_after_which_it_goes_on(
        self, photos: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(self: Path, target: Path) -> Path:
            raise OSError(errno.ENOSPC, "No space left on device", str(target))

        with monkeypatch.context() as patched:
            patched.setattr(Path, "rename", full)
            with pytest.raises(StorageError, match="the disk is full"):
                move(photos, MOVES)
        assert move(photos, MOVES) == 3


def test_only_folders_of_ones_own_are_moved_in(photos: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.write(photos / "cat" / "1.png", "cat/1.png")
    assert own_folder(str(photos)) == photos
    assert own_folder(str(tmp_path / "photos.zip")) is None
    assert own_folder("cifar10") is None
    with pytest.raises(DataError):
        own_folder("no-such-set")


def _images(splits: Splits) -> dict[str, Any]:
    return {name: image for part in splits for name, image in zip(part.names, part.images, strict=True)}


def _crashing(after: int) -> Callable[[Path, Path], Path]:
    """`Path.rename` that is interrupted after so many calls, as by a kill."""
    rename, calls = Path.rename, iter(range(100))

    def crashing(self: Path, target: Path) -> Path:
        if next(calls) >= after:
            raise KeyboardInterrupt
        return rename(self, target)

    return crashing
