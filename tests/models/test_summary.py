from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from eyebright.core.input_spec import InputSpec
from eyebright.core.settings.model import MLPSettings, RegularizedCNNSettings, ResNetSettings, SimpleCNNSettings
from eyebright.models import registry
from eyebright.models.classifier import Classifier
from eyebright.models.summary import Layer, summary

CIFAR = InputSpec(32, 32, 3, (0.5,) * 3, (0.25,) * 3, tuple("abcdefghij"))
GREY = InputSpec(4, 4, 1, (0.5,), (0.25,), ("a", "b", "c"))


def test_every_layer_by_hand() -> None:
    found = summary(registry.build(SimpleCNNSettings(), CIFAR))
    assert found.layers == (
        Layer("stage1.convolution1", "Conv2d", (32, 32, 32), 32 * 27 + 32, 32 * 32 * 32 * 27),
        Layer("stage1.relu1", "ReLU", (32, 32, 32), 0, 0),
        Layer("stage1.pool", "MaxPool2d", (32, 16, 16), 0, 0),
        Layer("stage2.convolution1", "Conv2d", (64, 16, 16), 64 * 9 * 32 + 64, 16 * 16 * 64 * 9 * 32),
        Layer("stage2.relu1", "ReLU", (64, 16, 16), 0, 0),
        Layer("stage2.pool", "MaxPool2d", (64, 8, 8), 0, 0),
        Layer("flatten", "Flatten", (4096,), 0, 0),
        Layer("hidden.linear", "Linear", (128,), 4096 * 128 + 128, 4096 * 128),
        Layer("hidden.relu", "ReLU", (128,), 0, 0),
        Layer("head", "Linear", (10,), 128 * 10 + 10, 128 * 10),
    )


@pytest.mark.parametrize("settings", [MLPSettings(), RegularizedCNNSettings(), ResNetSettings(name="resnet20")])
def test_layers_add_up_to_the_whole(settings: MLPSettings | RegularizedCNNSettings | ResNetSettings) -> None:
    found = summary(registry.build(settings, CIFAR))
    assert sum(layer.parameters for layer in found.layers) == found.profile.parameters
    assert sum(layer.multiply_adds for layer in found.layers) == found.profile.multiply_adds


def test_the_printed_table() -> None:
    lines = str(summary(registry.build(MLPSettings(hidden=(1000,)), CIFAR))).splitlines()
    assert lines[0] == "mlp: 3,083,010 parameters, 3,082,000 multiply-adds for one image"
    assert lines[1].split() == ["layer", "kind", "output", "parameters", "multiply-adds"]
    assert lines[2].split() == ["flatten", "Flatten", "3072"]
    assert lines[-1].split() == ["head", "Linear", "10", "10,010", "10,000"]
    assert len(lines[1]) == len(lines[3]) == len(lines[-1])  # numbers stand flush right


class _Twice(nn.Module):
    """Uses its one layer two times."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(16, 16, bias=False)
        self.bend = nn.Tanh()

    def forward(self, images: Tensor) -> Tensor:
        bent: Tensor = self.bend(self.mix(self.mix(images.flatten(1))))
        return bent


def test_a_layer_that_is_used_twice_costs_twice_and_is_counted_once() -> None:
    model = Classifier(_Twice(), nn.Linear(16, 3), GREY, MLPSettings())
    mix, bend, head = summary(model).layers
    assert (mix.name, mix.parameters, mix.multiply_adds) == ("mix", 16 * 16, 2 * 16 * 16)
    assert (bend.name, head.name) == ("bend", "head")


def test_a_body_of_one_layer_has_a_name() -> None:
    model = Classifier(nn.Flatten(), nn.Linear(16, 3), GREY, MLPSettings())
    assert [layer.name for layer in summary(model).layers] == ["body", "head"]


def test_the_model_is_given_back_as_it_was() -> None:
    model = registry.build(RegularizedCNNSettings(), CIFAR).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    summary(model)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(layer._forward_hooks or layer._forward_pre_hooks for layer in model.modules())
