"""Group `optimizer`: how gradients become steps."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from eyebright.core.settings.fields import NotNegativeFloat, OpenFraction, PositiveFloat, settings


@settings
class AdamSettings:
    """Adam (Kingma and Ba 2014); `weight_decay` is added to the gradient."""

    name: Literal["adam"] = "adam"
    lr: PositiveFloat = 1e-3
    betas: tuple[OpenFraction, OpenFraction] = (0.9, 0.999)
    eps: PositiveFloat = 1e-8
    weight_decay: NotNegativeFloat = 0.0


@settings
class AdamWSettings:
    """AdamW (Loshchilov and Hutter 2017); `weight_decay` is decoupled and spares biases and norms."""

    name: Literal["adamw"] = "adamw"
    lr: PositiveFloat = 1e-3
    betas: tuple[OpenFraction, OpenFraction] = (0.9, 0.999)
    eps: PositiveFloat = 1e-8
    weight_decay: NotNegativeFloat = 0.01


@settings
class SGDSettings:
    """Stochastic gradient descent with (Nesterov) momentum; `weight_decay` spares biases and norms."""

    name: Literal["sgd"] = "sgd"
    lr: PositiveFloat = 0.1
    momentum: OpenFraction = 0.9
    nesterov: bool = True
    weight_decay: NotNegativeFloat = 5e-4


OptimizerSettings = Annotated[AdamSettings | AdamWSettings | SGDSettings, Field(discriminator="name")]
