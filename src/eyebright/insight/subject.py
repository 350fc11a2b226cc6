"""`Subject`: a model lent for study. Nothing that is done to it while it is studied stays with it."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, final

import torch
from torch import Tensor, nn

from eyebright.core.device import Plan
from eyebright.data.batches import Batches
from eyebright.data.image_set import ImageSet
from eyebright.evaluation.predict import lent
from eyebright.models.classifier import Classifier


@final
@dataclasses.dataclass(frozen=True, eq=False)
class Subject:
    """A model in evaluation mode whose weights need no gradient; inputs are normalised images.

    Attributes
    ----------
    model : on the plan's device.
    plan : how to compute.
    """

    model: Classifier
    plan: Plan

    def batches(self, images: ImageSet, batch_size: int) -> Iterator[tuple[slice, Tensor]]:
        """Where each batch lies in `images`, and its normalised images (B, C, H, W) float32."""
        done = 0
        batches = Batches(images, batch_size, device=self.plan.device, channels_last=self.plan.channels_last)
        for batch in batches.epoch(0):
            yield slice(done, done + len(batch)), self.model.normalise(batch.images)
            done += len(batch)

    def logits(self, x: Tensor) -> Tensor:
        """Normalised images (B, C, H, W) to logits (B, K) float32."""
        with self.plan.autocast():
            logits: Tensor = self.model.head(self.model.body(x))
        return logits.float()

    def scores(self, x: Tensor, classes: Tensor) -> Tensor:
        """(B,) the logit of each image's class (B,)."""
        return of_class(self.logits(x), classes)

    def probabilities(self, x: Tensor, classes: Tensor) -> Tensor:
        """(B,) the probability of each image's class (B,)."""
        return of_class(self.logits(x).softmax(dim=1), classes)


def of_class(values: Tensor, classes: Tensor) -> Tensor:
    """The value of each image's class: (B, K) and (B,) to (B,)."""
    # By indexing: a GPU can compute its gradient in a fixed order, and that of gather it cannot.
    return values[torch.arange(len(values), device=values.device), classes]


@contextlib.contextmanager
def studied(model: Classifier, plan: Plan) -> Iterator[Subject]:
    """Lend a model: its modes, place, weights and what needs a gradient are given back."""
    wanted = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    # Gradients begin where a hook wants them. So they reach neither the weights nor the layers below, and it does
    # not matter whether the caller froze any, or computes without gradients himself.
    with torch.inference_mode(False), torch.enable_grad(), lent(model, plan), plan.applied():
        try:
            model.requires_grad_(False)
            yield Subject(model, plan)
        finally:
            for parameter, gradient in wanted:
                parameter.requires_grad_(gradient)


@contextlib.contextmanager
def hooked(module: nn.Module, hook: Callable[..., Any]) -> Iterator[None]:
    """Call `hook(module, inputs, output)` after each forward pass of `module`; what it returns replaces the output."""
    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()
