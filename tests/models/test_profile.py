from __future__ import annotations

import types

import pytest
import torch
from torch import Tensor

from eyebright.core.device import Plan
from eyebright.core.input_spec import InputSpec
from eyebright.core.settings.model import (
    MLPSettings,
    ModelSettings,
    RegularizedCNNSettings,
    ResNetSettings,
    SimpleCNNSettings,
)
from eyebright.models import profile, registry
from eyebright.models.classifier import Classifier

CIFAR = InputSpec(32, 32, 3, (0.5,) * 3, (0.25,) * 3, tuple("abcdefghij"))
SMALL = InputSpec(8, 8, 1, (0.5,), (0.25,), ("cat", "dog"))

_MLP = 3072 * 512 + 512 * 256 + 256 * 10
_SIMPLE = 32 * 32 * (3 * 9 * 32) + 16 * 16 * (32 * 9 * 64) + 64 * 8 * 8 * 128 + 128 * 10
_RESNET20 = (
    32 * 32 * (9 * 3 * 16 + 6 * 9 * 16 * 16)
    + 16 * 16 * (9 * 16 * 32 + 5 * 9 * 32 * 32)
    + 8 * 8 * (9 * 32 * 64 + 5 * 9 * 64 * 64)
    + 64 * 10
)


def make_plan(dtype: torch.dtype = torch.float32) -> Plan:
    return Plan(torch.device("cpu"), dtype, channels_last=True, threads=1, keep_pages=False)


@pytest.mark.parametrize(
    ("settings", "multiply_adds", "parameters"),
    [
        (MLPSettings(), _MLP, 1_707_274),
        (SimpleCNNSettings(), _SIMPLE, 545_098),
        (ResNetSettings(name="resnet20"), _RESNET20, 269_722),
    ],
)
def test_counts_equal_those_by_hand(settings: ModelSettings, multiply_adds: int, parameters: int) -> None:
    found = profile.profile(registry.build(settings, CIFAR))
    assert found == profile.ModelProfile(settings.name, parameters, parameters, multiply_adds)


def test_frozen_parameters_are_not_trainable() -> None:
    model = registry.build(SimpleCNNSettings(), CIFAR)
    model.body.requires_grad_(requires_grad=False)
    found = profile.profile(model)
    assert (found.parameters, found.trainable) == (545_098, 128 * 10 + 10)


def test_profiling_leaves_the_model_as_it_was() -> None:
    model = registry.build(RegularizedCNNSettings(), SMALL).train()
    model.head.eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    random_state, threads = torch.get_rng_state(), torch.get_num_threads()
    profile.profile(model)
    profile.throughput(model, make_plan(), batch_size=2, seconds=0)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert (model.training, model.body.training, model.head.training) == (True, True, False)
    assert torch.equal(torch.get_rng_state(), random_state)
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_throughput_is_the_median_step_after_the_first(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    # Each step asks the clock twice. Training: the first step takes 90 s, then 1, 2, 6; inference: 90, 4, 5, 3.
    readings = [reading for step in (90, 1, 2, 6, 90, 4, 5, 3) for reading in (100.0, 100.0 + step)]
    clock = types.SimpleNamespace(perf_counter=iter(readings).__next__)
    monkeypatch.setattr(profile, "time", clock)
    found = profile.throughput(registry.build(MLPSettings(), SMALL), make_plan(dtype), batch_size=12, seconds=8)
    assert found == profile.Throughput(training=12 / 2, inference=12 / 4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_throughput_trains_and_then_evaluates_as_planned(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[bool, bool, bool]] = []
    forward = Classifier.forward

    def watched(self: Classifier, images: Tensor) -> Tensor:
        seen.append((self.training, torch.is_grad_enabled(), torch.is_autocast_enabled("cpu")))
        assert images.is_contiguous(memory_format=torch.channels_last)
        return forward(self, images)

    monkeypatch.setattr(Classifier, "forward", watched)
    profile.throughput(registry.build(MLPSettings(), CIFAR).eval(), make_plan(dtype), batch_size=2, seconds=0)
    reduced = dtype == torch.bfloat16
    assert seen == 4 * [(True, True, reduced)] + 4 * [(False, False, reduced)]


def test_throughput_goes_on_until_the_seconds_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = (90, 1, 1, 1, 1, 1, 90, 9, 9, 9)  # seconds=5: five steps; then no fewer than three
    readings = [reading for step in steps for reading in (0.0, float(step))]
    monkeypatch.setattr(profile, "time", types.SimpleNamespace(perf_counter=iter(readings).__next__))
    found = profile.throughput(registry.build(MLPSettings(), SMALL), make_plan(), batch_size=9, seconds=5)
    assert found == profile.Throughput(training=9.0, inference=1.0)
