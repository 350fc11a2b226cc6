"""What makes logits of features."""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal

from torch import nn

from eyebright.models.mlp import hidden_stage

_DEEP = (1024, 512, 256)  # units of the hidden layers


def build(kind: Literal["linear", "deep"], features: int, classes: int, *, dropout: float = 0.0) -> nn.Module:
    """(B, features) to logits (B, classes).

    Parameters
    ----------
    kind : "linear", or "deep": hidden layers of 1024, 512 and 256 units with batch normalisation and ReLU before it.
    features, classes : of the body, and K.
    dropout : before a linear head; after every hidden layer of a deep one.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    units = features
    for number, hidden in enumerate(_DEEP if kind == "deep" else (), start=1):
        layers[f"hidden{number}"] = hidden_stage(units, hidden, batch_norm=True, dropout=dropout)
        units = hidden
    if kind == "linear" and dropout:
        layers["dropout"] = nn.Dropout(dropout)
    linear = nn.Linear(units, classes)
    return nn.Sequential(OrderedDict[str, nn.Module](**layers, logits=linear)) if layers else linear
