"""Group `model`: which network, and its switches. `eyebright.models` builds each of them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from eyebright.core.settings.fields import Fraction, OpenFraction, Positive, PositiveFloat, settings


@settings
class MLPSettings:
    """Flatten, then fully connected layers with ReLU: the baseline that any CNN must beat.

    Attributes
    ----------
    hidden : units of each layer.
    dropout : after each of them; 0 is off.
    """

    name: Literal["mlp"] = "mlp"
    hidden: tuple[Positive, ...] = (512, 256)
    dropout: OpenFraction = 0.0


@settings
class SimpleCNNSettings:
    """Two 3x3 convolutions (32, 64 channels), each with ReLU and 2x2 max-pool, then 128 hidden units.

    Attributes
    ----------
    widths : channels of the two convolutions.
    hidden : units of the fully connected layer before the head.
    """

    name: Literal["simple_cnn"] = "simple_cnn"
    widths: tuple[Positive, Positive] = (32, 64)
    hidden: Positive = 128


@settings
class RegularizedCNNSettings:
    """`simple_cnn` with batch normalisation after each convolution and dropout before the head.

    Attributes
    ----------
    widths, hidden : as of `simple_cnn`.
    dropout : before the head; 0 is off.
    """

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
    """The network of the CIFAR-10 speed records: whitened patches, stages, the largest value of each channel.

    Attributes
    ----------
    widths : channels of each stage; every stage halves the image.
    convolutions : 3x3 convolutions of a stage; from the third on inside a shortcut.
    dropout : of the features before the head; 0 is off.
    """

    name: Literal["speed_net"] = "speed_net"
    widths: Annotated[tuple[Positive, ...], Field(min_length=1)] = (64, 256, 256)
    convolutions: Annotated[int, Field(ge=2)] = 2
    dropout: OpenFraction = 0.0


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


OwnSettings = Annotated[
    MLPSettings
    | SimpleCNNSettings
    | RegularizedCNNSettings
    | LadderCNNSettings
    | ResNetSettings
    | WideResNetSettings
    | SpeedNetSettings,
    Field(discriminator="name"),
]


Body = Annotated[
    Annotated[str, Tag("timm")] | Annotated[OwnSettings, Tag("own")],
    Discriminator(lambda value: "timm" if isinstance(value, str) else "own"),
]


@settings
class PretrainedSettings:
    """A body whose weights were learnt on other images, and a new head.

    Attributes
    ----------
    body : a name that timm knows, with or without the tag of its weights (`resnet18`, `resnet18.tv_in1k`); or the
        settings of a network of ours (`{name: resnet20}`). Default: that of the run that `weights` names.
    weights : "default" are those that timm publishes, from a mirror (the folder EYEBRIGHT_WEIGHTS) or from timm's
        caches. Or a path: of a .safetensors or .pth file, of a mirror, of a run, of a checkpoint of a run. Or
        "random". Nothing is downloaded, and nothing but "random" is random.
    sha256 : of the file of the weights; another file is refused.
    size : edge of the square to which the model itself enlarges its images, in pixels.
    interpolation : how it enlarges them.
    mean, std : of the pixels that the weights were made for, per channel, in units of the 0..1 range.
    licence : of the weights.
    head : "linear", or "deep": 1024, 512 and 256 units, each with batch normalisation and ReLU, before the logits.
    dropout : before a linear head; in a deep one after every hidden layer.

    `fit` fills in from the weights what is None, so that the recipe of a run says it, and the run needs them no more.
    """

    name: Literal["pretrained"] = "pretrained"
    body: Body | None = None
    weights: str = "default"
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    size: Positive | None = None
    interpolation: Literal["bilinear", "bicubic"] | None = None
    mean: tuple[Fraction, ...] | None = None
    std: tuple[PositiveFloat, ...] | None = None
    licence: str | None = None
    head: Literal["linear", "deep"] = "linear"
    dropout: OpenFraction = 0.0


ModelSettings = Annotated[
    MLPSettings
    | SimpleCNNSettings
    | RegularizedCNNSettings
    | LadderCNNSettings
    | ResNetSettings
    | WideResNetSettings
    | SpeedNetSettings
    | PretrainedSettings
    | CustomSettings,
    Field(discriminator="name"),
]
