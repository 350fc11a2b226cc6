"""Group `optimizer`: how gradients become steps."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal

from pydantic import Field

from eyebright.core.settings.fields import NotNegativeFloat, OpenFraction, Positive, PositiveFloat, settings


@settings
class AdamSettings:
    """Adam (Kingma and Ba 2014); `weight_decay` is added to the gradient.

    Attributes
    ----------
    lr : learning rate.
    betas : decay of the averages of gradients and of their squares.
    eps : added to the root of the latter.
    weight_decay : share of each weight that is added to its gradient.
    """

    name: Literal["adam"] = "adam"
    lr: PositiveFloat = 1e-3
    betas: tuple[OpenFraction, OpenFraction] = (0.9, 0.999)
    eps: PositiveFloat = 1e-8
    weight_decay: NotNegativeFloat = 0.0


@settings
class AdamWSettings:
    """AdamW (Loshchilov and Hutter 2017); `weight_decay` is decoupled and spares biases and norms.

    Attributes
    ----------
    lr : learning rate.
    betas : decay of the averages of gradients and of their squares.
    eps : added to the root of the latter.
    weight_decay : share of each kernel that a step takes away, times the learning rate.
    """

    name: Literal["adamw"] = "adamw"
    lr: PositiveFloat = 1e-3
    betas: tuple[OpenFraction, OpenFraction] = (0.9, 0.999)
    eps: PositiveFloat = 1e-8
    weight_decay: NotNegativeFloat = 0.01


@settings
class SGDSettings:
    """Stochastic gradient descent with (Nesterov) momentum; `weight_decay` spares biases and norms.

    Attributes
    ----------
    lr : learning rate.
    momentum : share of the last step that the next one keeps.
    nesterov : whether the gradient is taken from where the momentum leads.
    weight_decay : share of each kernel that is added to its gradient.
    """

    name: Literal["sgd"] = "sgd"
    lr: PositiveFloat = 0.1
    momentum: OpenFraction = 0.9
    nesterov: bool = True
    weight_decay: NotNegativeFloat = 5e-4


@settings
class MuonSettings:
    """Muon (Jordan et al. 2024): kernels and matrices of the body step along the orthogonalised gradient.

    The head, and vectors such as biases and the scales of norms, step by Nesterov's momentum with learning rates of
    their own. The gradient is that of the mean loss of a batch, so these two rates grow with the batch size.

    Attributes
    ----------
    lr : length of a step of a kernel, in units of its largest singular value.
    momentum : of kernels.
    fix_norm : rescale every kernel to the norm sqrt(outputs) before its step. Only for networks that normalise after
        every convolution, where the length of a kernel changes nothing but the size of the next steps.
    iterations : of Newton and Schulz.
    head_lr, vector_lr : learning rates of the head and of vectors.
    other_momentum : of the head and of vectors.
    weight_decay : share of the head and of vectors that a step at the full learning rate takes away.
    """

    name: Literal["muon"] = "muon"
    lr: PositiveFloat = 0.02
    momentum: OpenFraction = 0.9
    fix_norm: bool = False
    iterations: Positive = 3
    head_lr: PositiveFloat = 0.05
    vector_lr: PositiveFloat = 0.05
    other_momentum: OpenFraction = 0.85
    weight_decay: OpenFraction = 0.0


def learning_rates(chosen: OptimizerSettings) -> dict[str, float]:
    """Every learning rate by the name of its field; those of one optimiser are raised and lowered together."""
    return {name: value for name, value in dataclasses.asdict(chosen).items() if name.split("_")[-1] == "lr"}


OptimizerSettings = Annotated[AdamSettings | AdamWSettings | SGDSettings | MuonSettings, Field(discriminator="name")]
