"""Emotions: five classes of FER-2013, placed by hand."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from eyebright.core.errors import DataError
from eyebright.core.settings.data import DataSettings
from eyebright.data.decode import decode, fit
from eyebright.data.image_files import open_files
from eyebright.data.sources.emotions import EmotionsSource
from tests.data.pictures import picture, png, write_tree, write_zip

FIVE = ("angry", "fear", "happy", "sad", "surprise")
SEVEN = (*FIVE, "disgust", "neutral")
FILES: dict[str, bytes | None] = {
    f"{split}/{name}/{number}.png": png(picture(number, 48, 48, channels=1))
    for split in ("train", "validation", "test")
    for name in SEVEN
    for number in range(2)
}
SETTINGS = DataSettings(source="emotions")


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_five_of_seven_classes_at_64_pixels(tmp_path: Path, kind: str) -> None:
    if kind == "zip":
        write_zip(tmp_path / "emotions.zip", FILES)
    else:
        write_tree(tmp_path / "emotions", FILES)
    parts = EmotionsSource().read(SETTINGS, tmp_path, None)
    assert list(parts) == ["train", "validation", "test"]
    for part in parts.values():
        assert part.classes == FIVE
        assert part.shape == (64, 64, 1)
        assert part.labels.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
        assert part.store.source == "emotions"
    assert np.array_equal(parts["test"].images[1], fit(picture(1, 48, 48, channels=1), 64, 64))


def test_settings_choose_classes_and_size(tmp_path: Path) -> None:
    write_zip(tmp_path / "emotions.zip", FILES)
    settings = DataSettings(source="emotions", classes=("sad", "happy"), size=48, channels=3)
    train = EmotionsSource().read(settings, tmp_path, None)["train"]
    assert train.classes == ("sad", "happy")
    assert train.shape == (48, 48, 3)


def test_a_class_that_is_none_of_the_five(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Emotions has no class 'hapy'") as caught:
        EmotionsSource().read(DataSettings(source="emotions", classes=("hapy", "sad")), tmp_path, None)
    assert caught.value.remedy == "Did you mean 'happy'?"


def test_a_missing_set_says_where_to_place_it(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        EmotionsSource().read(SETTINGS, tmp_path, None)
    assert f"is not in {tmp_path}" in caught.value.cause
    assert str(tmp_path / "emotions.zip") in caught.value.remedy
    assert "train/CLASS/" in caught.value.remedy


def test_the_real_zip(emotions_zip: Path, tmp_path: Path) -> None:
    """Lists all 35,887 files; decodes some of each class and split."""
    files = open_files(emotions_zip)
    assert len(files.names) == 35_887
    per_class: dict[str, list[str]] = {}
    for name in files.names:
        per_class.setdefault(name.rpartition("/")[0], []).append(name)
    assert len(per_class) == 3 * 7
    sample = {name: files.read(name) for names in per_class.values() for name in names[:5]}
    write_zip(tmp_path / "emotions.zip", sample, zipfile.ZIP_STORED)
    parts = EmotionsSource().read(SETTINGS, tmp_path, None)
    assert {split: len(part) for split, part in parts.items()} == {"train": 25, "validation": 25, "test": 25}
    for part in parts.values():
        expected = [fit(decode(sample[name], channels=1), 64, 64) for name in part.names]
        assert np.array_equal(part.images, np.stack(expected))
        assert np.bincount(part.labels).tolist() == [5] * 5
