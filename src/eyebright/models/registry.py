"""The registry: from settings to a network. A new family is its module and one line here."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch

from eyebright.core.errors import ModelError, nearest
from eyebright.core.input_spec import InputSpec
from eyebright.core.settings.model import (
    CustomSettings,
    LadderCNNSettings,
    MLPSettings,
    ModelSettings,
    PretrainedSettings,
    RegularizedCNNSettings,
    ResNetSettings,
    SimpleCNNSettings,
    SpeedNetSettings,
    WideResNetSettings,
)
from eyebright.models import custom, ladder_cnn, mlp, pretrained, resnet, simple_cnn, speed_net, wide_resnet
from eyebright.models.classifier import Classifier


@dataclasses.dataclass(frozen=True)
class Family:
    """One registered name.

    Attributes
    ----------
    example : settings of that name, as far as possible the defaults.
    build : from such settings and the `InputSpec` to the network.
    """

    example: ModelSettings
    build: Callable[[Any, InputSpec], Classifier]  # Any: each family takes its own settings


def _pretrained(settings: PretrainedSettings, spec: InputSpec) -> Classifier:
    return pretrained.build(settings, spec, skeleton)


_EXAMPLE_TARGET = f"{custom.__name__}:{custom.example_body.__name__}"
_TINY_VIT = PretrainedSettings(body="test_vit", weights="random", size=64, interpolation="bicubic")
_FAMILIES = (
    Family(MLPSettings(), mlp.build),
    Family(SimpleCNNSettings(), simple_cnn.build),
    Family(RegularizedCNNSettings(), simple_cnn.build_regularized),
    Family(LadderCNNSettings(), ladder_cnn.build),
    Family(ResNetSettings(name="resnet18"), resnet.build),
    Family(ResNetSettings(name="resnet20"), resnet.build),
    Family(ResNetSettings(name="resnet56"), resnet.build),
    Family(WideResNetSettings(), wide_resnet.build),
    Family(SpeedNetSettings(), speed_net.build),
    Family(_TINY_VIT, _pretrained),
    Family(CustomSettings(target=_EXAMPLE_TARGET, features=32), custom.build),
)
_REGISTRY: dict[str, Family] = {family.example.name: family for family in _FAMILIES}


def names() -> tuple[str, ...]:
    """Every name that `ModelSettings.name` may take, simple ones first."""
    return tuple(_REGISTRY)


def example_settings() -> tuple[ModelSettings, ...]:
    """One settings object for each of `names`, in that order."""
    return tuple(family.example for family in _FAMILIES)


def resolved(settings: ModelSettings) -> ModelSettings:
    """The same choice with all that a file of weights adds to it filled in; others than pretrained ones as they are.

    Raises
    ------
    ModelError, CheckpointError : the weights are not here, are others than the settings say, or cannot be read.
    """
    return pretrained.resolve(settings) if isinstance(settings, PretrainedSettings) else settings


def build(settings: ModelSettings, spec: InputSpec, *, seed: int = 0) -> Classifier:
    """Build the network that `settings` choose for the pixels and classes of `spec`, ready to be trained.

    The weights are made on the CPU from `seed` alone, the same on every machine with the same version of
    PyTorch; those of pretrained bodies are then loaded. The global random state and that of any GPU stay as they were.

    Raises
    ------
    ModelError : the name is not registered, or the settings do not fit the input; or as `resolved`.
    """
    settings = resolved(settings)
    model = skeleton(settings, spec, seed=seed)
    if isinstance(settings, PretrainedSettings):
        pretrained.fill(model, settings)
    return model


def skeleton(settings: ModelSettings, spec: InputSpec, *, seed: int = 0) -> Classifier:
    """The same with random weights even where `settings`, which must be resolved, name pretrained ones.

    For those who load all weights from a checkpoint, and need no other file for it.

    Raises
    ------
    ModelError : the name is not registered, or the settings do not fit the input.
    """
    family = _REGISTRY.get(settings.name)
    if family is None:
        raise ModelError(f"there is no model {settings.name!r}.", nearest(settings.name, _REGISTRY))
    _check(spec)
    # Not torch.manual_seed, which seeds every GPU too.
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(seed)
        return family.build(settings, spec)


def _check(spec: InputSpec) -> None:
    lengths = {"mean": len(spec.mean), "std": len(spec.std)}
    for field, length in lengths.items():
        if length != spec.channels:
            raise ModelError(
                f"the InputSpec has {spec.channels} channels, but {length} values of {field}.",
                f"Give {field} one value for each channel.",
            )
    if min(spec.std) <= 0:
        raise ModelError(f"the InputSpec has std={spec.std}.", "Give deviations above 0.")
    if min(spec.height, spec.width) < 1 or not spec.classes:
        raise ModelError(
            f"the InputSpec has {spec.height}x{spec.width} pixels and {len(spec.classes)} classes.",
            "Give at least one of each.",
        )
