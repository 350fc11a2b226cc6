"""Whole-batch augmentation in torch: every image of a batch at once, each with its own random draw.

Geometry and blanking copy pixels, so they are exact and stay uint8. Turning and colour compute in float32
and round back to uint8. An operation draws from a numpy generator seeded by (seed, epoch, batch number) and
its own name: a draw depends on nothing else, neither on the device, nor on the number of workers, nor on
which other operations are on. Numpy's generator rather than torch's, because it takes a 128-bit seed
(torch's keeps 32 bits of it on the CPU) and knows the Beta distribution.

Draws are made for all images of a batch, so several processes that divide a batch (`Portion`) together make the pixels
that one process makes.

The transforms of other libraries (`augment.pipeline`) come before all of these, one image at a time and on the CPU,
each image with its own seed.

To add an operation: a field of `AugmentSettings`, a function here, a line in `OPERATIONS`.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from eyebright.core.errors import RecipeError
from eyebright.core.randomness import stream
from eyebright.core.settings.augment import AugmentSettings
from eyebright.data.transforms.pipeline import pipeline

# Images (B, C, H, W) uint8, the value of the field, the operation's own generator, which images of the batch they are
# -> images, same shape. The value is Any because each field has its own type (bool, int or float).
Operation = Callable[[Tensor, Any, np.random.Generator, "Portion"], Tensor]

# The same, but returns (images, partner, kept) of the portion's own images: image i keeps the share kept[i] (B,)
# float32 of itself and takes the rest from image partner[i] (B,) int64 of those that were given.
Blend = Callable[[Tensor, float, np.random.Generator, "Portion"], tuple[Tensor, Tensor, Tensor]]

# Luminance of RGB as ITU-R 601-2 and Pillow compute it, in units of 1/65536.
_LUMINANCE = (19595, 38470, 7471)

_ERASED_AREA = (0.02, 0.33)  # of the image (Zhong et al. 2017: s_l and s_h)
_ERASED_ASPECT = 1 / 0.3  # height / width is between its inverse and this (there r_1 = 0.3)

_DROPPED_SIDE = (0.10, 0.25)  # of a side: eight such rectangles hide about a fifth of the image


@dataclasses.dataclass(frozen=True, eq=False)
class Portion:
    """Which images of a batch are at hand, where several processes divide it; by default all.

    Attributes
    ----------
    batch : images of the whole batch; None: as many as are at hand.
    positions : (P,) int64, those at hand in the batch; None: all, in order.
    own : the first so many of them are wanted, the others only take part in these; None: all.
    rows : (P,) int64 of the source, which decide with the seed on which side alternating flips begin; None: 0 .. P - 1.
    """

    batch: int | None = None
    positions: NDArray[np.int64] | None = None
    own: int | None = None
    rows: NDArray[np.int64] | None = None

    def size(self, images: Tensor) -> int:
        """Images of the batch that `images` are a portion of."""
        return len(images) if self.batch is None else self.batch

    def of(self, drawn: NDArray[Any], axis: int = -1) -> NDArray[Any]:
        """What was drawn for each image of the batch, for those at hand."""
        return drawn if self.positions is None else drawn.take(self.positions, axis)

    def find(self, partner: NDArray[np.int64]) -> NDArray[np.int64]:
        """(own,) where among the images at hand the partners of the own ones are; `partner` (batch,) is of all."""
        if self.positions is None:
            return partner
        places = np.zeros(len(partner), dtype=np.int64)
        places[self.positions] = np.arange(len(self.positions))
        return places[partner[self.positions[: self.own]]]


_WHOLE = Portion()


def portion(settings: AugmentSettings, place: tuple[int, int, int], batch: int, first: int, last: int) -> Portion:
    """The images that must be at hand to augment those from `first` to before `last` of a batch.

    Most operations need no others. Mixup and cutmix need their partners too; cutout and coarse dropout the whole batch,
    whose mean colour they blank with.
    """
    own = np.arange(first, last)
    others = np.delete(np.arange(batch), own)
    if not (settings.cutout or settings.coarse_dropout):
        blend = _blend(settings, place)
        partners = _partners(stream(blend[0], *place), batch)[own] if blend else own
        others = np.intersect1d(others, partners)
    return Portion(batch, np.concatenate([own, others]), len(own))


def augment(
    images: Tensor,
    labels: Tensor,
    settings: AugmentSettings,
    *,
    classes: int,
    place: tuple[int, int, int],
    portion: Portion = _WHOLE,
) -> tuple[Tensor, Tensor]:
    """Augment one batch, or a portion of it; the inputs are left as they are.

    Parameters
    ----------
    images : (B, C, H, W) uint8 on any device, in any memory layout.
    labels : (B,) int64 on the same device; or on that where the images are to be, which a pipeline makes on the CPU.
    settings : what to do.
    classes : K.
    place : (seed, epoch, batch number), which decides every random draw.
    portion : which images of the batch these are.

    Returns
    -------
    images : (B, C, H, W) uint8, or float32 in 0..255 after mixup; of a portion its own images.
    targets : `labels`, or (B, K) float32 with rows that sum to 1 after mixup or cutmix.

    Raises
    ------
    MissingExtraError : the pipeline's library is not installed.
    RecipeError : a value that does not fit the size of the images, or a pipeline that cannot be made of it.
    """
    if settings.pipeline:
        images = _transformed(images, settings.pipeline, place, portion).to(labels.device)
    if settings.flip == "alternating":
        rows = np.arange(len(images)) if portion.rows is None else portion.rows
        images = mirror(images, turned_over(rows, seed=place[0], epoch=place[1]))
    for name, operation in OPERATIONS:
        if (value := getattr(settings, name)) and value != "alternating":
            images = operation(images, value, stream(name, *place), portion)
    chosen = _blend(settings, place)
    if chosen is None:
        return (images, labels) if portion.own is None else (images[: portion.own], labels[: portion.own])
    name, blend = chosen
    images, partner, kept = blend(images, getattr(settings, name), stream(name, *place), portion)
    whole = F.one_hot(labels, classes).float()  # (B, K)
    return images, kept[:, None] * whole[: portion.own] + (1 - kept)[:, None] * whole[partner]


def _transformed(
    images: Tensor, entries: Sequence[Mapping[str, Any]], place: tuple[int, int, int], portion: Portion
) -> Tensor:
    """The images after the transforms of other libraries, on the CPU; each image has a seed of its own."""
    _, channels, height, width = images.shape
    seeds = portion.of(stream("pipeline", *place).integers(2**63, size=portion.size(images)))
    made = pipeline(entries, (height, width, channels))(_pixels(images.cpu()), seeds)
    return torch.from_numpy(made).permute(0, 3, 1, 2)  # (B, C, H, W)


def _blend(settings: AugmentSettings, place: tuple[int, int, int]) -> tuple[str, Blend] | None:
    """The blend of a batch, where one is asked for."""
    blends = [(name, blend) for name, blend in BLENDS if getattr(settings, name)]
    return blends[stream("blend", *place).integers(len(blends))] if blends else None


# Geometry


def flip(images: Tensor, on: bool, random: np.random.Generator, portion: Portion = _WHOLE) -> Tensor:
    """Mirror left-right with probability 1/2."""
    return mirror(images, portion.of(random.random(portion.size(images))) < on / 2)


def mirrored(
    setting: bool | Literal["alternating"], rows: NDArray[np.int64], place: tuple[int, int, int]
) -> NDArray[np.bool_]:
    """(B,) which images of a batch, rows (B,) of the source, `augment` mirrors when its `flip` is `setting`."""
    if setting == "alternating":
        return turned_over(rows, seed=place[0], epoch=place[1])
    return stream("flip", *place).random(len(rows)) < setting / 2


def turned_over(rows: NDArray[np.int64], *, seed: int, epoch: int) -> NDArray[np.bool_]:
    """(B,) which images of rows (B,) of the source are mirrored in `epoch`: half in the first, then in turn.

    Jordan (2024), arXiv:2404.00498, section 3.6. An image keeps its side though it moves from batch to batch, so the
    choice is a hash of its row (the finaliser of Steele et al. 2014, "SplitMix") and not a draw.
    """
    mixed = rows.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    mixed += stream("flip", seed).integers(0, 2**64, dtype=np.uint64)  # wraps around, as it should
    for shift_by, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift_by))) * np.uint64(factor)
    return (mixed >> np.uint64(63)).astype(bool) ^ (epoch % 2 == 1)


def mirror(images: Tensor, chosen: NDArray[np.bool_]) -> Tensor:
    """Mirror the images where `chosen` (B,) left-right; the input is left as it is."""
    if images.device.type != "cpu":
        return torch.where(_per_image(chosen, images), images.flip(3), images)
    pixels = _pixels(images).copy()
    pixels[chosen] = torch.from_numpy(pixels[chosen]).flip(2).numpy()  # three times faster than numpy's [::-1]
    return torch.from_numpy(pixels).permute(0, 3, 1, 2)  # (B, C, H, W)


def crop(images: Tensor, pad: int, random: np.random.Generator, portion: Portion = _WHOLE) -> Tensor:
    """Pad all four sides by `pad` pixels (reflected) and cut a window of the original size."""
    top, left = portion.of(random.integers(0, 2 * pad, size=(2, portion.size(images)), endpoint=True))
    return window(images, (pad, pad), top, left)


def shift(images: Tensor, share: float, random: np.random.Generator, portion: Portion = _WHOLE) -> Tensor:
    """Move by a whole number of pixels, up to `share` of the height and of the width; reflect the edge."""
    pad = (round(share * images.shape[2]), round(share * images.shape[3]))
    if pad == (0, 0):
        raise RecipeError(
            f"augment.shift={share:g} moves images of {images.shape[2]}x{images.shape[3]} pixels by less than one.",
            f"Use {1 / max(images.shape[2:]):.2g} or more, or 0 to switch it off.",
        )
    batch = portion.size(images)
    top, left = (portion.of(random.integers(0, 2 * most, size=batch, endpoint=True)) for most in pad)
    return window(images, pad, top, left)


def window(images: Tensor, pad: tuple[int, int], top: NDArray[np.int64], left: NDArray[np.int64]) -> Tensor:
    """Pad (rows, columns) by reflection, without repeating the edge, and cut image i at (top[i], left[i]).

    Raises
    ------
    RecipeError : the images are too small to reflect so much.
    """
    height, width = images.shape[2:]
    if pad[0] >= height or pad[1] >= width:
        raise RecipeError(
            f"images of {height}x{width} pixels cannot be padded by {pad[0]}x{pad[1]}: reflection gives one less.",
            f"Use augment.crop below {min(height, width)}, and a smaller augment.shift.",
        )
    if images.device.type == "cpu":
        return _window_on_cpu(images, pad, top, left)
    rows, columns = (_reflected(size, most).to(images.device) for size, most in zip((height, width), pad, strict=True))
    padded = images.permute(0, 2, 3, 1).index_select(1, rows).index_select(2, columns)  # (B, H + 2p, W + 2p, C)
    # A view of all windows, so that one indexing copies each image's own, row by row.
    windows = padded.unfold(1, height, 1).unfold(2, width, 1)  # (B, 2p + 1, 2p + 1, C, H, W)
    each = torch.arange(len(images), device=images.device)
    at = (each, torch.from_numpy(top).to(images.device), torch.from_numpy(left).to(images.device))
    return windows.permute(0, 1, 2, 4, 5, 3)[at].permute(0, 3, 1, 2)  # (B, C, H, W)


def _window_on_cpu(images: Tensor, pad: tuple[int, int], top: NDArray[np.int64], left: NDArray[np.int64]) -> Tensor:
    pixels = _pixels(images)
    moved = np.empty_like(pixels)
    height, width = pixels.shape[1:3]
    deep = 2 * pad[0] > height - 2 or 2 * pad[1] > width - 2  # an edge may be wider than what it reflects
    for source, target, down, right in zip(pixels, moved, top - pad[0], left - pad[1], strict=True):
        if deep:
            padded = np.pad(source, ((pad[0], pad[0]), (pad[1], pad[1]), (0, 0)), mode="reflect")
            target[:] = padded[pad[0] + down :, pad[1] + right :][:height, :width]
        else:
            _move(source, target, int(down), int(right))
    return torch.from_numpy(moved).permute(0, 3, 1, 2)  # (B, C, H, W)


def _move(source: NDArray[np.uint8], target: NDArray[np.uint8], down: int, right: int) -> None:
    """Make target[y, x] = source[y + down, x + right], reflected at the edges without repeating them.

    Images are (H, W, C), and moved by less than half a side. What stays is copied once, the edges from it: six
    times faster on photographs of 224x224 than cutting a window out of a padded copy.
    """
    height, width = source.shape[:2]
    first, last = max(-down, 0), height - max(down, 0)
    start, end = max(-right, 0), width - max(right, 0)
    rows = target[first:last]
    rows[:, start:end] = source[first + down : last + down, start + right : end + right]
    if start:
        rows[:, :start] = rows[:, 2 * start : start : -1]
    if end < width:
        rows[:, end:] = rows[:, end - 2 : _before(2 * end - 2 - width) : -1]
    if first:
        target[:first] = target[2 * first : first : -1]
    if last < height:
        target[last:] = target[last - 2 : _before(2 * last - 2 - height) : -1]


def _before(position: int) -> int | None:
    """The end of a slice that runs backwards: -1 would mean the last element, and not the one before the first."""
    return position if position >= 0 else None


def _pixels(images: Tensor) -> NDArray[np.uint8]:
    """Images on the CPU as (B, H, W, C) for numpy: a batch is so small that waking torch's threads costs more."""
    pixels: NDArray[np.uint8] = images.permute(0, 2, 3, 1).contiguous().numpy()
    return pixels


def _reflected(size: int, pad: int) -> Tensor:
    """(size + 2 pad,) int64: the position that each place of a reflected axis shows, as in numpy.pad."""
    return torch.from_numpy(np.pad(np.arange(size), pad, mode="reflect"))


def rotate(images: Tensor, degrees: float, random: np.random.Generator, portion: Portion = _WHOLE) -> Tensor:
    """Turn about the middle by up to `degrees` either way; reflect the edge."""
    return turn(images, portion.of(random.uniform(-degrees, degrees, portion.size(images))))


def turn(images: Tensor, degrees: NDArray[np.float64]) -> Tensor:
    """Turn image i counterclockwise by degrees[i] (B,), with bilinear interpolation and reflected edges."""
    _, _, height, width = images.shape
    angle = np.deg2rad(degrees)
    cosine, sine, none = np.cos(angle), np.sin(angle), np.zeros_like(angle)
    # From target to source, in coordinates that run from -1 to 1 along each side, hence the ratios.
    rows = ((cosine, -sine * height / width, none), (sine * width / height, cosine, none))
    matrix = torch.tensor(np.stack(rows).transpose(2, 0, 1), dtype=torch.float32, device=images.device)  # (B, 2, 3)
    grid = F.affine_grid(matrix, list(images.shape), align_corners=False)  # (B, H, W, 2)
    pixels = images.contiguous().float()  # sampling runs along planes, several times faster than channels_last
    turned = F.grid_sample(pixels, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    return _rounded(turned)


# Colour


def adjust_brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Multiply every pixel of image i by factor[i] (B, 1, 1, 1)."""
    return _rounded(images * factor)


def adjust_contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Move every pixel of image i away from the image's mean luminance, by factor[i] (B, 1, 1, 1)."""
    # Summed as integers: the same bits on any number of threads.
    total = _luminance(images).sum((1, 2, 3), dtype=torch.int64)  # (B,)
    exact = total.cpu().double() / (images.shape[2] * images.shape[3])  # Apple's GPUs have no float64
    mean = exact.float().to(images.device)[:, None, None, None]
    return _rounded(mean + factor * (images - mean))


def adjust_saturation(images: Tensor, factor: Tensor) -> Tensor:
    """Move every pixel of image i away from its own luminance, by factor[i] (B, 1, 1, 1)."""
    if images.shape[1] == 1:
        return images  # grey has no saturation
    grey = _luminance(images)
    return _rounded(grey + factor * (images - grey))


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
    return _rounded(value - chroma * torch.minimum(place, 4 - place).clamp(0, 1))


def _jitter(adjust: Callable[[Tensor, Tensor], Tensor], middle: float) -> Operation:
    """The operation that adjusts each image by its own amount from [middle - spread, middle + spread]."""

    def operation(images: Tensor, spread: float, random: np.random.Generator, portion: Portion = _WHOLE) -> Tensor:
        factors = random.uniform(middle - spread, middle + spread, portion.size(images))
        return adjust(images, _per_image(portion.of(factors), images))

    return operation


def _luminance(images: Tensor) -> Tensor:
    """(B, 1, H, W) int32 in 0..255, rounded as Pillow's convert("L")."""
    if images.shape[1] == 1:
        return images.int()
    red, green, blue = (weight * plane.int() for weight, plane in zip(_LUMINANCE, images.chunk(3, dim=1), strict=True))
    return (red + green + blue + 0x8000) >> 16


# Blanking


def cutout(images: Tensor, side: int, random: np.random.Generator, portion: Portion = _WHOLE) -> Tensor:
    """Blank one square of `side` pixels with a random centre, cut off at the border (DeVries and Taylor 2017)."""
    height, width = images.shape[2:]
    if side > min(height, width):
        raise RecipeError(
            f"augment.cutout={side} is larger than images of {height}x{width} pixels.",
            f"Use at most {min(height, width)}; half the image's side is usual.",
        )
    top, left = portion.of(random.integers(0, _sides(images), (2, portion.size(images)))) - side // 2
    sides = np.full(len(images), side)
    return _blanked(images, rectangles(images, top, left, sides, sides))


def coarse_dropout(images: Tensor, most: int, random: np.random.Generator, portion: Portion = _WHOLE) -> Tensor:
    """Blank between 1 and `most` rectangles, each 10 to 25 % of the height and of the width."""
    sides, batch = _sides(images)[:, None], portion.size(images)  # (2, 1, 1)
    sizes = _whole(random.uniform(*_DROPPED_SIDE, (2, most, batch)) * sides, sides)  # (2, most, B)
    corners = portion.of(random.integers(0, sides - sizes, endpoint=True))
    number = random.integers(1, most, batch, endpoint=True)  # (B,)
    sizes *= np.arange(most)[:, None] < number  # no size: not there
    sizes = portion.of(sizes)
    masks = (rectangles(images, *corners[:, i], *sizes[:, i]) for i in range(most))
    return _blanked(images, functools.reduce(torch.logical_or, masks))


def erasing(images: Tensor, probability: float, random: np.random.Generator, portion: Portion = _WHOLE) -> Tensor:
    """Replace a rectangle by noise, each pixel uniform in 0..255 (Zhong et al. 2017, "RE-R").

    They draw again where the rectangle is longer than the image; here it is cut to the image's side.
    """
    _, channels, height, width = images.shape
    sides, batch = _sides(images), portion.size(images)  # (2, 1)
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


def _sides(images: Tensor) -> NDArray[np.int64]:
    """(2, 1): height and width."""
    return np.array(images.shape[2:])[:, None]


def _whole(pixels: NDArray[np.float64], most: NDArray[np.int64]) -> NDArray[np.int64]:
    """Whole pixels, at least 1 and at most `most`."""
    return np.clip(np.rint(pixels).astype(np.int64), 1, most)


# Blending of pairs


def mixup(
    images: Tensor, alpha: float, random: np.random.Generator, portion: Portion = _WHOLE
) -> tuple[Tensor, Tensor, Tensor]:
    """Blend each image with another of the batch, by a share from Beta(alpha, alpha) (Zhang et al. 2017).

    Their code draws one share a batch; here each pair has its own, as in their definition.
    """
    batch = portion.size(images)
    partner = torch.from_numpy(portion.find(_partners(random, batch))).to(images.device)
    share = portion.of(random.beta(alpha, alpha, batch).astype(np.float32))[: portion.own]
    kept = torch.from_numpy(share).to(images.device)  # (B,)
    other = images[partner].float()
    # Not torch.lerp, whose last bit depends on the memory layout.
    return other + kept.view(-1, 1, 1, 1) * (images[: portion.own] - other), partner, kept


def cutmix(
    images: Tensor, alpha: float, random: np.random.Generator, portion: Portion = _WHOLE
) -> tuple[Tensor, Tensor, Tensor]:
    """Paste a rectangle of another image at the same place (Yun et al. 2019); the labels mix by the exact area.

    Their code draws one rectangle a batch; here each pair has its own.
    """
    sides, batch = _sides(images), portion.size(images)  # (2, 1)
    partner = torch.from_numpy(portion.find(_partners(random, batch))).to(images.device)
    sizes = np.rint(np.sqrt(1 - random.beta(alpha, alpha, batch)) * sides).astype(np.int64)  # (2, B)
    corners = random.integers(0, sides, (2, batch)) - sizes // 2
    top, left, heights, widths = portion.of(np.concatenate([corners, sizes]))[:, : portion.own]
    own = images[: portion.own]
    mask = rectangles(own, top, left, heights, widths)
    kept = 1 - mask.sum((1, 2, 3)).float() / sides.prod().item()
    return torch.where(mask, images[partner], own), partner, kept


def _partners(random: np.random.Generator, batch: int) -> NDArray[np.int64]:
    """(batch,) which image each one is blended with: the first draw of every blend."""
    return random.permutation(batch)


def _per_image(values: NDArray[Any], images: Tensor) -> Tensor:
    """Values (B,), bool or float, as (B, 1, 1, 1) on the images' device; float32 where they are float."""
    tensor = torch.from_numpy(values)
    # float32 before it moves: Apple's GPUs have no float64
    return (tensor.float() if tensor.is_floating_point() else tensor).to(images.device).view(-1, 1, 1, 1)


def _rounded(images: Tensor) -> Tensor:
    """To the nearest uint8; overwrites `images`."""
    return images.round_().clamp_(0, 255).to(torch.uint8)


# In the order in which they are applied, which is the order of the fields of `AugmentSettings`.
OPERATIONS: tuple[tuple[str, Operation], ...] = (
    ("flip", flip),
    ("crop", crop),
    ("shift", shift),
    ("rotate", rotate),
    ("brightness", _jitter(adjust_brightness, middle=1)),
    ("contrast", _jitter(adjust_contrast, middle=1)),
    ("saturation", _jitter(adjust_saturation, middle=1)),
    ("hue", _jitter(adjust_hue, middle=0)),
    ("cutout", cutout),
    ("coarse_dropout", coarse_dropout),
    ("erasing", erasing),
)
BLENDS: tuple[tuple[str, Blend], ...] = (("mixup", mixup), ("cutmix", cutmix))
