"""Optimisers from their settings, one function each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from eyebright.core.settings.optimizer import AdamSettings, AdamWSettings, OptimizerSettings, SGDSettings


def build(settings: OptimizerSettings, model: nn.Module) -> torch.optim.Optimizer:
    """The optimiser of all trainable parameters of `model`, in the order of `model.parameters()`."""
    return _BUILDERS[type(settings)](settings, model)


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


_BUILDERS: dict[type, Callable[[Any, nn.Module], torch.optim.Optimizer]] = {
    AdamSettings: _adam,
    AdamWSettings: _adamw,
    SGDSettings: _sgd,
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
