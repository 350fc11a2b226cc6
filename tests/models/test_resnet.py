from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eyebright.core.input_spec import InputSpec
from eyebright.core.settings.model import ResNetSettings
from eyebright.models import registry
from eyebright.models.resnet import PaddedShortcut, ResidualBlock

CIFAR = InputSpec(32, 32, 3, (0.5,) * 3, (0.25,) * 3, tuple("abcdefghij"))


def small_parameters(blocks: int) -> int:
    """Parameters of the paper's network of 6 n + 2 layers for CIFAR-10, n blocks a stage."""
    later = 2 * blocks - 1  # convolutions of a stage whose channels do not change
    stem = 9 * 3 * 16
    stage1 = 9 * 16 * 16 * (later + 1)
    stage2 = 9 * 16 * 32 + 9 * 32 * 32 * later
    stage3 = 9 * 32 * 64 + 9 * 64 * 64 * later
    norms = 2 * (16 + 2 * blocks * (16 + 32 + 64))
    return stem + stage1 + stage2 + stage3 + norms + (64 * 10 + 10)


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_parameters_of_the_paper() -> None:
    resnet20 = parameters(registry.build(ResNetSettings(name="resnet20"), CIFAR))
    resnet56 = parameters(registry.build(ResNetSettings(name="resnet56"), CIFAR))
    assert resnet20 == small_parameters(3) == 269_722
    assert resnet56 == small_parameters(9) == 853_018
    assert (round(resnet20 / 1e6, 2), round(resnet56 / 1e6, 2)) == (0.27, 0.85)  # the paper's table 6


def test_parameters_of_resnet18() -> None:
    expected = 9 * 3 * 64 + 2 * 64 + 4 * (9 * 64 * 64 + 2 * 64)  # stem and stage 1
    for inputs, outputs in ((64, 128), (128, 256), (256, 512)):
        expected += 9 * inputs * outputs + 3 * 9 * outputs * outputs + 4 * 2 * outputs  # four convolutions
        expected += inputs * outputs + 2 * outputs  # projection
    expected += 512 * 10 + 10
    assert parameters(registry.build(ResNetSettings(name="resnet18"), CIFAR)) == expected == 11_173_962


def test_stages_halve_the_map() -> None:
    model = registry.build(ResNetSettings(name="resnet20"), CIFAR).eval()
    shapes = {}
    x = torch.zeros(1, 3, 32, 32)
    with torch.no_grad():
        for name, stage in model.body.named_children():
            x = stage(x)
            shapes[name] = tuple(x.shape[1:])
    assert shapes == {
        "stem": (16, 32, 32),
        "stage1": (16, 32, 32),
        "stage2": (32, 16, 16),
        "stage3": (64, 8, 8),
        "pool": (64, 1, 1),
        "flatten": (64,),
    }


def reference(weights: dict[str, Tensor], x: Tensor) -> Tensor:
    """ResNet-20 in evaluation mode, written out again from the paper over the weights in their order."""
    tensors = iter(weights.values())

    def convolution_and_norm(x: Tensor, stride: int) -> Tensor:
        kernel, scale, shift, mean, variance, _ = (next(tensors) for _ in range(6))
        x = F.conv2d(x, kernel, stride=stride, padding=1)
        return F.batch_norm(x, mean, variance, scale, shift)

    x = F.relu(convolution_and_norm(x, 1))
    for stage in range(3):
        for block in range(3):
            stride = 2 if stage > 0 and block == 0 else 1
            shortcut = x
            x = convolution_and_norm(F.relu(convolution_and_norm(x, stride)), 1)
            if stride == 2:
                shortcut = F.avg_pool2d(shortcut, 1, stride=2)
                shortcut = torch.cat([shortcut, torch.zeros_like(shortcut)], dim=1)
            x = F.relu(x + shortcut)
    weight, bias = tensors
    return F.linear(x.mean(dim=(2, 3)), weight, bias)


def test_resnet20_equals_the_paper_written_out_again() -> None:
    model = registry.build(ResNetSettings(name="resnet20"), CIFAR)
    images = torch.randint(0, 256, (4, 3, 32, 32), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        model(images)  # moves the running statistics away from 0 and 1
        model.eval()
        expected = reference(model.state_dict(), (images / 255 - 0.5) / 0.25)
        torch.testing.assert_close(model(images), expected, rtol=1e-4, atol=1e-4)


def test_the_padded_shortcut_takes_every_second_pixel_and_adds_zeros() -> None:
    x = torch.arange(9.0).view(1, 1, 3, 3)
    expected = torch.tensor([[[[0.0, 2.0], [6.0, 8.0]], [[0.0, 0.0], [0.0, 0.0]]]])
    assert torch.equal(PaddedShortcut(channels=1, stride=2)(x), expected)


def test_a_block_whose_residual_is_zero_is_the_relu_of_its_shortcut() -> None:
    block = ResidualBlock(2, 2, 1, nn.Identity())
    last = block.residual.get_submodule("norm2")
    assert isinstance(last, nn.BatchNorm2d)
    nn.init.zeros_(last.weight)
    x = torch.randn(3, 2, 5, 5)
    assert torch.equal(block(x), x.clamp(min=0))


def test_initialisation_is_he_normal() -> None:
    model = registry.build(ResNetSettings(name="resnet18"), CIFAR)
    layer = model.get_submodule("body.stage3.block1.residual.convolution1")  # 128 -> 256 channels
    assert isinstance(layer, nn.Conv2d)
    assert float(layer.weight.std().detach()) == pytest.approx((2 / (9 * 256)) ** 0.5, rel=0.01)
    assert isinstance(model.head, nn.Linear)
    assert not bool(model.head.bias.any())
