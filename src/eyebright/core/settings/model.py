"""Group `model`: which network, and its switches. `eyebright.models` builds each of them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from eyebright.core.settings.fields import OpenFraction, Positive, settings


@settings
class MLPSettings:
    """Flatten, then fully connected layers with ReLU: the baseline that any CNN must beat."""

    name: Literal["mlp"] = "mlp"
    hidden: tuple[Positive, ...] = (512, 256)
    dropout: OpenFraction = 0.0


@settings
class SimpleCNNSettings:
    """Two 3x3 convolutions (32, 64 channels), each with ReLU and 2x2 max-pool, then 128 hidden units."""

    name: Literal["simple_cnn"] = "simple_cnn"
    widths: tuple[Positive, Positive] = (32, 64)
    hidden: Positive = 128


@settings
class RegularizedCNNSettings:
    """`simple_cnn` with batch normalisation after each convolution and dropout before the head."""

    name: Literal["regularized_cnn"] = "regularized_cnn"
    widths: tuple[Positive, Positive] = (32, 64)
    hidden: Positive = 128
    dropout: OpenFraction = 0.5


@settings
class LadderCNNSettings:
    """Blocks of convolution, convolution, max-pool; the switches are the rungs of the ladder.

    Attributes
    ----------
    widths : channels of each block.
    hidden : units of the fully connected layer before the head.
    batch_norm : normalise after every convolution and before the head's hidden ReLU.
    dropout : after every block, and before the head; 0 is off.
    """

    name: Literal["ladder_cnn"] = "ladder_cnn"
    widths: Annotated[tuple[Positive, ...], Field(min_length=1)] = (32, 64, 128)
    hidden: Positive = 128
    batch_norm: bool = True
    dropout: OpenFraction = 0.0


@settings
class ResNetSettings:
    """Residual networks for small images (He et al. 2015): 18 with widths 64..512, 20 and 56 with 16..64."""

    name: Literal["resnet18", "resnet20", "resnet56"]


@settings
class WideResNetSettings:
    """Wide residual network (Zagoruyko and Komodakis 2016), WRN-depth-width.

    Attributes
    ----------
    depth : 6 n + 4 layers.
    width : multiplies the 16, 32, 64 channels.
    dropout : between the two convolutions of a block.
    """

    name: Literal["wide_resnet"] = "wide_resnet"
    depth: Positive = 16
    width: Positive = 4
    dropout: OpenFraction = 0.0


@settings
class SpeedNetSettings:
    """The network of the CIFAR-10 speed records: whitened patches, three stages, the largest value of each channel.

    Attributes
    ----------
    widths : channels of each stage; every stage halves the image.
    convolutions : 3x3 convolutions of a stage; from the third on inside a shortcut.
    """

    name: Literal["speed_net"] = "speed_net"
    widths: tuple[Positive, Positive, Positive] = (64, 256, 256)
    convolutions: Annotated[int, Field(ge=2)] = 2


@settings
class CustomSettings:
    """A model of the user's own.

    Attributes
    ----------
    target : `package.module:function`, called as `function(spec, **options)`; returns a body module
        that maps normalised images (B, C, H, W) float to features (B, F).
    features : F.
    options : passed on.
    """

    name: Literal["custom"] = "custom"
    target: str
    features: Positive
    options: dict[str, Any] = Field(default_factory=dict)


ModelSettings = Annotated[
    MLPSettings
    | SimpleCNNSettings
    | RegularizedCNNSettings
    | LadderCNNSettings
    | ResNetSettings
    | WideResNetSettings
    | SpeedNetSettings
    | CustomSettings,
    Field(discriminator="name"),
]
