"""Brightness, contrast, saturation and hue, computed in float32 and rounded."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from eyebright.data.operations.portion import WHOLE, Operation, Portion, per_image, rounded

# Luminance of RGB as ITU-R 601-2 and Pillow compute it, in units of 1/65536.
_LUMINANCE = (19595, 38470, 7471)


def adjust_brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Multiply every pixel of image i by factor[i] (B, 1, 1, 1)."""
    return rounded(images * factor)


def adjust_contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Move every pixel of image i away from the image's mean luminance, by factor[i] (B, 1, 1, 1)."""
    # Summed as integers: the same bits on any number of threads.
    total = _luminance(images).sum((1, 2, 3), dtype=torch.int64)  # (B,)
    exact = total.cpu().double() / (images.shape[2] * images.shape[3])  # Apple's GPUs have no float64
    mean = exact.float().to(images.device)[:, None, None, None]
    return rounded(mean + factor * (images - mean))


def adjust_saturation(images: Tensor, factor: Tensor) -> Tensor:
    """Move every pixel of image i away from its own luminance, by factor[i] (B, 1, 1, 1)."""
    if images.shape[1] == 1:
        return images  # grey has no saturation
    grey = _luminance(images)
    return rounded(grey + factor * (images - grey))


def adjust_hue(images: Tensor, turns: Tensor) -> Tensor:
    """Turn the hue of image i by turns[i] (B, 1, 1, 1) of the colour wheel of HSV."""
    if images.shape[1] == 1:
        return images  # grey has no hue
    red, green, blue = images.float().chunk(3, dim=1)  # (B, 1, H, W) each
    value = torch.maximum(torch.maximum(red, green), blue)
    chroma = value - torch.minimum(torch.minimum(red, green), blue)
    scale = chroma.clamp(min=1)  # grey pixels have no chroma; they come out as they are
    sector = torch.where(value == green, 2 + (blue - red) / scale, 4 + (red - green) / scale)
    sector = torch.where(value == red, (green - blue) / scale, sector) + 6 * turns  # 0..6 is the whole wheel
    # Red, green and blue of a hue are one ramp, read at three places of the wheel (Wikipedia, "HSL and HSV").
    place = (sector + torch.tensor([5.0, 3.0, 1.0], device=images.device).view(1, 3, 1, 1)).remainder(6)  # (B, 3, H, W)
    return rounded(value - chroma * torch.minimum(place, 4 - place).clamp(0, 1))


def jitter(adjust: Callable[[Tensor, Tensor], Tensor], middle: float) -> Operation:
    """The operation that adjusts each image by its own amount from [middle - spread, middle + spread]."""

    def operation(images: Tensor, spread: float, random: np.random.Generator, portion: Portion = WHOLE) -> Tensor:
        factors = random.uniform(middle - spread, middle + spread, portion.size(images))
        return adjust(images, per_image(portion.of(factors), images))

    return operation


def _luminance(images: Tensor) -> Tensor:
    """(B, 1, H, W) int32 in 0..255, rounded as Pillow's convert("L")."""
    if images.shape[1] == 1:
        return images.int()
    red, green, blue = (weight * plane.int() for weight, plane in zip(_LUMINANCE, images.chunk(3, dim=1), strict=True))
    return (red + green + blue + 0x8000) >> 16
