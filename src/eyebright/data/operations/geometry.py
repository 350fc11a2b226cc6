"""Mirroring, moving, turning and enlarging: the first two copy pixels, so they are exact."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from eyebright.core.errors import RecipeError
from eyebright.core.randomness import stream
from eyebright.data.operations.portion import WHOLE, Portion, per_image, pixels_of, rounded


def flip(images: Tensor, on: bool, random: np.random.Generator, portion: Portion = WHOLE) -> Tensor:
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
        return torch.where(per_image(chosen, images), images.flip(3), images)
    pixels = pixels_of(images).copy()
    pixels[chosen] = torch.from_numpy(pixels[chosen]).flip(2).numpy()  # three times faster than numpy's [::-1]
    return torch.from_numpy(pixels).permute(0, 3, 1, 2)  # (B, C, H, W)


def crop(images: Tensor, pad: int, random: np.random.Generator, portion: Portion = WHOLE) -> Tensor:
    """Pad all four sides by `pad` pixels (reflected) and cut a window of the original size."""
    top, left = portion.of(random.integers(0, 2 * pad, size=(2, portion.size(images)), endpoint=True))
    return window(images, (pad, pad), top, left)


def shift(images: Tensor, share: float, random: np.random.Generator, portion: Portion = WHOLE) -> Tensor:
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
    pixels = pixels_of(images)
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


def _reflected(size: int, pad: int) -> Tensor:
    """(size + 2 pad,) int64: the position that each place of a reflected axis shows, as in numpy.pad."""
    return torch.from_numpy(np.pad(np.arange(size), pad, mode="reflect"))


def rotate(images: Tensor, degrees: float, random: np.random.Generator, portion: Portion = WHOLE) -> Tensor:
    """Turn about the middle by up to `degrees` either way; reflect the edge."""
    return turn(images, portion.of(random.uniform(-degrees, degrees, portion.size(images))))


def turn(images: Tensor, degrees: NDArray[np.float64]) -> Tensor:
    """Turn image i counterclockwise by degrees[i] (B,), with bilinear interpolation and reflected edges."""
    height, width = images.shape[2:]
    angle = np.deg2rad(degrees)
    cosine, sine = np.cos(angle), np.sin(angle)
    # From target to source, in coordinates that run from -1 to 1 along each side, hence the ratios.
    return _sampled(images, ((cosine, -sine * height / width), (sine * width / height, cosine)))


def zoom(images: Tensor, most: float, random: np.random.Generator, portion: Portion = WHOLE) -> Tensor:
    """Enlarge about the middle by a factor from [1 - most, 1 + most]; reflect the edge where it is below 1."""
    return enlarge(images, portion.of(random.uniform(1 - most, 1 + most, portion.size(images))))


def enlarge(images: Tensor, factors: NDArray[np.float64]) -> Tensor:
    """Enlarge image i about the middle by factors[i] (B,), with bilinear interpolation and reflected edges."""
    none = np.zeros_like(factors)
    return _sampled(images, ((1 / factors, none), (none, 1 / factors)))


def _sampled(images: Tensor, rows: Sequence[Sequence[NDArray[np.float64]]]) -> Tensor:
    """What each image shows at matrix @ (x, y) about its middle; the two rows of the matrix, each entry (B,)."""
    matrix = torch.tensor(np.stack(rows).transpose(2, 0, 1), dtype=torch.float32, device=images.device)  # (B, 2, 2)
    grid = F.affine_grid(F.pad(matrix, (0, 1)), list(images.shape), align_corners=False)  # (B, H, W, 2)
    pixels = images.contiguous().float()  # sampling runs along planes, several times faster than channels_last
    sampled = F.grid_sample(pixels, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    return rounded(sampled)
