from __future__ import annotations

import pytest
import torch
from torch import nn

from eyebright.core.input_spec import InputSpec
from eyebright.core.settings.model import MLPSettings
from eyebright.models import registry

CIFAR = InputSpec(32, 32, 3, (0.5,) * 3, (0.25,) * 3, tuple("abcdefghij"))
GREY = InputSpec(4, 5, 1, (0.5,), (0.25,), ("cat", "dog"))


@pytest.mark.parametrize(
    ("hidden", "spec", "expected"),
    [
        ((512, 256), CIFAR, (3072 * 512 + 512) + (512 * 256 + 256) + (256 * 10 + 10)),
        ((7,), GREY, (20 * 7 + 7) + (7 * 2 + 2)),
        ((), GREY, 20 * 2 + 2),  # logistic regression
    ],
)
def test_parameters(hidden: tuple[int, ...], spec: InputSpec, expected: int) -> None:
    model = registry.build(MLPSettings(hidden=hidden), spec)
    assert sum(parameter.numel() for parameter in model.parameters()) == expected


def test_it_computes_relu_layers() -> None:
    model = registry.build(MLPSettings(hidden=(3,)), GREY)
    first, head = (layer for layer in model.modules() if isinstance(layer, nn.Linear))
    images = torch.arange(40, dtype=torch.uint8).view(2, 1, 4, 5)
    x = (images.view(2, 20) / 255 - 0.5) / 0.25
    expected = (x @ first.weight.T + first.bias).clamp(min=0) @ head.weight.T + head.bias
    torch.testing.assert_close(model(images), expected)


def test_dropout_follows_every_hidden_layer() -> None:
    model = registry.build(MLPSettings(hidden=(8, 8), dropout=0.25), GREY)
    assert [layer.p for layer in model.modules() if isinstance(layer, nn.Dropout)] == [0.25, 0.25]
    plain = registry.build(MLPSettings(hidden=(8, 8)), GREY)
    assert not any(isinstance(layer, nn.Dropout) for layer in plain.modules())
