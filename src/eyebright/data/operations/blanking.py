"""Hiding a part of an image: cutout, coarse dropout, random erasing."""

from __future__ import annotations

import functools

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eyebright.core.errors import RecipeError
from eyebright.data.operations.portion import WHOLE, Portion, sides_of

_ERASED_AREA = (0.02, 0.33)  # of the image (Zhong et al. 2017: s_l and s_h)
_ERASED_ASPECT = 1 / 0.3  # height / width is between its inverse and this (there r_1 = 0.3)

_DROPPED_SIDE = (0.10, 0.25)  # of a side: eight such rectangles hide about a fifth of the image


def cutout(images: Tensor, side: int, random: np.random.Generator, portion: Portion = WHOLE) -> Tensor:
    """Blank one square of `side` pixels with a random centre, cut off at the border (DeVries and Taylor 2017)."""
    height, width = images.shape[2:]
    if side > min(height, width):
        raise RecipeError(
            f"augment.cutout={side} is larger than images of {height}x{width} pixels.",
            f"Use at most {min(height, width)}; half the image's side is usual.",
        )
    top, left = portion.of(random.integers(0, sides_of(images), (2, portion.size(images)))) - side // 2
    sides = np.full(len(images), side)
    return _blanked(images, rectangles(images, top, left, sides, sides))


def coarse_dropout(images: Tensor, most: int, random: np.random.Generator, portion: Portion = WHOLE) -> Tensor:
    """Blank between 1 and `most` rectangles, each 10 to 25 % of the height and of the width."""
    sides, batch = sides_of(images)[:, None], portion.size(images)  # (2, 1, 1)
    sizes = _whole(random.uniform(*_DROPPED_SIDE, (2, most, batch)) * sides, sides)  # (2, most, B)
    corners = portion.of(random.integers(0, sides - sizes, endpoint=True))
    number = random.integers(1, most, batch, endpoint=True)  # (B,)
    sizes *= np.arange(most)[:, None] < number  # no size: not there
    sizes = portion.of(sizes)
    masks = (rectangles(images, *corners[:, i], *sizes[:, i]) for i in range(most))
    return _blanked(images, functools.reduce(torch.logical_or, masks))


def erasing(images: Tensor, probability: float, random: np.random.Generator, portion: Portion = WHOLE) -> Tensor:
    """Replace a rectangle by noise, each pixel uniform in 0..255 (Zhong et al. 2017, "RE-R").

    They draw again where the rectangle is longer than the image; here it is cut to the image's side.
    """
    _, channels, height, width = images.shape
    sides, batch = sides_of(images), portion.size(images)  # (2, 1)
    area = random.uniform(*_ERASED_AREA, batch) * height * width
    aspect = _ERASED_ASPECT ** random.uniform(-1, 1, batch)
    sizes = _whole(np.sqrt((area * aspect, area / aspect)), sides)  # (2, B)
    corners = random.integers(0, sides - sizes, endpoint=True)
    sizes *= random.random(batch) < probability  # no size: not there
    noise = portion.of(random.integers(0, 256, size=(batch, height, width, channels), dtype=np.uint8), axis=0)
    filling = torch.from_numpy(noise).permute(0, 3, 1, 2).to(images.device)  # (B, C, H, W)
    return torch.where(rectangles(images, *portion.of(corners), *portion.of(sizes)), filling, images)


def rectangles(
    images: Tensor,
    top: NDArray[np.int64],
    left: NDArray[np.int64],
    heights: NDArray[np.int64],
    widths: NDArray[np.int64],
) -> Tensor:
    """(B, 1, H, W) bool, true inside image i's rectangle; what lies outside the image is cut off."""
    rows, columns = (np.arange(size) for size in images.shape[2:])
    in_rows = (rows >= top[:, None]) & (rows < (top + heights)[:, None])  # (B, H)
    in_columns = (columns >= left[:, None]) & (columns < (left + widths)[:, None])  # (B, W)
    return torch.from_numpy(in_rows[:, None, :, None] & in_columns[:, None, None, :]).to(images.device)


def _blanked(images: Tensor, mask: Tensor) -> Tensor:
    """Fill the mask (B, 1, H, W) with the mean colour of the batch.

    It stands for the mean of the training images, which normalisation turns into 0: a blank that tells the
    model nothing. Summed as integers, so that the number of threads does not matter.
    """
    batch, channels, height, width = images.shape
    colour = images.sum((0, 2, 3), dtype=torch.int64) // (batch * height * width)  # (C,)
    return torch.where(mask, colour.to(torch.uint8).view(1, channels, 1, 1), images)


def _whole(pixels: NDArray[np.float64], most: NDArray[np.int64]) -> NDArray[np.int64]:
    """Whole pixels, at least 1 and at most `most`."""
    return np.clip(np.rint(pixels).astype(np.int64), 1, most)
