"""How much of the error reaches each layer, and how far each has moved: measured on a few training images.

A gradient that has vanished on its way to the first layers leaves them as they were initialised (Hochreiter 1991;
Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks", AISTATS 2010).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eyebright.core.device import Plan, choose
from eyebright.core.errors import DataError
from eyebright.core.randomness import stream
from eyebright.data.batches import Batches
from eyebright.data.image_set import ImageSet
from eyebright.evaluation.predict import lent
from eyebright.models.classifier import Classifier

# Enough that a unit which answers to one image in fifty is seen to answer (0.98 ** 256 is below 1 %), few enough
# that a large network takes seconds.
_IMAGES = 256
_BATCH = 64  # as people train; the norm of a mean gradient depends on it


@dataclasses.dataclass(frozen=True)
class LayerGradient:
    """What one convolution or fully connected layer gets to learn from.

    Attributes
    ----------
    layer : its name in the model, such as "body.stage1.convolution1".
    norm : L2 norm of the gradient of its weights; root of the mean square over the batches.
    units : its outputs: channels of a convolution, units of a fully connected layer.
    idle : units whose weights have a gradient of exactly zero for every image. Most often they are ReLUs that are never
        positive ("dead"), or that hear nothing but dead ones.
    moved : how far the weights came in training, as a share of their initial L2 norm; None where that is not known.
    """

    layer: str
    norm: float
    units: int
    idle: int
    moved: float | None = None


def gradients(
    model: Classifier, images: ImageSet, *, count: int = _IMAGES, seed: int = 0, plan: Plan | None = None
) -> tuple[LayerGradient, ...]:
    """Gradients of the cross-entropy for every layer that is trained, in the order of the model.

    Every image is given the label of the next class: a network that knows its training images by heart has no error
    left on their own labels, and whether an error would reach a layer could not be seen. The model is in evaluation
    mode meanwhile, and is given back as it was; its `.grad` are not touched.

    Parameters
    ----------
    model : on any device, in any mode.
    images : training images, of the model's size and classes.
    count : images to draw.
    seed : of the draw.
    plan : how to compute; default: this machine's, in fp32, in which small gradients do not become zero.

    Raises
    ------
    DataError : there are no images.
    """
    if len(images) == 0:
        raise DataError("gradients cannot be measured without images.", "Give the training images.")
    plan = plan or choose(precision="fp32")
    layers = dict(trained_layers(model))
    tallies: dict[str, _Tally] = {}
    drawn = stream("gradients", seed).permutation(len(images))[:count]
    batches = Batches(images.take(drawn), _BATCH, device=plan.device, channels_last=plan.channels_last)
    with lent(model, plan), plan.applied():
        for batch in batches.epoch(0):
            wrong = (batch.labels + 1) % len(images.classes)
            loss = F.cross_entropy(model(batch.images), wrong)
            found = torch.autograd.grad(loss, list(layers.values()), allow_unused=True)
            for name, gradient in zip(layers, found, strict=True):
                if gradient is not None:  # else the layer takes no part
                    tallies.setdefault(name, _Tally(len(gradient))).add(gradient)
    return tuple(tally.result(name, len(batches)) for name, tally in tallies.items())


def movement(initial: Classifier, trained: Classifier) -> dict[str, float]:
    """For each trained layer the L2 distance of its weights from the initial ones, over the norm of these."""
    before = dict(trained_layers(initial))
    moved = {}
    for name, weight in trained_layers(trained):
        then, now = (tensor.detach().cpu().double() for tensor in (before[name], weight))
        # What begins near zero on purpose, as some heads do, is measured by the length of PyTorch's own start:
        # kaiming_uniform(a=sqrt(5)) gives units * fan_in weights of variance 1 / (3 fan_in).
        length = max(float(then.norm()), math.sqrt(len(then) / 3)) if then.any() else 0.0
        moved[name] = float((now - then).norm()) / length if length else math.inf  # zeros are left by any step
    return moved


def trained_layers(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Name and weights of every layer whose weights are a matrix or kernels, unless they are frozen.

    The scales of normalisation are left out: what passes through them is seen in the layer before.
    """
    for name, module in model.named_modules():
        weight = getattr(module, "weight", None)
        if isinstance(weight, nn.Parameter) and weight.ndim > 1 and weight.requires_grad:
            yield name, weight


class _Tally:
    """Sums up the gradients of one layer over the batches."""

    def __init__(self, units: int) -> None:
        self.squares = 0.0
        self.heard = torch.zeros(units, dtype=torch.bool)

    def add(self, gradient: Tensor) -> None:
        """Count a batch; `gradient` (units, ...)."""
        self.squares += float(gradient.norm()) ** 2
        self.heard |= (gradient.flatten(1) != 0).any(dim=1).cpu()

    def result(self, layer: str, batches: int) -> LayerGradient:
        """What all batches say."""
        idle = len(self.heard) - int(self.heard.sum())
        return LayerGradient(layer, math.sqrt(self.squares / batches), len(self.heard), idle)
