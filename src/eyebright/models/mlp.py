"""`mlp`: fully connected layers, the baseline that any convolutional network must beat.

Initialisation is PyTorch's default. No hidden layer at all gives multinomial logistic regression.
"""

from __future__ import annotations

import math
from collections import OrderedDict

from torch import nn

from eyebright.core.input_spec import InputSpec
from eyebright.core.settings.model import MLPSettings
from eyebright.models.classifier import Classifier


def build(settings: MLPSettings, spec: InputSpec) -> Classifier:
    """Flatten; then for each of `settings.hidden`: linear, ReLU, dropout; the head is linear."""
    stages: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
    units = math.prod((spec.channels, spec.height, spec.width))
    for number, hidden in enumerate(settings.hidden, start=1):
        stages[f"stage{number}"] = hidden_stage(units, hidden, dropout=settings.dropout)  # (B, hidden)
        units = hidden
    return Classifier(nn.Sequential(stages), nn.Linear(units, len(spec.classes)), spec, settings)


def hidden_stage(inputs: int, outputs: int, *, batch_norm: bool = False, dropout: float = 0.0) -> nn.Sequential:
    """Linear, batch normalisation, ReLU, dropout: (B, inputs) to (B, outputs).

    The linear layer has no bias under batch normalisation, which would subtract it again.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict(linear=nn.Linear(inputs, outputs, bias=not batch_norm))
    if batch_norm:
        layers["norm"] = nn.BatchNorm1d(outputs)
    layers["relu"] = nn.ReLU()
    if dropout:
        layers["dropout"] = nn.Dropout(dropout)
    return nn.Sequential(layers)
