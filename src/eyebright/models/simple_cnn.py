"""`simple_cnn` and `regularized_cnn`: the two-convolution network of the textbooks, without and with a brake.

The pair shows overfitting and its cure: one network learns its training images by heart, the other has
batch normalisation (Ioffe and Szegedy 2015) after each convolution and dropout (Srivastava et al. 2014)
before the head. Initialisation is PyTorch's default.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from eyebright.core.errors import ModelError
from eyebright.core.input_spec import InputSpec
from eyebright.core.settings.model import RegularizedCNNSettings, SimpleCNNSettings
from eyebright.models.classifier import Classifier
from eyebright.models.mlp import hidden_stage


def build(settings: SimpleCNNSettings, spec: InputSpec) -> Classifier:
    """The network without a brake.

    Raises
    ------
    ModelError : the input is smaller than 4x4 pixels.
    """
    return _classifier(settings, spec, batch_norm=False, dropout=0.0)


def build_regularized(settings: RegularizedCNNSettings, spec: InputSpec) -> Classifier:
    """The network with batch normalisation and dropout.

    Raises
    ------
    ModelError : the input is smaller than 4x4 pixels.
    """
    return _classifier(settings, spec, batch_norm=True, dropout=settings.dropout)


def _classifier(
    settings: SimpleCNNSettings | RegularizedCNNSettings, spec: InputSpec, *, batch_norm: bool, dropout: float
) -> Classifier:
    first, second = settings.widths
    height, width = pooled_size(spec, pools=2, name=settings.name)
    stages = OrderedDict[str, nn.Module](
        stage1=pooled_stage(spec.channels, first, batch_norm=batch_norm),  # (B, 32, H/2, W/2)
        stage2=pooled_stage(first, second, batch_norm=batch_norm),  # (B, 64, H/4, W/4)
        flatten=nn.Flatten(),  # (B, 64 * H/4 * W/4)
        hidden=hidden_stage(second * height * width, settings.hidden, dropout=dropout),  # (B, 128)
    )
    return Classifier(nn.Sequential(stages), nn.Linear(settings.hidden, len(spec.classes)), spec, settings)


def pooled_stage(
    inputs: int, outputs: int, *, convolutions: int = 1, batch_norm: bool = False, dropout: float = 0.0
) -> nn.Sequential:
    """3x3 convolutions, each with its ReLU, then a 2x2 max-pool: (B, inputs, H, W) to (B, outputs, H/2, W/2).

    A convolution has no bias under batch normalisation, which would subtract it again. No ReLU works in
    place, so that a hook on any layer sees what the layer gave.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for number in range(1, convolutions + 1):
        channels = inputs if number == 1 else outputs
        layers[f"convolution{number}"] = nn.Conv2d(channels, outputs, 3, padding=1, bias=not batch_norm)
        if batch_norm:
            layers[f"norm{number}"] = nn.BatchNorm2d(outputs)
        layers[f"relu{number}"] = nn.ReLU()
    layers["pool"] = nn.MaxPool2d(2)
    if dropout:
        layers["dropout"] = nn.Dropout(dropout)
    return nn.Sequential(layers)


def pooled_size(spec: InputSpec, *, pools: int, name: str) -> tuple[int, int]:
    """Height and width of the feature map after `pools` halvings, odd sizes rounded down.

    Raises
    ------
    ModelError : nothing is left of the map.
    """
    smallest = 2**pools
    if min(spec.height, spec.width) < smallest:
        raise ModelError(
            f"{name} halves its input {pools} times, so {spec.height}x{spec.width} pixels are too few.",
            f"Use images of at least {smallest}x{smallest} pixels, or a model with fewer pools.",
        )
    return spec.height // smallest, spec.width // smallest
