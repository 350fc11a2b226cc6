from __future__ import annotations

import pytest
import torch
from torch import nn

from eyebright.core.errors import ModelError
from eyebright.core.input_spec import InputSpec
from eyebright.core.settings.model import WideResNetSettings
from eyebright.models import registry, wide_resnet
from eyebright.models.wide_resnet import PreActivationBlock

CIFAR = InputSpec(32, 32, 3, (0.5,) * 3, (0.25,) * 3, tuple("abcdefghij"))


def expected_parameters(depth: int, width: int) -> int:
    """For CIFAR-10: convolutions, the scale and shift of every normalisation, the head."""
    blocks = (depth - 4) // 6
    total, inputs = 9 * 3 * 16, 16
    for outputs in (16 * width, 32 * width, 64 * width):
        total += 9 * inputs * outputs + 9 * outputs * outputs * (2 * blocks - 1)
        total += 2 * inputs + 2 * outputs * (2 * blocks - 1)
        total += inputs * outputs if inputs != outputs else 0  # the 1x1 projection
        inputs = outputs
    return total + 2 * inputs + inputs * 10 + 10


def count(depth: int, width: int) -> int:
    with torch.device("meta"):  # counts without filling 36 million weights
        model = wide_resnet.build(WideResNetSettings(depth=depth, width=width), CIFAR)
    return sum(parameter.numel() for parameter in model.parameters())


def test_parameters_for_cifar10() -> None:
    assert count(16, 4) == expected_parameters(16, 4) == 2_748_890
    assert count(10, 1) == expected_parameters(10, 1)


@pytest.mark.parametrize(("depth", "width", "millions"), [(40, 4, 8.9), (16, 8, 11.0), (28, 10, 36.5)])
def test_parameters_of_the_papers_table_4(depth: int, width: int, millions: float) -> None:
    assert round(count(depth, width) / 1e6, 1) == millions


def test_an_identity_shortcut_carries_the_input_as_it_came() -> None:
    block = PreActivationBlock(4, 4, 1, dropout=0.0)
    last = block.residual.get_submodule("convolution2")
    assert isinstance(last, nn.Conv2d)
    nn.init.zeros_(last.weight)
    x = torch.randn(2, 4, 5, 5)
    assert torch.equal(block(x), x)


def test_a_projection_takes_the_activated_input() -> None:
    block = PreActivationBlock(2, 3, 2, dropout=0.0).eval()  # fresh running statistics: normalisation does nothing
    last = block.residual.get_submodule("convolution2")
    assert isinstance(last, nn.Conv2d)
    assert block.projection is not None
    nn.init.zeros_(last.weight)
    x = torch.randn(2, 2, 5, 5)
    subsampled = x.clamp(min=0)[:, :, ::2, ::2]
    expected = torch.einsum("oc,bchw->bohw", block.projection.weight[:, :, 0, 0], subsampled)
    torch.testing.assert_close(block(x), expected, rtol=1e-4, atol=1e-4)


def test_dropout_lies_between_the_convolutions_of_every_block() -> None:
    model = registry.build(WideResNetSettings(depth=10, width=1, dropout=0.3), CIFAR)
    blocks = [layer for layer in model.modules() if isinstance(layer, PreActivationBlock)]
    assert len(blocks) == 3
    for block in blocks:
        names = [name for name, _ in block.residual.named_children()]
        assert names == ["convolution1", "activation", "dropout", "convolution2"]


@pytest.mark.parametrize(("depth", "remedy"), [(4, "10 or model.depth=16"), (1, "10 or"), (17, "16 or model.depth=22")])
def test_another_depth_than_6_n_plus_4_is_refused(depth: int, remedy: str) -> None:
    with pytest.raises(ModelError, match=rf"depth={depth}(.|\n)*Use model.depth={remedy}"):
        registry.build(WideResNetSettings(depth=depth), CIFAR)
