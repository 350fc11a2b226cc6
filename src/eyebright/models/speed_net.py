"""`speed_net`: the network with which the CIFAR-10 speed records were set.

After Jordan (2024), "94% on CIFAR-10 in 3.29 Seconds on a Single GPU" (arXiv:2404.00498), who goes back to Page
(2019), "How to Train Your ResNet", and to hlb-CIFAR10 (tysam-code, 2023). What makes it fast to train: a first layer
that is computed from the training images instead of learnt, convolutions that begin as the identity, norms without a
scale, and few, wide layers.

Deviations: the size of the input is free, as the last pool takes the largest value of the whole map; the factor
before the logits is part of the head's initial weights; the norms have PyTorch's eps.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eyebright.core.errors import ModelError
from eyebright.core.input_spec import InputSpec
from eyebright.core.settings.model import SpeedNetSettings
from eyebright.models.classifier import Classifier, Prepared

_PATCH = 2  # pixels, the side of the whitened patches
_SMALLEST_VARIANCE = 5e-4  # added to the variance of each direction, so that noise is not blown up
_KEPT = 0.6  # share of the running statistics that a batch keeps: a short training cannot wait for slow ones


class Whitening(Prepared):
    """Patches of 2x2 pixels in the coordinates in which those of the training images are uncorrelated.

    Each direction comes with both signs, then a learnt bias and GELU: (B, C, H, W) to (B, 8 C, H - 1, W - 1). The
    kernel is no parameter: `prepare` computes it. Before that it lets the pixels through.

    Parameters
    ----------
    channels : C.
    """

    kernel: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        directions = channels * _PATCH**2
        self.register_buffer("kernel", _both_signs(torch.eye(directions).view(-1, channels, _PATCH, _PATCH)))
        self.bias = nn.Parameter(torch.zeros(2 * directions))

    @torch.no_grad()
    def prepare(self, images: Tensor) -> None:
        """Compute the kernel from normalised images (N, C, H, W): principal directions, scaled to variance 1."""
        patches = images.float().unfold(2, _PATCH, 1).unfold(3, _PATCH, 1)  # (N, C, H - 1, W - 1, 2, 2)
        channels = images.shape[1]
        flat = patches.permute(0, 2, 3, 1, 4, 5).reshape(-1, channels * _PATCH**2)  # (patches, 4 C)
        variances, directions = torch.linalg.eigh(flat.T @ flat / len(flat))  # ascending; a column each
        scaled = directions.T / torch.sqrt(variances[:, None] + _SMALLEST_VARIANCE)
        self.kernel.copy_(_both_signs(scaled.reshape(-1, channels, _PATCH, _PATCH)))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, 8 C, H - 1, W - 1)."""
        return F.gelu(F.conv2d(x, self.kernel, self.bias))


def _both_signs(directions: Tensor) -> Tensor:
    """(4 C, C, 2, 2) to (8 C, C, 2, 2)."""
    return torch.cat((directions, -directions))


class ScalelessBatchNorm(nn.BatchNorm2d):
    """Batch normalisation with a learnt bias and no learnt scale."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, momentum=1 - _KEPT)
        del self.weight
        self.register_buffer("weight", torch.ones(channels), persistent=False)


class SpeedStage(nn.Module):
    """Convolution, 2x2 max-pool, norm, GELU; then further convolutions, each with its norm and GELU.

    Parameters
    ----------
    inputs, outputs : channels.
    convolutions : 2 or more; those after the second lie, with it, inside a shortcut.
    """

    def __init__(self, inputs: int, outputs: int, convolutions: int) -> None:
        super().__init__()
        self.entry = nn.Sequential(
            OrderedDict[str, nn.Module](
                convolution=identity_convolution(inputs, outputs),
                pool=nn.MaxPool2d(2),
                norm=ScalelessBatchNorm(outputs),
                gelu=nn.GELU(),
            )
        )
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        for number in range(2, convolutions + 1):
            layers[f"convolution{number}"] = identity_convolution(outputs, outputs)
            layers[f"norm{number}"] = ScalelessBatchNorm(outputs)
            if number < convolutions:
                layers[f"gelu{number}"] = nn.GELU()
        self.rest = nn.Sequential(layers)
        self.shortcut = convolutions > 2
        self.gelu = nn.GELU()

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, H / 2, W / 2), odd sizes rounded down."""
        x = self.entry(x)
        y = self.rest(x)
        activated: Tensor = self.gelu(x + y if self.shortcut else y)
        return activated


class LargestOfMap(nn.Module):
    """The largest value of each channel: (B, C, H, W) to (B, C)."""

    def forward(self, x: Tensor) -> Tensor:
        """Equal values share the gradient, so that it does not depend on their order."""
        return x.amax(dim=(2, 3))


def identity_convolution(inputs: int, outputs: int) -> nn.Conv2d:
    """A 3x3 convolution whose first outputs begin as copies of the inputs, as far as both reach."""
    convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    nn.init.dirac_(convolution.weight.data[:inputs])
    return convolution


def build(settings: SpeedNetSettings, spec: InputSpec) -> Classifier:
    """Whitening, a stage for each of `settings.widths`, the largest value of each channel, a linear head without bias.

    Raises
    ------
    ModelError : the input is smaller than 9x9 pixels.
    """
    smallest = 2 ** len(settings.widths) + _PATCH - 1
    if min(spec.height, spec.width) < smallest:
        raise ModelError(
            f"{settings.name} halves its input {len(settings.widths)} times, so {spec.height}x{spec.width} pixels are "
            "too few.",
            f"Use images of at least {smallest}x{smallest} pixels, or another model.",
        )
    stages = OrderedDict[str, nn.Module](whitening=Whitening(spec.channels))
    channels = 2 * spec.channels * _PATCH**2
    for number, outputs in enumerate(settings.widths, start=1):
        stages[f"stage{number}"] = SpeedStage(channels, outputs, settings.convolutions)
        channels = outputs
    stages["pool"] = LargestOfMap()  # (B, channels)
    if settings.dropout:
        stages["dropout"] = nn.Dropout(settings.dropout)
    head = nn.Linear(channels, len(spec.classes), bias=False)
    nn.init.normal_(head.weight, std=1 / channels)  # the logits begin near 0, however wide the features
    return Classifier(nn.Sequential(stages), head, spec, settings)
