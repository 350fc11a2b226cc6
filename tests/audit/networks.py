"""Networks with a fault, named in recipes as `tests.audit.networks:...`."""

from __future__ import annotations

import math

import torch
from torch import nn

from eyebright.core.input_spec import InputSpec


def dead(spec: InputSpec, *, units: int) -> nn.Module:
    """Two hidden layers of 32; `units` of the second are pushed so far down that no image brings them back."""
    second = nn.Linear(32, 32)
    with torch.no_grad():
        second.bias[:units] = -1000
    pixels = math.prod((spec.channels, spec.height, spec.width))
    return nn.Sequential(nn.Flatten(), nn.Linear(pixels, 32), nn.ReLU(), second, nn.ReLU())


def plain(spec: InputSpec, *, layers: int) -> nn.Module:
    """A deep ladder without any help, and with PyTorch's default weights, which are too small for ReLU."""
    stages: list[nn.Module] = []
    for number in range(layers):
        stages += [nn.Conv2d(16 if number else spec.channels, 16, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*stages, nn.AdaptiveAvgPool2d(1), nn.Flatten())
