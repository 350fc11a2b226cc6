"""Progressive resizing: train on shrunken images first, which cost less, and on whole ones in the end.

Howard (2018), in fast.ai's entry to DAWNBench; Tan and Le (2021), "EfficientNetV2" (arXiv:2104.00298), section 4.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from eyebright.core.errors import ModelError
from eyebright.models.classifier import Classifier, evaluating

# Pairs of a share of the training and a scale, as in `TrainingSettings.progressive`.
Stages = Sequence[tuple[float, float]]


def scale_at(stages: Stages, done: float) -> float:
    """The scale of the images when the share `done` of the training is over: that of the first stage not yet past."""
    return next((scale for until, scale in sorted(stages) if done < until), 1.0)


def shrunk(images: Tensor, scale: float, memory_format: torch.memory_format) -> Tensor:
    """Images (B, C, H, W), uint8 or float in 0..255, to (B, C, scale H, scale W) float32; as they are at scale 1."""
    if scale == 1:
        return images
    height, width = size(images.shape[2], scale), size(images.shape[3], scale)
    smaller = F.interpolate(images.float(), size=(height, width), mode="bilinear", antialias=True)
    return smaller.contiguous(memory_format=memory_format)


def size(pixels: int, scale: float) -> int:
    """Whole pixels, at least one."""
    return max(1, round(pixels * scale))


def check(model: Classifier, stages: Stages) -> None:
    """Refuse a model that cannot take the smallest images.

    Raises
    ------
    ModelError : its layers are bound to one size, or nothing is left of such small images.
    """
    if not stages:
        return
    spec = model.spec
    height, width = (size(pixels, min(scale for _, scale in stages)) for pixels in (spec.height, spec.width))
    images = torch.zeros(1, spec.channels, height, width)
    try:
        with evaluating(model), torch.no_grad():
            model(images, any_size=True)
    except (RuntimeError, ValueError, AssertionError) as error:  # transformers assert their size
        raise ModelError(
            f"{model.settings.name} cannot train on images of {height}x{width} pixels, which "
            f"training.progressive asks for: {error}",
            "Use larger scales, a model that ends in a pool over the whole map, or training.progressive=[].",
        ) from error
