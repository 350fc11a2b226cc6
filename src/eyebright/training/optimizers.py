"""Optimisers from their settings, one function each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from eyebright.core.settings.optimizer import (
    AdamSettings,
    AdamWSettings,
    MuonSettings,
    OptimizerSettings,
    SGDSettings,
)
from eyebright.training.muon import Muon


def build(settings: OptimizerSettings, model: nn.Module) -> torch.optim.Optimizer:
    """The optimiser of all trainable parameters of `model`.

    Each group keeps its full learning rate as `initial_lr`, which the schedule multiplies.
    """
    optimizer = _BUILDERS[type(settings)](settings, model)
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
    return optimizer


def _adam(settings: AdamSettings, model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam(
        _trainable(model),
        lr=settings.lr,
        betas=settings.betas,
        eps=settings.eps,
        weight_decay=settings.weight_decay,
        fused=True,
    )


def _adamw(settings: AdamWSettings, model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(
        _by_decay(model, settings.weight_decay),
        lr=settings.lr,
        betas=settings.betas,
        eps=settings.eps,
        fused=True,
    )


def _sgd(settings: SGDSettings, model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(
        _by_decay(model, settings.weight_decay),
        lr=settings.lr,
        momentum=settings.momentum,
        nesterov=settings.nesterov and settings.momentum > 0,
        fused=True,
    )


def _muon(settings: MuonSettings, model: nn.Module) -> torch.optim.Optimizer:
    head = {id(parameter) for parameter in model.get_submodule("head").parameters()}
    body = [p for p in _trainable(model) if id(p) not in head]
    others = {"momentum": settings.other_momentum, "weight_decay": settings.weight_decay}
    groups = [
        {
            "params": [p for p in body if p.ndim > 1],
            "lr": settings.lr,
            "momentum": settings.momentum,
            "orthogonal": True,
            "fix_norm": settings.fix_norm,
            "iterations": settings.iterations,
        },
        {"params": [p for p in body if p.ndim <= 1], "lr": settings.vector_lr, **others},
        {"params": [p for p in _trainable(model) if id(p) in head], "lr": settings.head_lr, **others},
    ]
    return Muon([group for group in groups if group["params"]])


_BUILDERS: dict[type, Callable[[Any, nn.Module], torch.optim.Optimizer]] = {
    AdamSettings: _adam,
    AdamWSettings: _adamw,
    SGDSettings: _sgd,
    MuonSettings: _muon,
}


def _trainable(model: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def _by_decay(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Two groups: matrices and kernels decay; biases and the scales of norms, which are vectors, do not."""
    parameters = _trainable(model)
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]
