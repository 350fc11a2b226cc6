"""`wide_resnet`: Zagoruyko and Komodakis, "Wide Residual Networks" (BMVC 2016, arXiv:1605.07146).

WRN-depth-width: three stages of pre-activation blocks (He et al. 2016, arXiv:1603.05027) with 16, 32 and 64
channels times the width. As in the authors' code, a shortcut that changes the shape is a 1x1 convolution of the
activated input, and an identity shortcut carries the input as it came.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from eyebright.core.errors import ModelError
from eyebright.core.input_spec import InputSpec
from eyebright.core.settings.model import WideResNetSettings
from eyebright.models.classifier import Classifier
from eyebright.models.resnet import initialise


class PreActivationBlock(nn.Module):
    """Batch normalisation and ReLU before each of two 3x3 convolutions; nothing after the sum.

    Parameters
    ----------
    inputs, outputs : channels.
    stride : of the first convolution.
    dropout : before the second convolution.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.activation = activation(inputs)
        layers: OrderedDict[str, nn.Module] = OrderedDict(
            convolution1=nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False), activation=activation(outputs)
        )
        if dropout:
            layers["dropout"] = nn.Dropout(dropout)
        layers["convolution2"] = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.residual = nn.Sequential(layers)
        same = inputs == outputs and stride == 1
        self.projection = None if same else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, H / stride, W / stride), odd sizes rounded up."""
        activated = self.activation(x)
        shortcut = x if self.projection is None else self.projection(activated)
        total: Tensor = self.residual(activated) + shortcut
        return total


def activation(channels: int) -> nn.Sequential:
    """Batch normalisation, then ReLU: (B, channels, H, W) to the same."""
    return nn.Sequential(OrderedDict[str, nn.Module](norm=nn.BatchNorm2d(channels), relu=nn.ReLU()))


def build(settings: WideResNetSettings, spec: InputSpec) -> Classifier:
    """A 3x3 stem, three stages, a last activation, the mean over all pixels, a linear head.

    Raises
    ------
    ModelError : the depth is not 6 n + 4: four layers beside three stages of n blocks of two convolutions.
    """
    blocks, rest = divmod(settings.depth - 4, 6)
    if blocks < 1 or rest:
        below = 6 * max(blocks, 1) + 4
        raise ModelError(
            f"wide_resnet cannot have depth={settings.depth}: its depth is 6 n + 4.",
            f"Use model.depth={below} or model.depth={below + 6}.",
        )
    channels = 16
    stages = OrderedDict[str, nn.Module](stem=nn.Conv2d(spec.channels, channels, 3, padding=1, bias=False))
    for number, base in enumerate((16, 32, 64), start=1):
        outputs = base * settings.width
        stages[f"stage{number}"] = _stage(blocks, channels, outputs, 1 if number == 1 else 2, settings.dropout)
        channels = outputs
    stages["activation"] = activation(channels)  # (B, channels, H / 4, W / 4)
    stages["pool"] = nn.AdaptiveAvgPool2d(1)  # (B, channels, 1, 1)
    stages["flatten"] = nn.Flatten()  # (B, channels)
    model = Classifier(nn.Sequential(stages), nn.Linear(channels, len(spec.classes)), spec, settings)
    model.apply(initialise)
    return model


def _stage(blocks: int, inputs: int, outputs: int, stride: int, dropout: float) -> nn.Sequential:
    """Blocks, of which the first changes the shape: (B, inputs, H, W) to (B, outputs, H / stride, W / stride)."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for number in range(1, blocks + 1):
        layers[f"block{number}"] = PreActivationBlock(inputs, outputs, stride, dropout)
        inputs, stride = outputs, 1
    return nn.Sequential(layers)
