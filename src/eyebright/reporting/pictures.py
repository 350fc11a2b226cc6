"""Many small images as few large ones, inside the page: sprites."""

from __future__ import annotations

import base64
import dataclasses
import io
import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SHEET_EDGE = 2048  # pixels: every browser decodes a picture of this size, those of phones too
LARGEST_SPRITE = 6_500_000  # bytes: two of them, as text, stay below 15 MB together with the rest of a page
_QUALITIES = (85, 75, 60, 45, 30)  # of WebP, tried in turn until the sprite is small enough
# Pixels below which nothing need be lost. Lossy WebP halves the resolution of colour, which shows in 8x8 images.
_LOSSLESS_PIXELS = 400_000


@dataclasses.dataclass(frozen=True)
class Sprite:
    """Images of one size on a few sheets, row by row: image i is tile i modulo `per_sheet` of sheet i // `per_sheet`.

    Attributes
    ----------
    width, height : of an image, pixels.
    columns : images in a row of a sheet.
    per_sheet : images on a sheet; the last one may hold fewer.
    sheets : the sheets as data URIs, WebP.
    """

    width: int
    height: int
    columns: int
    per_sheet: int
    sheets: tuple[str, ...]


def sprite(images: NDArray[np.uint8], *, largest: int = LARGEST_SPRITE) -> Sprite:
    """Lay images (N, H, W, C) uint8, C 1 or 3, on sheets of about `largest` bytes in all."""
    n, height, width, _ = images.shape
    columns = max(1, min(SHEET_EDGE // width, math.ceil(math.sqrt(n))))
    per_sheet = columns * max(1, SHEET_EDGE // height)
    sheets = [_sheet(images[first : first + per_sheet], columns) for first in range(0, n, per_sheet)]
    return Sprite(width, height, columns, per_sheet, tuple(map(_uri, _encoded(sheets, largest))))


def picture(image: NDArray[np.uint8]) -> str:
    """One image (H, W, C) as a data URI, without loss."""
    return _uri(_webp(Image.fromarray(_rgb(image)), lossless=True))


def _sheet(images: NDArray[np.uint8], columns: int) -> Image.Image:
    n, height, width, channels = images.shape
    rows = math.ceil(n / columns)
    tiles = np.zeros((rows * columns, height, width, channels), dtype=np.uint8)
    tiles[:n] = images
    paper = tiles.reshape(rows, columns, height, width, channels).transpose(0, 2, 1, 3, 4)
    return Image.fromarray(_rgb(paper.reshape(rows * height, columns * width, channels)))


def _encoded(sheets: list[Image.Image], largest: int) -> list[bytes]:
    """The sheets as WebP: without loss where they are small, else as well as `largest` bytes allow."""
    if sum(sheet.width * sheet.height for sheet in sheets) <= _LOSSLESS_PIXELS:
        return [_webp(sheet, lossless=True) for sheet in sheets]
    encoded: list[bytes] = []
    for quality in _QUALITIES:
        encoded = [_webp(sheet, quality=quality) for sheet in sheets]
        if sum(map(len, encoded)) <= largest:
            break
    return encoded


def _webp(sheet: Image.Image, *, quality: int = 80, lossless: bool = False) -> bytes:
    written = io.BytesIO()
    sheet.save(written, "WEBP", quality=quality, lossless=lossless, method=4)
    return written.getvalue()


def _rgb(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W, 1) or (H, W, 3) as (H, W, 3); WebP knows no grey."""
    return np.ascontiguousarray(np.broadcast_to(image, (*image.shape[:2], 3)))


def _uri(encoded: bytes) -> str:
    return f"data:image/webp;base64,{base64.b64encode(encoded).decode()}"
