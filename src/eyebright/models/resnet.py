"""Residual networks for small images: He, Zhang, Ren and Sun, "Deep Residual Learning" (2015, arXiv:1512.03385).

`resnet20` and `resnet56` are the networks of the paper's section 4.2: a 3x3 stem, three stages of 16, 32 and
64 channels, and shortcuts without parameters (option A). `resnet18` has the four stages of 64 to 512 channels
of the paper's ImageNet network with projection shortcuts (option B), behind the 3x3 stem of the small ones:
the 7x7 convolution and the max-pool would throw away most of a 32-pixel image.
"""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from eyebright.core.input_spec import InputSpec
from eyebright.core.settings.model import ResNetSettings
from eyebright.models.classifier import Classifier


class PaddedShortcut(nn.Module):
    """Option A: every `stride`-th pixel, and zeros for the channels that are new.

    Parameters
    ----------
    channels : how many to add.
    stride : of the block that it bridges.
    """

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.channels = channels
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C + channels, H / stride, W / stride)."""
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.channels))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with batch normalisation, added to the shortcut, then ReLU.

    Parameters
    ----------
    inputs, outputs : channels.
    stride : of the first convolution.
    shortcut : brings the input to the shape of the output.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, shortcut: nn.Module) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            OrderedDict[str, nn.Module](
                convolution1=nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
                norm1=nn.BatchNorm2d(outputs),
                relu1=nn.ReLU(),
                convolution2=nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
                norm2=nn.BatchNorm2d(outputs),
            )
        )
        self.shortcut = shortcut
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, H / stride, W / stride), odd sizes rounded up."""
        activated: Tensor = self.relu(self.residual(x) + self.shortcut(x))
        return activated


def pad(inputs: int, outputs: int, stride: int) -> nn.Module:
    """Shortcut A: nothing to learn."""
    return PaddedShortcut(outputs - inputs, stride)


def project(inputs: int, outputs: int, stride: int) -> nn.Module:
    """Shortcut B: a 1x1 convolution with batch normalisation."""
    return nn.Sequential(
        OrderedDict[str, nn.Module](
            convolution=nn.Conv2d(inputs, outputs, 1, stride, bias=False), norm=nn.BatchNorm2d(outputs)
        )
    )


@dataclasses.dataclass(frozen=True)
class Architecture:
    """What tells one residual network from another.

    Attributes
    ----------
    widths : channels of each stage; each stage after the first halves the feature map.
    blocks : in each stage.
    shortcut : makes the bridge over a block that changes the shape, from (inputs, outputs, stride).
    """

    widths: tuple[int, ...]
    blocks: int
    shortcut: Callable[[int, int, int], nn.Module]


ARCHITECTURES = {
    "resnet18": Architecture((64, 128, 256, 512), 2, project),  # 18 = 1 + 4 stages x 2 blocks x 2 + 1
    "resnet20": Architecture((16, 32, 64), 3, pad),  # 20 = 1 + 3 x 3 x 2 + 1
    "resnet56": Architecture((16, 32, 64), 9, pad),  # 56 = 1 + 3 x 9 x 2 + 1
}


def build(settings: ResNetSettings, spec: InputSpec) -> Classifier:
    """A 3x3 stem, the stages of the architecture, the mean over all pixels, a linear head."""
    architecture = ARCHITECTURES[settings.name]
    channels = architecture.widths[0]
    stages = OrderedDict[str, nn.Module](
        stem=nn.Sequential(
            OrderedDict[str, nn.Module](
                convolution=nn.Conv2d(spec.channels, channels, 3, padding=1, bias=False),
                norm=nn.BatchNorm2d(channels),
                relu=nn.ReLU(),
            )
        )
    )
    for number, outputs in enumerate(architecture.widths, start=1):
        stride = 1 if number == 1 else 2
        stages[f"stage{number}"] = _stage(architecture, channels, outputs, stride)
        channels = outputs
    stages["pool"] = nn.AdaptiveAvgPool2d(1)  # (B, channels, 1, 1)
    stages["flatten"] = nn.Flatten()  # (B, channels)
    model = Classifier(nn.Sequential(stages), nn.Linear(channels, len(spec.classes)), spec, settings)
    model.apply(initialise)
    return model


def _stage(architecture: Architecture, inputs: int, outputs: int, stride: int) -> nn.Sequential:
    """Blocks, of which the first changes the shape: (B, inputs, H, W) to (B, outputs, H / stride, W / stride)."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for number in range(1, architecture.blocks + 1):
        same = inputs == outputs and stride == 1
        shortcut = nn.Identity() if same else architecture.shortcut(inputs, outputs, stride)
        layers[f"block{number}"] = ResidualBlock(inputs, outputs, stride, shortcut)
        inputs, stride = outputs, 1
    return nn.Sequential(layers)


def initialise(module: nn.Module) -> None:
    """Initialise one layer as He et al., "Delving Deep into Rectifiers" (2015, arXiv:1502.01852), equation 14.

    Convolutions draw from a normal distribution of variance 2 / (9 * outputs), the backward form, which the
    authors of residual and wide residual networks used. Linear layers keep PyTorch's weights, with bias 0.
    """
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    elif isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)
