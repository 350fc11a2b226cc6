"""Gradients against torch's own, by hand; and that everything is given back."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from eyebright.audit.gradients import gradients, movement, trained_layers
from eyebright.core import device
from eyebright.core.errors import DataError
from eyebright.core.input_spec import InputSpec
from eyebright.core.settings.model import LadderCNNSettings, MLPSettings, RegularizedCNNSettings, ResNetSettings
from eyebright.data.image_set import Splits
from eyebright.models.classifier import Classifier
from eyebright.models.registry import build

SPEC = InputSpec(8, 8, 3, (0.5,) * 3, (0.25,) * 3, ("dark", "grey", "light"))
PLAN = device.choose("cpu", "fp32", 1)


def test_norms_are_those_of_the_mean_loss_over_the_batches(shades: Splits) -> None:
    model = build(RegularizedCNNSettings(), SPEC, seed=3).eval()
    # 64 images are one batch, whose order does not matter; their labels are those of the next class.
    whole = {layer.layer: layer for layer in gradients(model, shades.train.take(range(64)), plan=PLAN)}
    assert list(whole) == ["body.stage1.convolution1", "body.stage2.convolution1", "body.hidden.linear", "head"]
    images = torch.from_numpy(shades.train.take(range(64)).images).permute(0, 3, 1, 2)
    wrong = (torch.from_numpy(shades.train.labels[:64]) + 1) % 3
    F.cross_entropy(model(images), wrong).backward()  # type: ignore[no-untyped-call]
    for name, weight in trained_layers(model):
        assert weight.grad is not None
        assert whole[name].norm == pytest.approx(float(weight.grad.norm()), rel=1e-4)
        assert whole[name].units == len(weight)
        assert whole[name].idle == int((weight.grad.flatten(1) == 0).all(dim=1).sum())


def test_several_batches_are_averaged_as_squares(shades: Splits) -> None:
    model = build(MLPSettings(hidden=(8,)), SPEC, seed=1)
    one = shades.train.take([0] * 64)  # every batch is the same, in any order
    assert gradients(model, shades.train.take([0] * 192), plan=PLAN) == gradients(model, one, plan=PLAN)


def test_a_unit_behind_a_dead_relu_is_idle(shades: Splits) -> None:
    model = build(MLPSettings(hidden=(16, 12)), SPEC, seed=0)
    with torch.no_grad():
        model.get_parameter("body.stage2.linear.bias")[:5] = -1e6
        active = model.features(torch.from_numpy(shades.train.images).permute(0, 3, 1, 2)) > 0  # (N, 12)
    found = {layer.layer: layer for layer in gradients(model, shades.train, plan=PLAN)}
    assert found["body.stage2.linear"].idle == int((~active.any(dim=0)).sum())
    assert 5 <= found["body.stage2.linear"].idle < found["body.stage2.linear"].units == 12
    assert found["head"].idle == 0


def test_a_network_that_knows_everything_still_shows_where_errors_go(shades: Splits) -> None:
    model = build(MLPSettings(hidden=(16,)), SPEC, seed=0)
    with torch.no_grad():
        model.get_parameter("head.weight").mul_(1e4)  # so sure that its own answers have no loss
    assert all(layer.norm > 0 for layer in gradients(model, shades.train, plan=PLAN))


def test_everything_is_given_back(shades: Splits) -> None:
    model = build(LadderCNNSettings(widths=(8, 8), hidden=16, dropout=0.5), SPEC, seed=0).train()
    model.get_submodule("body.stage2").eval()
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 7.0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [layer.training for layer in model.modules()]
    random = torch.get_rng_state()
    first = gradients(model, shades.train, count=50, plan=PLAN)
    assert gradients(model, shades.train, count=50, plan=PLAN) == first
    assert [layer.training for layer in model.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is not None and (parameter.grad == 7).all() for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), random)


def test_frozen_and_unused_layers_are_left_out(shades: Splits) -> None:
    model = build(ResNetSettings(name="resnet20"), SPEC, seed=0)
    everything = [name for name, _ in trained_layers(model)]
    assert len(everything) == 20  # 19 convolutions and the head; shortcuts have no weights
    model.body.requires_grad_(False)
    assert [layer.layer for layer in gradients(model, shades.train, count=8, plan=PLAN)] == ["head"]
    spare = build(MLPSettings(hidden=(4,)), SPEC, seed=0)
    spare.add_module("unused", nn.Linear(3, 3))
    assert "unused" not in [layer.layer for layer in gradients(spare, shades.train, count=8, plan=PLAN)]


def test_without_images_there_is_nothing_to_measure(shades: Splits) -> None:
    model = build(MLPSettings(), SPEC)
    with pytest.raises(DataError, match="without images"):
        gradients(model, shades.train.take([]))


def test_movement_is_the_share_of_the_initial_length() -> None:
    initial, trained = (build(MLPSettings(hidden=(4,)), SPEC, seed=5) for _ in range(2))
    with torch.no_grad():
        trained.get_parameter("body.stage1.linear.weight").mul_(1.5)
        initial.get_parameter("head.weight").zero_()
    moved = movement(initial, trained)
    assert moved == {"body.stage1.linear": pytest.approx(0.5), "head": math.inf}
    same: Classifier = build(MLPSettings(hidden=(4,)), SPEC, seed=5)
    assert movement(same, same) == {"body.stage1.linear": 0.0, "head": 0.0}
