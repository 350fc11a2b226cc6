from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from torch import nn

from eyebright.core.errors import ModelError
from eyebright.core.input_spec import InputSpec
from eyebright.core.settings.model import LadderCNNSettings
from eyebright.models import registry
from eyebright.models.classifier import Classifier


def make_spec(height: int = 32, width: int = 32, channels: int = 3, classes: int = 10) -> InputSpec:
    names = tuple(f"class {number}" for number in range(classes))
    return InputSpec(height, width, channels, (0.5,) * channels, (0.25,) * channels, names)


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def kinds(model: Classifier) -> list[str]:
    return [type(layer).__name__ for layer in model.modules() if not list(layer.children())]


def test_parameters_for_cifar10() -> None:
    convolutions = 9 * (3 * 32 + 32 * 32 + 32 * 64 + 64 * 64 + 64 * 128 + 128 * 128)
    dense = 128 * 4 * 4 * 128 + (128 * 10 + 10)
    units = 2 * (32 + 64 + 128) + 128  # each has a bias, or under batch normalisation a scale and a shift
    plain = registry.build(LadderCNNSettings(batch_norm=False), make_spec())
    normalised = registry.build(LadderCNNSettings(batch_norm=True), make_spec())
    assert parameters(plain) == convolutions + dense + units == 550_570
    assert parameters(normalised) == convolutions + dense + 2 * units


@hypothesis_settings(max_examples=25, deadline=None, derandomize=True)
@given(
    widths=st.lists(st.integers(1, 6), min_size=1, max_size=3),
    hidden=st.integers(1, 9),
    batch_norm=st.booleans(),
    channels=st.sampled_from([1, 3]),
    extra=st.tuples(st.integers(0, 9), st.integers(0, 9)),
)
def test_any_ladder_has_the_parameters_and_the_shape_of_its_formula(
    widths: list[int], hidden: int, batch_norm: bool, channels: int, extra: tuple[int, int]
) -> None:
    smallest = 2 ** len(widths)
    spec = make_spec(smallest + extra[0], smallest + extra[1], channels, classes=4)
    model = registry.build(LadderCNNSettings(widths=tuple(widths), hidden=hidden, batch_norm=batch_norm), spec).eval()
    pairs = list(zip([channels, *widths], widths, strict=False))
    convolutions = sum(9 * (inputs * outputs + outputs * outputs) for inputs, outputs in pairs)
    pixels = (spec.height // smallest) * (spec.width // smallest)
    units = 2 * sum(widths) + hidden
    expected = convolutions + widths[-1] * pixels * hidden + hidden * 4 + 4 + units * (2 if batch_norm else 1)
    assert parameters(model) == expected
    with torch.no_grad():
        assert model(torch.zeros(2, channels, spec.height, spec.width)).shape == (2, 4)


def test_the_plain_ladder_is_plain() -> None:
    model = registry.build(LadderCNNSettings(batch_norm=False), make_spec())
    block = ["Conv2d", "ReLU", "Conv2d", "ReLU", "MaxPool2d"]
    assert kinds(model) == 3 * block + ["Flatten", "Linear", "ReLU", "Linear"]
    # PyTorch's default: uniform within 1 / sqrt(inputs), whose deviation is 1 / sqrt(3 inputs).
    layer = model.get_submodule("body.stage3.convolution2")
    assert isinstance(layer, nn.Conv2d)
    assert float(layer.weight.std().detach()) == pytest.approx((3 * 128 * 9) ** -0.5, rel=0.02)


def test_every_switch_adds_its_layers() -> None:
    model = registry.build(LadderCNNSettings(batch_norm=True, dropout=0.3), make_spec())
    block = ["Conv2d", "BatchNorm2d", "ReLU", "Conv2d", "BatchNorm2d", "ReLU", "MaxPool2d", "Dropout"]
    assert kinds(model) == 3 * block + ["Flatten", "Linear", "BatchNorm1d", "ReLU", "Dropout", "Linear"]
    assert {layer.p for layer in model.modules() if isinstance(layer, nn.Dropout)} == {0.3}


def test_a_smaller_image_than_the_pools_need_is_refused() -> None:
    registry.build(LadderCNNSettings(widths=(4, 4, 4, 4)), make_spec(16, 16))
    with pytest.raises(ModelError, match=r"halves its input 4 times(.|\n)*at least 16x16 pixels"):
        registry.build(LadderCNNSettings(widths=(4, 4, 4, 4)), make_spec(15, 16))
