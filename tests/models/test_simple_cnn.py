from __future__ import annotations

import pytest
import torch
from torch import nn

from eyebright.core.errors import ModelError
from eyebright.core.input_spec import InputSpec
from eyebright.core.settings.model import RegularizedCNNSettings, SimpleCNNSettings
from eyebright.models import registry


def make_spec(height: int = 32, width: int = 32, channels: int = 3, classes: int = 10) -> InputSpec:
    names = tuple(f"class {number}" for number in range(classes))
    return InputSpec(height, width, channels, (0.5,) * channels, (0.25,) * channels, names)


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_parameters_for_cifar10() -> None:
    first, second = 3 * 9 * 32 + 32, 32 * 9 * 64 + 64
    hidden, head = 64 * 8 * 8 * 128 + 128, 128 * 10 + 10
    assert first + second + hidden + head == 545_098
    assert parameters(registry.build(SimpleCNNSettings(), make_spec())) == 545_098
    # The two biases that batch normalisation makes idle go; its scale and shift come.
    expected = 545_098 - (32 + 64) + 2 * (32 + 64)
    assert parameters(registry.build(RegularizedCNNSettings(), make_spec())) == expected


def test_parameters_for_grey_faces_of_odd_size() -> None:
    expected = (9 * 32 + 32) + (32 * 9 * 64 + 64) + (64 * 7 * 12 * 128 + 128) + (128 * 5 + 5)
    model = registry.build(SimpleCNNSettings(), make_spec(30, 51, 1, classes=5))  # 30 -> 15 -> 7, 51 -> 25 -> 12
    assert parameters(model) == expected


@pytest.mark.parametrize("regularized", [False, True])
def test_it_equals_the_network_of_the_textbook(regularized: bool) -> None:
    settings = RegularizedCNNSettings() if regularized else SimpleCNNSettings()
    model = registry.build(settings, make_spec()).eval()
    layers: list[nn.Module] = []
    for inputs, outputs in ((3, 32), (32, 64)):
        layers.append(nn.Conv2d(inputs, outputs, kernel_size=3, padding=1, bias=not regularized))
        layers += [nn.BatchNorm2d(outputs)] if regularized else []
        layers += [nn.ReLU(), nn.MaxPool2d(kernel_size=2)]
    layers += [nn.Flatten(), nn.Linear(4096, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, 10)]
    textbook = nn.Sequential(*layers).eval()
    weights = zip(textbook.state_dict(), model.state_dict().values(), strict=True)
    textbook.load_state_dict(dict(weights))
    images = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        torch.testing.assert_close(model(images), textbook((images / 255 - 0.5) / 0.25))


def test_dropout_is_as_strong_as_asked() -> None:
    model = registry.build(RegularizedCNNSettings(dropout=0.5), make_spec()).train()
    features = model.features(torch.full((64, 3, 32, 32), 200, dtype=torch.uint8))  # 64 x 128, all images alike
    alive = features[:, features.any(dim=0)]
    assert 0.4 < float((alive == 0).float().mean()) < 0.6


@pytest.mark.parametrize("settings", [SimpleCNNSettings(), RegularizedCNNSettings()])
def test_the_smallest_input_is_four_pixels(settings: SimpleCNNSettings | RegularizedCNNSettings) -> None:
    registry.build(settings, make_spec(4, 4))
    with pytest.raises(ModelError, match=r"32x3 pixels are too few.\nUse images of at least 4x4 pixels"):
        registry.build(settings, make_spec(32, 3))
