"""Contact sheets: look at the images, and at what augmentation makes of them, before training on them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from eyebright.core.errors import DataError
from eyebright.core.settings.augment import AugmentSettings
from eyebright.data import augment as augmentation
from eyebright.data.image_set import ImageSet

# Off-white, so that the border of a white image shows.
_PAPER, _INK, _FAINT = (242, 242, 240), (32, 32, 32), (96, 96, 96)
_GAP = 6  # pixels between pictures, and between a picture and its caption
_TEXT = 13  # size of the font in pixels
_LINE = 17  # pixels from one line of text to the next
_MOST = 1000  # images on one sheet: at the default edge about 18 megapixels

Font = ImageFont.ImageFont | ImageFont.FreeTypeFont


@dataclasses.dataclass(frozen=True)
class Row:
    """Pictures side by side, each with its caption below, and a label left of the first."""

    images: NDArray[np.uint8]  # (N, H, W, C)
    captions: Sequence[str]
    label: str = ""


def sheet(
    image_set: ImageSet,
    *,
    augment: AugmentSettings | None = None,
    columns: int = 8,
    edge: int = 128,
    seed: int = 0,
) -> Image.Image:
    """Draw every image of a set with its class, each once or with augmented versions of it.

    Parameters
    ----------
    image_set : what to draw; choose with `take(positions)` or `[rows]`.
    augment : draw one row an image: the original, then columns - 1 versions. Mixup and cutmix take their
        partners from the images shown, and the captions give the shares of the classes.
    columns : pictures in a row.
    edge : longest side of a picture in pixels. Smaller images are enlarged by a whole factor, pixel by pixel;
        larger ones are shrunk.
    seed : decides the augmentation.

    Raises
    ------
    DataError : there is no image to draw, or there are too many for one sheet.
    """
    _check(image_set)
    images, names = image_set.images, _class_names(image_set)
    if augment is None:
        starts = range(0, len(images), columns)
        rows = [Row(images[first : first + columns], names[first : first + columns]) for first in starts]
        return draw(_title(image_set), rows, edge)
    versions = [_augmented(image_set, augment, (seed, 0, number)) for number in range(columns - 1)]
    pictures = np.stack([images, *(version for version, _ in versions)], axis=1)  # (N, columns, H, W, C)
    captions = zip(names, *(texts for _, texts in versions), strict=True)
    rows = [Row(*row) for row in zip(pictures, captions, strict=True)]
    return draw(f"{_title(image_set)}, first as they are, then with {_values(augment)}", rows, edge)


def augmentation_sheet(image_set: ImageSet, augment: AugmentSettings, *, edge: int = 128, seed: int = 0) -> Image.Image:
    """Draw one row an operation of `augment` that is on, by itself; the last row applies all of them.

    A column is an image of the set. An operation draws the same numbers in its own row and in the last one,
    so the last row shows how they add up. Parameters and errors are those of `sheet`.
    """
    _check(image_set)
    on = {field: value for field, value in dataclasses.asdict(augment).items() if value}
    shown = [(_value(field, value), AugmentSettings(**{field: value})) for field, value in on.items()]
    if len(on) > 1:
        shown.append(("all of them", augment))
    rows = [Row(image_set.images, _class_names(image_set), "original")]
    rows += [Row(*_augmented(image_set, settings, (seed, 0, 0)), label) for label, settings in shown]
    return draw(_title(image_set), rows, edge)


def _check(image_set: ImageSet) -> None:
    if not len(image_set):
        raise DataError(f"there is no image to draw in {image_set}.", "Choose at least one.")
    if len(image_set) > _MOST:
        raise DataError(
            f"{image_set} has too many images for one sheet, which holds {_MOST}.",
            "Choose some with take(positions).",
        )


def _title(image_set: ImageSet) -> str:
    number = len(image_set)
    return f"{image_set.store.source} {image_set.split}: {number} image{'s' if number > 1 else ''}"


def _class_names(image_set: ImageSet) -> list[str]:
    return [image_set.classes[label] for label in image_set.labels]


def _values(settings: AugmentSettings) -> str:
    return ", ".join(_value(field, value) for field, value in dataclasses.asdict(settings).items() if value)


def _value(field: str, value: Any) -> str:
    if value is True or field == "pipeline":
        return field
    return f"{field}={value:g}" if isinstance(value, int | float) else f"{field}={value}"


def _augmented(
    image_set: ImageSet, settings: AugmentSettings, place: tuple[int, int, int]
) -> tuple[NDArray[np.uint8], list[str]]:
    """Images (N, H, W, C) after augmentation, and captions where the labels became mixtures."""
    batch, targets = augmentation.augment(
        torch.tensor(image_set.images).permute(0, 3, 1, 2),
        torch.from_numpy(image_set.labels),
        settings,
        classes=len(image_set.classes),
        place=place,
    )
    pixels = batch.round().to(torch.uint8).permute(0, 2, 3, 1).numpy()  # (N, H, W, C)
    if not targets.is_floating_point():
        return pixels, [""] * len(pixels)
    return pixels, [_mixture(shares, image_set.classes) for shares in targets.numpy()]


def _mixture(shares: NDArray[np.float32], classes: Sequence[str]) -> str:
    """The classes of one soft target (K,), one a line, the largest first; what rounds to 0 % is left out."""
    order = np.argsort(-shares, kind="stable")
    return "\n".join(f"{shares[k]:.0%} {classes[k]}" for k in order if round(100 * shares[k]))


def draw(title: str, rows: Sequence[Row], edge: int) -> Image.Image:
    """Lay the rows out on paper under a title."""
    font = ImageFont.load_default(_TEXT)
    pictures = [[_picture(image, edge) for image in row.images] for row in rows]
    width, height = pictures[0][0].size
    margin = max((round(font.getlength(row.label)) + 2 * _GAP for row in rows if row.label), default=0)
    lines = [max(text.count("\n") + 1 if text else 0 for text in row.captions) for row in rows]
    heights = [height + _GAP + (_LINE * number + _GAP if number else 0) for number in lines]
    columns = max(len(row) for row in pictures)
    top = _LINE + 2 * _GAP
    paper = Image.new("RGB", (margin + columns * (width + _GAP) + _GAP, top + sum(heights)), _PAPER)
    pen = ImageDraw.Draw(paper)
    pen.text((_GAP, _GAP), _shortened(title, font, paper.width - 2 * _GAP), _INK, font)
    for row, line, below in zip(rows, pictures, heights, strict=True):
        pen.text((_GAP, top + height // 2), row.label, _INK, font, anchor="lm")
        for column, (picture, caption) in enumerate(zip(line, row.captions, strict=True)):
            left = margin + _GAP + column * (width + _GAP)
            paper.paste(picture, (left, top))
            for number, text in enumerate(caption.split("\n")):
                place = (left, top + height + _GAP // 2 + number * _LINE)
                pen.text(place, _shortened(text, font, width), _FAINT, font)
        top += below
    return paper


def _picture(image: NDArray[np.uint8], edge: int) -> Image.Image:
    """An image (H, W, C) as it is drawn."""
    factor = max(1, edge // max(image.shape[:2]))
    enlarged = image.repeat(factor, axis=0).repeat(factor, axis=1)
    picture = Image.fromarray(enlarged if image.shape[2] == 3 else enlarged[..., 0])
    picture.thumbnail((edge, edge))  # only ever shrinks
    return picture


def _shortened(text: str, font: Font, width: int) -> str:
    """As much of a text as fits into `width` pixels."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text}…"
