"""Images that several splits hold, and splits without them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eyebright.core.errors import DataError
from eyebright.core.settings.data import DataSettings
from eyebright.data.copies import digests, without_copies
from eyebright.data.image_set import ImageSet, ImageStore, Splits
from eyebright.data.load import load


def greys(values: list[int], split: str, labels: list[int] | None = None) -> ImageSet:
    pixels = np.broadcast_to(np.array(values, np.uint8)[:, None, None, None], (len(values), 4, 4, 3)).copy()
    given = np.array(labels if labels is not None else [number % 2 for number in range(len(values))], np.int64)
    store = ImageStore(pixels, given, [str(value) for value in values], ("a", "b"), "greys")
    return ImageSet(store, np.arange(len(values)), split)


def test_digests_are_of_the_pixels_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    first = digests(greys([1, 2, 1, 3], "train"))
    assert (first[0], first[1]) == (first[2], digests(greys([2], "test", [1]))[0])
    assert len(set(first.tolist())) == 3
    assert all(len(digest) == 16 for digest in first.tolist())
    assert digests(greys([1], "train").take([])).tolist() == []
    monkeypatch.setattr("eyebright.data.copies._CHUNK_BYTES", 50)  # an image at a time
    assert digests(greys([1, 2, 1, 3], "train")).tolist() == first.tolist()


def test_earlier_splits_give_way_to_later_ones() -> None:
    splits = Splits(greys([1, 2, 3, 4, 2, 5, 6], "train"), greys([3, 7, 8, 9], "validation"), greys([2, 7, 10], "test"))
    cleaned = without_copies(splits)
    assert [part.names for part in cleaned] == [["1", "4", "5", "6"], ["3", "8", "9"], ["2", "7", "10"]]
    assert cleaned.train.index.tolist() == [0, 3, 5, 6]  # rows of the source stay
    again = without_copies(cleaned)
    assert [part.index.tolist() for part in again] == [part.index.tolist() for part in cleaned]


def test_splits_without_copies_stay_the_very_same(shades: Splits) -> None:
    cleaned = without_copies(shades)
    assert all(one is other for one, other in zip(cleaned, shades, strict=True))


def test_a_class_of_nothing_but_copies_is_refused() -> None:
    splits = Splits(greys([1, 2, 3, 2], "train"), greys([8, 9], "validation"), greys([2], "test"))
    with pytest.raises(DataError, match="every image of 'b' in train is a copy"):
        without_copies(splits)


def test_split_names_are_kept(shades: Splits) -> None:
    leaky = dataclasses.replace(shades, test=dataclasses.replace(shades.train.take(range(20)), split="test"))
    cleaned = without_copies(leaky)
    assert [part.split for part in cleaned] == ["train", "validation", "test"]
    assert [len(part) for part in cleaned] == [110, 30, 20]


def test_loading_leaves_them_out_where_that_is_asked_for(tmp_path: Path) -> None:
    for split, first in (("train", 0), ("test", 6)):
        for label, name in enumerate(("cat", "dog")):
            (tmp_path / "photos" / split / name).mkdir(parents=True)
            for number in range(first, first + 8):
                colour = (100 * label, 15 * number, 0)
                Image.new("RGB", (4, 4), colour).save(tmp_path / "photos" / split / name / f"{number}.png")
    settings = DataSettings(source=str(tmp_path / "photos"), validation=0)
    assert [len(part) for part in load(settings)] == [16, 0, 16]
    cleaned = load(dataclasses.replace(settings, leave_out_copies=True))
    assert [len(part) for part in cleaned] == [12, 0, 16]
    assert {name.split("/")[-1] for name in cleaned.train.names} == {f"{number}.png" for number in range(6)}
