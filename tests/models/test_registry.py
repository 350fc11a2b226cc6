from __future__ import annotations

import dataclasses
import types
import typing

import pytest
import torch

from eyebright.core.errors import ModelError
from eyebright.core.input_spec import InputSpec
from eyebright.core.settings.model import MLPSettings, ModelSettings, ResNetSettings
from eyebright.models import registry

SPEC = InputSpec(8, 8, 3, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), ("cat", "dog"))


def settings_classes() -> tuple[type, ...]:
    union, *_ = typing.get_args(ModelSettings)
    return typing.get_args(union)


def test_every_name_that_settings_allow_is_registered() -> None:
    allowed: set[str] = set()
    for kind in settings_classes():
        allowed |= set(typing.get_args(typing.get_type_hints(kind)["name"]))
    assert allowed == set(registry.names())
    assert [settings.name for settings in registry.example_settings()] == list(registry.names())


def test_examples_are_the_defaults() -> None:
    assert MLPSettings() in registry.example_settings()
    assert ResNetSettings(name="resnet20") in registry.example_settings()


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    stranger: typing.Any = types.SimpleNamespace(name="resnet21")
    with pytest.raises(ModelError, match=r"no model 'resnet21'.\nDid you mean 'resnet20'\?"):
        registry.build(stranger, SPEC)


def test_building_leaves_the_generators_of_gpus_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def touched(*arguments: object) -> None:
        raise AssertionError("a GPU was seeded")

    monkeypatch.setattr(torch.cuda, "manual_seed_all", touched)
    registry.build(MLPSettings(), SPEC, seed=1)


def test_weights_are_made_on_the_cpu_whatever_the_default_device() -> None:
    with torch.device("meta"):
        model = registry.build(MLPSettings(), SPEC)
    assert {tensor.device.type for tensor in model.state_dict().values()} == {"cpu"}
    assert model.mean.device.type == "cpu"


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"mean": (0.5,)}, "3 channels, but 1 values of mean"),
        ({"std": (0.5, 0.5)}, "3 channels, but 2 values of std"),
        ({"std": (0.5, 0.0, 0.5)}, r"std=\(0.5, 0.0, 0.5\)"),
        ({"height": 0}, "0x8 pixels"),
        ({"classes": ()}, "0 classes"),
    ],
)
def test_a_spec_that_cannot_be_is_refused(change: dict[str, typing.Any], cause: str) -> None:
    with pytest.raises(ModelError, match=cause):
        registry.build(MLPSettings(), dataclasses.replace(SPEC, **change))
