"""Muon against singular value decompositions and torch's SGD."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from eyebright.core.input_spec import InputSpec
from eyebright.core.settings.model import SpeedNetSettings
from eyebright.core.settings.optimizer import MuonSettings
from eyebright.models import registry
from eyebright.training import muon, optimizers
from eyebright.training.muon import Muon, orthogonalised

SPEC = InputSpec(12, 12, 3, (0.5,) * 3, (0.25,) * 3, ("a", "b"))


@pytest.mark.parametrize("shape", [(6, 4, 3, 3), (40, 2, 3, 3), (5, 5, 1, 1)])
def test_orthogonalised_kernels_have_singular_values_near_one(shape: tuple[int, ...]) -> None:
    kernel = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    kernel *= 1e-3  # the length of the gradient must not matter
    values = torch.linalg.svdvals(orthogonalised(kernel, 6).flatten(1))
    assert bool(((values > 0.6) & (values < 1.3)).all()), values


def test_orthogonalising_keeps_the_singular_vectors() -> None:
    kernel = torch.randn(8, 3, 3, 3, generator=torch.Generator().manual_seed(1))
    u, _, v = torch.linalg.svd(kernel.flatten(1), full_matrices=False)
    turned = u.T @ orthogonalised(kernel, 6).flatten(1) @ v.T  # diagonal, if the vectors are the same
    off_diagonal = turned - torch.diag(turned.diagonal())
    assert float(off_diagonal.abs().max()) < 0.05


def test_the_order_of_the_columns_does_not_matter() -> None:
    kernel = torch.randn(6, 4, 3, 3, generator=torch.Generator().manual_seed(2))
    nhwc = kernel.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(orthogonalised(nhwc, 4), orthogonalised(kernel, 4))
    swapped = orthogonalised(kernel.flip(3), 4).flip(3)
    torch.testing.assert_close(swapped, orthogonalised(kernel, 4), rtol=0, atol=0.02)  # bfloat16 sums


@pytest.mark.parametrize("able", [True, False])
def test_products_are_in_bfloat16_only_where_the_machine_has_it(monkeypatch: pytest.MonkeyPatch, able: bool) -> None:
    monkeypatch.setattr(muon, "computes_bfloat16", lambda _device: able)
    kernel = torch.randn(6, 4, 3, 3, generator=torch.Generator().manual_seed(3))
    turned = orthogonalised(kernel, 4)
    assert turned.dtype == torch.float32
    rounded = torch.equal(turned, turned.bfloat16().float())
    assert rounded == able
    values = torch.linalg.svdvals(turned.flatten(1))
    assert bool(((values > 0.6) & (values < 1.3)).all()), values


def test_a_gradient_of_zeros_moves_nothing() -> None:
    assert not orthogonalised(torch.zeros(4, 2, 3, 3), 3).any()


def test_other_parameters_step_as_under_torchs_sgd() -> None:
    ours, theirs = (nn.Parameter(torch.ones(5)) for _ in "12")
    mine = Muon([{"params": [ours], "lr": 0.1, "momentum": 0.8, "orthogonal": False}])
    reference = torch.optim.SGD([theirs], lr=0.1, momentum=0.8, nesterov=True)
    for step in range(4):
        for parameter, optimizer in ((ours, mine), (theirs, reference)):
            parameter.grad = torch.arange(5.0) - step
            optimizer.step()
    torch.testing.assert_close(ours, theirs)


def test_decay_follows_the_schedule() -> None:
    parameter = nn.Parameter(torch.ones(1))
    optimizer = Muon([{"params": [parameter], "lr": 1.0, "momentum": 0.0, "weight_decay": 0.5}])
    for factor, expected in ((1.0, 0.5), (0.5, 0.375), (0.0, 0.375)):
        optimizer.param_groups[0]["lr"] = factor
        parameter.grad = torch.zeros(1)
        optimizer.step()
        assert parameter.item() == expected


def test_fix_norm_rescales_before_the_step() -> None:
    kernel = nn.Parameter(torch.full((4, 2, 3, 3), 7.0))
    optimizer = Muon([{"params": [kernel], "lr": 0.0, "momentum": 0.9, "orthogonal": True, "fix_norm": True}])
    kernel.grad = torch.randn(4, 2, 3, 3)
    optimizer.step()
    assert kernel.norm().item() == pytest.approx(2.0, rel=1e-5)  # sqrt(4 outputs)


def test_a_step_is_as_long_as_the_learning_rate_says() -> None:
    kernel = nn.Parameter(torch.zeros(4, 4, 3, 3))
    optimizer = Muon([{"params": [kernel], "lr": 0.25, "momentum": 0.9, "orthogonal": True, "iterations": 8}])
    kernel.grad = torch.randn(4, 4, 3, 3, generator=torch.Generator().manual_seed(3))
    optimizer.step()
    values = torch.linalg.svdvals(kernel.detach().flatten(1)) / 0.25
    assert bool(((values > 0.6) & (values < 1.3)).all())


def test_kernels_turn_and_the_head_and_vectors_do_not() -> None:
    model = registry.build(SpeedNetSettings(widths=(4, 4, 4)), SPEC)
    groups = optimizers.build(MuonSettings(lr=0.3, head_lr=0.2, vector_lr=0.1), model).param_groups
    shapes = [[p.ndim for p in group["params"]] for group in groups]
    assert shapes == [[4] * 6, [1] * 7, [2]]
    assert [group["orthogonal"] for group in groups] == [True, False, False]
    assert [group["initial_lr"] for group in groups] == [0.3, 0.1, 0.2]


def test_a_closure_is_refused() -> None:
    with pytest.raises(ValueError, match="closure"):
        Muon([{"params": [nn.Parameter(torch.ones(1))], "lr": 0.1, "momentum": 0.0}]).step(lambda: 0.0)
