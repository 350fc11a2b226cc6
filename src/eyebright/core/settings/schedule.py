"""Group `schedule`: the learning rate as a function of progress."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from eyebright.core.settings.fields import Fraction, NotNegativeFloat, OpenFraction, PositiveFloat, settings


@settings
class ConstantSettings:
    """The same learning rate throughout, after `warmup` epochs of linear rise."""

    name: Literal["constant"] = "constant"
    warmup: NotNegativeFloat = 0.0


@settings
class CosineSettings:
    """Half a cosine from the learning rate down to `final` times it, after `warmup` epochs."""

    name: Literal["cosine"] = "cosine"
    warmup: NotNegativeFloat = 0.0
    final: Fraction = 0.0


@settings
class LinearSettings:
    """A straight line from the learning rate down to `final` times it, after `warmup` epochs."""

    name: Literal["linear"] = "linear"
    warmup: NotNegativeFloat = 0.0
    final: Fraction = 0.0


@settings
class OneCycleSettings:
    """Rise from `start` times the learning rate to it during the share `rise`, then fall to `final` (Smith 2018)."""

    name: Literal["one_cycle"] = "one_cycle"
    rise: OpenFraction = 0.3
    start: Fraction = 0.04
    final: Fraction = 0.0


@settings
class StepSettings:
    """Multiply by `gamma` at each of `milestones`, which are shares of the whole training."""

    name: Literal["step"] = "step"
    milestones: tuple[OpenFraction, ...] = (0.5, 0.75)
    gamma: PositiveFloat = 0.1
    warmup: NotNegativeFloat = 0.0


ScheduleSettings = Annotated[
    ConstantSettings | LinearSettings | CosineSettings | OneCycleSettings | StepSettings, Field(discriminator="name")
]
