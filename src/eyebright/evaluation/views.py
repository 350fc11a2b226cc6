"""Test-time augmentation: a model is asked about several views of an image, and its logits are averaged.

The views and their weights are those of Jordan (2024), arXiv:2404.00498, section 3.4. They cost two or six times as
much as one view.
"""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from eyebright.core.settings.training import Views

# Images (B, C, H, W) -> logits (B, K).
Model = Callable[[Tensor], Tensor]


def averaged(model: Model, images: Tensor, views: Views) -> Tensor:
    """Logits (B, K) of images (B, C, H, W), averaged over `views`.

    Parameters
    ----------
    model : from images to logits.
    images : uint8 or float.
    views : "one" is the image; "mirror" the image and its mirror image; "shift" weighs these two by a half, and by a
        half both of them moved by one pixel, up and left and down and right, with the edge reflected.
    """
    return _VIEWS[views](model, images)


def _one(model: Model, images: Tensor) -> Tensor:
    return model(images)


def _mirror(model: Model, images: Tensor) -> Tensor:
    return (model(images) + model(images.flip(3))) / 2


def _shift(model: Model, images: Tensor) -> Tensor:
    height, width = images.shape[2:]
    padded = F.pad(images.float(), (1, 1, 1, 1), mode="reflect")  # (B, C, H + 2, W + 2)
    up_left, down_right = padded[:, :, 2:, 2:], padded[:, :, :height, :width]
    return _mirror(model, images) / 2 + (_mirror(model, up_left) + _mirror(model, down_right)) / 4


_VIEWS: dict[Views, Callable[[Model, Tensor], Tensor]] = {"one": _one, "mirror": _mirror, "shift": _shift}
