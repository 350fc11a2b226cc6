"""The same picture twice: planted copies are found, other pictures are not."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageEnhance

from eyebright.core.settings.data import DataSettings
from eyebright.data.copies import without_copies
from eyebright.data.image_set import ImageSet, ImageStore, Splits
from eyebright.data.load import load
from eyebright.data.near_copies import find_copies

Change = Callable[[Image.Image], Image.Image]


SIDE, SCENE = 48, 54  # pixels


def picture(seed: int, left: int = 3, top: int = 3) -> Image.Image:
    """A window of a scene: patches of colour, and small structure on them, as photos have."""
    return scene(seed).crop((left, top, left + SIDE, top + SIDE))


def scene(seed: int, size: int = SCENE) -> Image.Image:
    random = np.random.default_rng(seed)
    layers = np.zeros((size, size, 3))
    for cells, strength in ((3, 90), (8, 40), (24, 15), (54, 5)):
        coarse = random.normal(0, strength, (cells, cells, 3)).astype(np.float32)
        for channel in range(3):
            layers[..., channel] += np.asarray(Image.fromarray(coarse[..., channel]).resize((size, size), 2))
    return Image.fromarray(np.clip(128 + layers, 0, 255).astype(np.uint8))


def image_set(pictures: list[Image.Image], split: str, labels: list[int] | None = None) -> ImageSet:
    pixels = np.stack([np.asarray(each) for each in pictures])
    given = np.array([number % 2 for number in range(len(pictures))] if labels is None else labels, np.int64)
    store = ImageStore(pixels, given, [str(number) for number in range(len(pictures))], ("a", "b"), "pictures")
    return ImageSet(store, np.arange(len(pictures)), split)


def three(train: list[Image.Image], test: list[Image.Image], labels: list[int] | None = None) -> Splits:
    train_set = image_set(train, "train")
    return Splits(
        train_set, dataclasses.replace(train_set.take([]), split="validation"), image_set(test, "test", labels)
    )


def recompressed(image: Image.Image) -> Image.Image:
    content = io.BytesIO()
    image.save(content, "JPEG", quality=40)
    return Image.open(content).convert("RGB")


def captioned(image: Image.Image) -> Image.Image:
    changed = image.copy()
    ImageDraw.Draw(changed).rectangle((2, 40, 30, 45), fill="white")
    return changed


CHANGES: dict[str, Change] = {
    "recompressed": recompressed,
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.3),
    "less contrast": lambda image: ImageEnhance.Contrast(image).enhance(0.6),
    "tinted": lambda image: Image.merge(
        "RGB", [band.point(lambda v, k=k: int(v * k)) for band, k in zip(image.split(), (1, 0.8, 0.7), strict=True)]
    ),
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "captioned": captioned,
    "smaller and back": lambda image: image.resize((36, 36), 2).resize(image.size, 2),
}


@pytest.mark.parametrize("change", [*CHANGES, "shifted"])
def test_a_changed_copy_is_found_and_nothing_else(change: str) -> None:
    train = [picture(seed) for seed in range(60)]
    copy = picture(17, left=5, top=2) if change == "shifted" else CHANGES[change](train[17])
    splits = three(train, [copy, *(picture(seed) for seed in range(100, 130))], [0] * 31)
    found = find_copies(splits)
    assert [(pair.of_split, pair.of_row, pair.split, pair.row) for pair in found.pairs] == [("train", 17, "test", 0)]
    (pair,) = found.pairs
    assert not pair.identical
    assert pair.mirrored == (change == "mirrored")
    assert (pair.of_label, pair.label, pair.relabelled) == ("b", "a", True)
    assert found.shared("train", "test").tolist() == [True] + [False] * 30
    assert found.shared("test", "train").sum() == 1


def test_the_same_pixels_are_certain() -> None:
    train = [picture(seed) for seed in range(20)]
    found = find_copies(three([*train, train[3]], [train[5]], [1]))
    assert {(pair.split, pair.row, pair.of_row, pair.identical) for pair in found.pairs} == {
        ("train", 20, 3, True),
        ("test", 0, 5, True),
    }
    assert found.groups["train"][3] == found.groups["train"][20]
    assert len(found) == 2
    assert str(found) == "Copies(22 images, 20 pictures; 0 blank)"


def test_copies_of_a_copy_are_one_picture() -> None:
    """More copies than an image is compared with: they are joined through each other."""
    many = [picture(0, left, top) for left in (2, 3, 4) for top in (2, 3, 4)]
    found = find_copies(three([picture(seed) for seed in range(1, 40)] + many, [recompressed(picture(0))], [0]))
    assert len(set(found.groups["train"][39:].tolist()) | set(found.groups["test"].tolist())) == 1
    assert len(set(found.groups["train"][:39].tolist())) == 39


def test_blank_images_are_named_and_no_copies_of_others() -> None:
    blank = [Image.new("RGB", (48, 48), colour) for colour in ("black", "white", "black")]
    found = find_copies(three([picture(seed) for seed in range(20)] + blank, [picture(50)], [0]))
    assert found.blank == (("train", 20), ("train", 21), ("train", 22))
    assert [(pair.of_row, pair.row) for pair in found.pairs] == [(20, 22)]


def test_images_that_resemble_one_another_are_not_called_copies() -> None:
    """One drawing with a little noise: unrelated images agree in all but the noise."""
    random = np.random.default_rng(0)
    drawing = np.asarray(picture(0), np.int64)
    noisy = [
        Image.fromarray(np.clip(drawing + random.normal(0, 8, drawing.shape), 0, 255).astype(np.uint8))
        for _ in range(40)
    ]
    found = find_copies(three(noisy, [noisy[7]], [0]))
    assert not found.tells_near
    assert [(pair.of_row, pair.identical) for pair in found.pairs] == [(7, True)]
    assert "near ones cannot be told" in str(found)


@pytest.mark.parametrize("shape", [(1, 1), (8, 8), (33, 70)])
def test_any_size_and_grey(shape: tuple[int, int]) -> None:
    random = np.random.default_rng(0)
    pixels: NDArray[np.uint8] = random.integers(0, 256, (6, *shape, 1), dtype=np.uint8)
    store = ImageStore(pixels, np.array([0, 1] * 3), list("abcdef"), ("a", "b"), "noise")
    whole = ImageSet(store, np.arange(6), "train")
    found = find_copies(Splits(whole, whole.take([]), whole.take([2])))
    assert [(pair.of_row, pair.row) for pair in found.pairs if pair.split == "test"] == [(2, 2)]


def test_a_single_image_and_progress() -> None:
    told: list[tuple[str, int, int]] = []
    found = find_copies(three([picture(0)], [picture(1)], [0]), progress=lambda *what: told.append(what))
    assert len(found) == 0
    assert told[-1] == ("compare", 2, 2)


def test_near_copies_are_left_out_of_training() -> None:
    train = [picture(seed) for seed in range(30)]
    splits = three(train, [picture(4, left=4, top=2), train[9], picture(90)], [0, 1, 0])
    assert len(without_copies(splits).train) == 29
    cleaned = without_copies(splits, near=True)
    assert cleaned.train.index.tolist() == [row for row in range(30) if row not in {4, 9}]
    assert len(cleaned.test) == 3


def test_loading_leaves_near_copies_out(tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.mktemp("photos")
    for label, name in enumerate(("cat", "dog")):
        for split in ("train", "test"):
            (root / split / name).mkdir(parents=True)
        for number in range(12):
            picture(100 * label + number).save(root / "train" / name / f"{number}.png")
        recompressed(picture(100 * label)).save(root / "test" / name / "0.png")
    settings = DataSettings(source=str(root), validation=0)
    assert len(load(dataclasses.replace(settings, leave_out_copies=True)).train) == 24
    cleaned = load(dataclasses.replace(settings, leave_out_copies="near")).train
    assert sorted(name.split("/")[-1] for name in cleaned.names) == sorted(
        2 * [f"{number}.png" for number in range(1, 12)]
    )
