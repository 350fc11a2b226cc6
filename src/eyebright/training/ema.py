"""Exponential moving average of the weights (Polyak and Juditsky 1992; Tarvainen and Valpola 2017)."""

from __future__ import annotations

import copy

import torch

from eyebright.models.classifier import Classifier


class MovingAverage:
    """A second model whose weights follow those of the first, smoothed.

    Parameters
    ----------
    model : is copied as the start of the average.
    decay : share of the average that a step keeps; grows from 0.1 to this during the first steps,
        (1 + t) / (10 + t), so that the random initial weights are soon forgotten.
    """

    def __init__(self, model: Classifier, decay: float) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, model: Classifier, step: int) -> None:
        """Move towards `model` after optimiser step `step` (from 0); buffers are copied."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.model.parameters()), list(model.parameters()), 1 - decay)
        for mine, theirs in zip(self.model.buffers(), model.buffers(), strict=True):
            mine.copy_(theirs)
