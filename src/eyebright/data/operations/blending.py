"""Mixing pairs of images and their labels: mixup and cutmix."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eyebright.data.operations.blanking import rectangles
from eyebright.data.operations.portion import WHOLE, Portion, sides_of


def mixup(
    images: Tensor, alpha: float, random: np.random.Generator, portion: Portion = WHOLE
) -> tuple[Tensor, Tensor, Tensor]:
    """Blend each image with another of the batch, by a share from Beta(alpha, alpha) (Zhang et al. 2017).

    Their code draws one share a batch; here each pair has its own, as in their definition.
    """
    batch = portion.size(images)
    partner = torch.from_numpy(portion.find(draw_partners(random, batch))).to(images.device)
    share = portion.of(random.beta(alpha, alpha, batch).astype(np.float32))[: portion.own]
    kept = torch.from_numpy(share).to(images.device)  # (B,)
    other = images[partner].float()
    # Not torch.lerp, whose last bit depends on the memory layout.
    return other + kept.view(-1, 1, 1, 1) * (images[: portion.own] - other), partner, kept


def cutmix(
    images: Tensor, alpha: float, random: np.random.Generator, portion: Portion = WHOLE
) -> tuple[Tensor, Tensor, Tensor]:
    """Paste a rectangle of another image at the same place (Yun et al. 2019); the labels mix by the exact area.

    Their code draws one rectangle a batch; here each pair has its own.
    """
    sides, batch = sides_of(images), portion.size(images)  # (2, 1)
    partner = torch.from_numpy(portion.find(draw_partners(random, batch))).to(images.device)
    sizes = np.rint(np.sqrt(1 - random.beta(alpha, alpha, batch)) * sides).astype(np.int64)  # (2, B)
    corners = random.integers(0, sides, (2, batch)) - sizes // 2
    top, left, heights, widths = portion.of(np.concatenate([corners, sizes]))[:, : portion.own]
    own = images[: portion.own]
    mask = rectangles(own, top, left, heights, widths)
    kept = 1 - mask.sum((1, 2, 3)).float() / sides.prod().item()
    return torch.where(mask, images[partner], own), partner, kept


def draw_partners(random: np.random.Generator, batch: int) -> NDArray[np.int64]:
    """(batch,) which image each one is blended with: the first draw of every blend."""
    return random.permutation(batch)
