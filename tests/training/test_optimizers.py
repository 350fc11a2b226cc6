"""Optimisers: the settings arrive, and vectors are spared from decay."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from eyebright.core.input_spec import InputSpec
from eyebright.core.settings.model import MLPSettings
from eyebright.core.settings.optimizer import AdamSettings, AdamWSettings, OptimizerSettings, SGDSettings
from eyebright.core.settings.training import TrainingSettings
from eyebright.models import registry
from eyebright.training import optimizers


def model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2))


@pytest.mark.parametrize("settings", [AdamWSettings(weight_decay=0.1), SGDSettings(weight_decay=0.1)])
def test_matrices_decay_and_vectors_do_not(settings: OptimizerSettings) -> None:
    groups = optimizers.build(settings, model()).param_groups
    decay = {parameter.ndim: group["weight_decay"] for group in groups for parameter in group["params"]}
    assert decay == {4: 0.1, 2: 0.1, 1: 0.0}


@pytest.mark.parametrize("settings", [AdamSettings(lr=0.1), AdamWSettings(lr=0.1), SGDSettings(lr=0.1)])
def test_stages_learn_the_slower_the_deeper_they_lie(settings: OptimizerSettings) -> None:
    spec = InputSpec(8, 8, 3, (0.5,) * 3, (0.25,) * 3, ("a", "b"))
    net = registry.build(MLPSettings(hidden=(4, 4)), spec)
    optimizer = optimizers.build(settings, net, TrainingSettings(stage_decay=0.5))
    rates = {id(parameter): group["lr"] for group in optimizer.param_groups for parameter in group["params"]}
    found = {name.rpartition(".")[0]: rates[id(parameter)] for name, parameter in net.named_parameters()}
    assert found == {"body.stage1.linear": 0.025, "body.stage2.linear": 0.05, "head": 0.1}
    assert optimizer.param_groups[0]["initial_lr"] == 0.1  # what the history reports
    decays = [group["weight_decay"] for group in optimizers.build(settings, net).param_groups]
    assert {group["weight_decay"] for group in optimizer.param_groups} == set(decays)


def test_frozen_parameters_are_left_out() -> None:
    net = model()
    net[0].requires_grad_(False)
    groups = optimizers.build(SGDSettings(), net).param_groups
    assert sum(len(group["params"]) for group in groups) == 4


@pytest.mark.parametrize(
    ("settings", "reference"),
    [
        (AdamSettings(lr=0.01, weight_decay=0.1), lambda p: torch.optim.Adam(p, 0.01, weight_decay=0.1)),
        (AdamWSettings(lr=0.01, weight_decay=0.0), lambda p: torch.optim.AdamW(p, 0.01, weight_decay=0.0)),
        (
            SGDSettings(lr=0.01, momentum=0.8, weight_decay=0.0),
            lambda p: torch.optim.SGD(p, 0.01, momentum=0.8, nesterov=True),
        ),
        (SGDSettings(lr=0.01, momentum=0.0, weight_decay=0.0), lambda p: torch.optim.SGD(p, 0.01)),
    ],
)
def test_steps_equal_those_of_the_plain_optimiser(settings: OptimizerSettings, reference) -> None:  # type: ignore[no-untyped-def]  # a lambda of torch's classes
    # Without batch norm: the gradient of a bias before it is noise around 0, which Adam blows up.
    ours, theirs = (nn.Sequential(*(layer for layer in model() if not isinstance(layer, nn.BatchNorm2d))) for _ in "12")
    pairs = ((ours, optimizers.build(settings, ours)), (theirs, reference(theirs.parameters())))
    images = torch.randn(5, 3, 4, 4)
    for net, optimizer in pairs:
        for _ in range(3):
            optimizer.zero_grad()
            net(images).square().sum().backward()
            optimizer.step()
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other)
