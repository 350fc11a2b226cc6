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
from eyebright.core.settings.training import TrainingSettings
from eyebright.models.classifier import Classifier
from eyebright.models.depths import depths
from eyebright.training.muon import Muon

_PLAIN = TrainingSettings()


def build(settings: OptimizerSettings, model: nn.Module, training: TrainingSettings = _PLAIN) -> torch.optim.Optimizer:
    """The optimiser of all trainable parameters of `model`.

    Each group keeps its full learning rate as `initial_lr`, which the schedule multiplies.

    Parameters
    ----------
    settings : which, and how fast.
    model : a `Classifier`, where `training` has a `stage_decay`.
    training : says which stages learn later, and how much slower the deep ones learn.
    """
    optimizer = _BUILDERS[type(settings)](settings, model, training)
    if training.stage_decay < 1 and isinstance(model, Classifier):
        _decay_by_stage(optimizer, model, training.stage_decay)
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
    return optimizer


def _decay_by_stage(optimizer: torch.optim.Optimizer, model: Classifier, decay: float) -> None:
    """Divide the groups by stages, each with its own learning rate; those of the head come first."""
    below = depths(model)
    depth = {id(parameter): below[name] for name, parameter in model.named_parameters()}
    groups = list(optimizer.param_groups)
    optimizer.param_groups.clear()
    for stages in range(max(depth.values()) + 1):
        for group in groups:
            parameters = [parameter for parameter in group["params"] if depth[id(parameter)] == stages]
            if parameters:
                optimizer.add_param_group({**group, "params": parameters, "lr": group["lr"] * decay**stages})


def _adam(settings: AdamSettings, model: nn.Module, _training: TrainingSettings) -> torch.optim.Optimizer:
    return torch.optim.Adam(
        _trainable(model),
        lr=settings.lr,
        betas=settings.betas,
        eps=settings.eps,
        weight_decay=settings.weight_decay,
        fused=True,
    )


def _adamw(settings: AdamWSettings, model: nn.Module, _training: TrainingSettings) -> torch.optim.Optimizer:
    return torch.optim.AdamW(
        _by_decay(model, settings.weight_decay),
        lr=settings.lr,
        betas=settings.betas,
        eps=settings.eps,
        fused=True,
    )


def _sgd(settings: SGDSettings, model: nn.Module, training: TrainingSettings) -> torch.optim.Optimizer:
    return torch.optim.SGD(
        _by_decay(model, settings.weight_decay),
        lr=settings.lr,
        momentum=settings.momentum,
        nesterov=settings.nesterov and settings.momentum > 0,
        fused=not training.unfreeze,  # torch's fused steps fail when parameters join that have no momentum yet
    )


def _muon(settings: MuonSettings, model: nn.Module, _training: TrainingSettings) -> torch.optim.Optimizer:
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


_BUILDERS: dict[type, Callable[[Any, nn.Module, TrainingSettings], torch.optim.Optimizer]] = {
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
