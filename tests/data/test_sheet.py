"""Contact sheets: the pictures are where they should be, pixel for pixel."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFont

from eyebright.core.errors import DataError
from eyebright.core.settings.augment import AugmentSettings
from eyebright.data import augment as augmentation
from eyebright.data import sheet as module
from eyebright.data.image_set import ImageSet, ImageStore
from eyebright.data.sheet import augmentation_sheet, sheet


def image_set(number: int = 5, height: int = 8, width: int = 8, channels: int = 3) -> ImageSet:
    pixels = np.random.default_rng(0).integers(0, 256, (number, height, width, channels), dtype=np.uint8)
    names = [f"{row}.png" for row in range(number)]
    store = ImageStore(pixels, np.arange(number) % 3, names, ("cat", "dog", "a very long class name indeed"), "zoo")
    return ImageSet(store, np.arange(number), "train")


def enlarged(image: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    return np.kron(image, np.ones((factor, factor, 1), dtype=np.uint8))


def find(page: Image.Image, image: NDArray[np.uint8]) -> list[tuple[int, int]]:
    """Where (top, left) an image (h, w, 3) is on the page."""
    pixels = np.asarray(page)
    height, width = image.shape[:2]
    corners = np.argwhere((pixels == image[0, 0]).all(axis=2)).tolist()
    return [(y, x) for y, x in corners if np.array_equal(pixels[y : y + height, x : x + width], image)]


def test_each_image_is_drawn_once_enlarged_pixel_by_pixel() -> None:
    images = image_set(5)
    page = sheet(images, columns=3, edge=20)  # 8 pixels: twice
    places = [find(page, enlarged(image, 2)) for image in images.images]
    assert all(len(place) == 1 for place in places)
    tops, lefts = zip(*(place[0] for place in places), strict=True)
    assert tops[0] == tops[1] == tops[2] < tops[3] == tops[4]
    assert lefts[0] == lefts[3] < lefts[1] == lefts[4] < lefts[2]
    assert page.mode == "RGB"


def test_grey_images_are_drawn_grey() -> None:
    images = image_set(2, channels=1)
    page = sheet(images, edge=16)
    assert all(len(find(page, enlarged(image.repeat(3, axis=2), 2))) == 1 for image in images.images)


@pytest.mark.parametrize("size", [(1, 9), (9, 1), (1, 1)])
@pytest.mark.parametrize("channels", [1, 3])
def test_thin_images_are_drawn(size: tuple[int, int], channels: int) -> None:
    images = image_set(1, *size, channels=channels)
    assert find(sheet(images, edge=9), enlarged(np.broadcast_to(images.images[0], (*size, 3)), 9 // max(size)))


def test_large_images_are_shrunk() -> None:
    page = sheet(image_set(2, 300, 150), edge=100)
    assert page.width == 2 * (50 + 6) + 6  # two pictures of 50 pixels, gaps of 6
    assert page.height < 160


def test_captions_are_drawn_below_each_picture() -> None:
    images = image_set(1)
    page = sheet(images, edge=64)
    ((top, left),) = find(page, enlarged(images.images[0], 8))
    below = np.asarray(page)[top + 64 :, left : left + 64]
    assert (below != below[-1, -1]).any()


def test_captions_are_cut_to_the_width() -> None:
    font = ImageFont.load_default(13)
    cut = module._shortened("a very long class name indeed", font, 64)
    assert cut.endswith("…")
    assert "a very long class name indeed".startswith(cut[:-1])
    assert 40 < font.getlength(cut) <= 64
    assert module._shortened("cat", font, 64) == "cat"
    assert module._shortened("cat", font, 1) == "…"


def test_augmented_versions_stand_in_the_row_of_their_original() -> None:
    images = image_set(3)
    settings = AugmentSettings(crop=2, brightness=0.5)
    page = sheet(images, augment=settings, columns=4, edge=16, seed=7)
    batch = torch.from_numpy(images.images).permute(0, 3, 1, 2)
    for row, image in enumerate(images.images):
        ((top, left),) = find(page, enlarged(image, 2))
        for number in range(3):
            versions, _ = augmentation.augment(
                batch, torch.from_numpy(images.labels), settings, classes=3, place=(7, 0, number)
            )
            (place,) = find(page, enlarged(versions[row].permute(1, 2, 0).numpy(), 2))
            assert place == (top, left + (number + 1) * (16 + 6))


def test_the_augmentation_sheet_has_a_row_for_each_operation_and_one_for_all() -> None:
    images = image_set(4)
    settings = AugmentSettings(shift=0.25, contrast=0.5, cutout=3, cutmix=1.0)
    page = augmentation_sheet(images, settings, edge=16)
    batch, labels = torch.from_numpy(images.images).permute(0, 3, 1, 2), torch.from_numpy(images.labels)
    singles: list[dict[str, Any]] = [{"shift": 0.25}, {"contrast": 0.5}, {"cutout": 3}, {"cutmix": 1.0}]
    tops, lefts = zip(*(find(page, enlarged(image, 2))[0] for image in images.images), strict=True)
    assert len(set(tops)) == 1
    previous = tops[0]
    for chosen in [*(AugmentSettings(**values) for values in singles), settings]:
        out, _ = augmentation.augment(batch, labels, chosen, classes=3, place=(0, 0, 0))
        places = [find(page, enlarged(image.permute(1, 2, 0).numpy(), 2)) for image in out]
        rows = {place[-1][0] for place in places}
        assert [place[-1][1] for place in places] == list(lefts)
        assert len(rows) == 1
        assert previous < min(rows)
        previous = min(rows)


def test_one_operation_needs_no_row_for_all() -> None:
    one = augmentation_sheet(image_set(2), AugmentSettings(flip=True), edge=16)
    two = augmentation_sheet(image_set(2), AugmentSettings(flip=True, cutout=2), edge=16)
    assert two.height - one.height == 2 * (16 + 6)  # cutout, and all of them


def test_labels_name_the_operation_and_its_value() -> None:
    assert module._values(AugmentSettings(flip=True, crop=4, hue=0.05)) == "flip, crop=4, hue=0.05"
    piped = AugmentSettings(pipeline=({"_target_": "albumentations.HorizontalFlip"},), flip="alternating")
    assert module._values(piped) == "pipeline, flip=alternating"


def test_mixed_labels_are_given_as_shares() -> None:
    shares = np.array([0.25, 0.0, 0.747, 0.003], dtype=np.float32)
    assert module._mixture(shares, ("cat", "dog", "frog", "ship")) == "75% frog\n25% cat"


def test_mixup_is_drawn_with_its_captions() -> None:
    plain = sheet(image_set(4), augment=AugmentSettings(flip=True), edge=64)
    mixed = sheet(image_set(4), augment=AugmentSettings(mixup=1.0), edge=64)
    assert mixed.width == plain.width
    assert mixed.height > plain.height  # captions of two lines


@pytest.mark.parametrize(("number", "complaint"), [(0, "no image to draw"), (1001, "too many images")])
def test_a_sheet_of_none_or_of_too_many_is_refused(number: int, complaint: str) -> None:
    images = image_set(1)
    images = images.take([0] * number)
    with pytest.raises(DataError, match=complaint):
        sheet(images)
    with pytest.raises(DataError, match=complaint):
        augmentation_sheet(images, AugmentSettings(flip=True))
