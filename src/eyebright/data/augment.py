"""Whole-batch augmentation in torch: every image of a batch at once, each with its own random draw.

Geometry and blanking copy pixels, so they are exact and stay uint8. Turning, zooming and colour compute in float32
and round back to uint8. An operation draws from a numpy generator seeded by (seed, epoch, batch number) and
its own name: a draw depends on nothing else, neither on the device, nor on the number of workers, nor on
which other operations are on. Numpy's generator rather than torch's, because it takes a 128-bit seed
(torch's keeps 32 bits of it on the CPU) and knows the Beta distribution.

Draws are made for all images of a batch, so several processes that divide a batch (`Portion`) together make the pixels
that one process makes.

The transforms of other libraries (`augment.pipeline`) come before all of these, one image at a time and on the CPU,
each image with its own seed.

To add an operation: a field of `AugmentSettings`, a function in `eyebright.data.operations`, a line in `OPERATIONS`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from eyebright.core.randomness import stream
from eyebright.core.settings.augment import AugmentSettings
from eyebright.data.operations.blanking import coarse_dropout, cutout, erasing
from eyebright.data.operations.blending import cutmix, draw_partners, mixup
from eyebright.data.operations.colour import (
    adjust_brightness,
    adjust_contrast,
    adjust_hue,
    adjust_saturation,
    jitter,
)
from eyebright.data.operations.geometry import crop, flip, mirror, rotate, shift, turned_over, zoom
from eyebright.data.operations.portion import WHOLE, Blend, Operation, Portion, pixels_of
from eyebright.data.transforms.pipeline import pipeline

# In the order in which they are applied, which is the order of the fields of `AugmentSettings`.
OPERATIONS: tuple[tuple[str, Operation], ...] = (
    ("flip", flip),
    ("crop", crop),
    ("shift", shift),
    ("rotate", rotate),
    ("zoom", zoom),
    ("brightness", jitter(adjust_brightness, middle=1)),
    ("contrast", jitter(adjust_contrast, middle=1)),
    ("saturation", jitter(adjust_saturation, middle=1)),
    ("hue", jitter(adjust_hue, middle=0)),
    ("cutout", cutout),
    ("coarse_dropout", coarse_dropout),
    ("erasing", erasing),
)
BLENDS: tuple[tuple[str, Blend], ...] = (("mixup", mixup), ("cutmix", cutmix))


def portion(settings: AugmentSettings, place: tuple[int, int, int], batch: int, first: int, last: int) -> Portion:
    """The images that must be at hand to augment those from `first` to before `last` of a batch.

    Most operations need no others. Mixup and cutmix need their partners too; cutout and coarse dropout the whole batch,
    whose mean colour they blank with.
    """
    own = np.arange(first, last)
    others = np.delete(np.arange(batch), own)
    if not (settings.cutout or settings.coarse_dropout):
        blend = _blend(settings, place)
        partners = draw_partners(stream(blend[0], *place), batch)[own] if blend else own
        others = np.intersect1d(others, partners)
    return Portion(batch, np.concatenate([own, others]), len(own))


def augment(
    images: Tensor,
    labels: Tensor,
    settings: AugmentSettings,
    *,
    classes: int,
    place: tuple[int, int, int],
    portion: Portion = WHOLE,
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
    made = pipeline(entries, (height, width, channels))(pixels_of(images.cpu()), seeds)
    return torch.from_numpy(made).permute(0, 3, 1, 2)  # (B, C, H, W)


def _blend(settings: AugmentSettings, place: tuple[int, int, int]) -> tuple[str, Blend] | None:
    """The blend of a batch, where one is asked for."""
    blends = [(name, blend) for name, blend in BLENDS if getattr(settings, name)]
    return blends[stream("blend", *place).integers(len(blends))] if blends else None
