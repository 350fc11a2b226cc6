from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from eyebright.reporting.pictures import SHEET_EDGE, Sprite, picture, sprite

from .conftest import small_images


def opened(uri: str) -> NDArray[np.uint8]:
    """(H, W, 3) of a data URI."""
    head, _, body = uri.partition(",")
    assert head == "data:image/webp;base64"
    with Image.open(io.BytesIO(base64.b64decode(body))) as image:
        return np.asarray(image.convert("RGB"))


def tile(laid: Sprite, number: int) -> NDArray[np.uint8]:
    """An image of a sprite, found as the page's script finds it."""
    place = number % laid.per_sheet
    x, y = place % laid.columns * laid.width, place // laid.columns * laid.height
    return opened(laid.sheets[number // laid.per_sheet])[y : y + laid.height, x : x + laid.width]


@pytest.mark.parametrize(("n", "channels"), [(1, 3), (7, 3), (7, 1)])
def test_small_sprites_lose_nothing(n: int, channels: int) -> None:
    images = small_images(n, edge=5, channels=channels)[:, :4]  # (n, 4, 5, channels): not square
    laid = sprite(images)
    assert (laid.height, laid.width) == (4, 5)
    for number in range(n):
        assert (tile(laid, number) == images[number]).all()  # grey broadcasts over the three channels


def test_many_images_take_several_sheets_that_browsers_can_decode() -> None:
    shades = np.linspace(0, 255, 300).astype(np.uint8)
    images = np.broadcast_to(shades[:, None, None, None], (300, 200, 160, 3))
    laid = sprite(images)
    assert len(laid.sheets) == -(-300 // laid.per_sheet) > 1
    for number in (0, laid.per_sheet - 1, laid.per_sheet, 299):
        assert np.abs(tile(laid, number).astype(int) - shades[number]).max() <= 4
    assert max(opened(laid.sheets[0]).shape) <= SHEET_EDGE


def test_what_is_too_large_is_encoded_more_coarsely() -> None:
    images = small_images(150, edge=64)
    fine, coarse = sprite(images), sprite(images, largest=200_000)
    sizes = [sum(map(len, laid.sheets)) for laid in (fine, coarse)]
    assert sizes[1] < 0.7 * sizes[0]


def test_a_picture_is_exact() -> None:
    image = small_images(1, edge=9)[0]
    assert (opened(picture(image)) == image).all()
