"""Learning-rate schedules as pure functions of progress: nothing to save, nothing to restore."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from eyebright.core.settings.schedule import (
    ConstantSettings,
    CosineSettings,
    LinearSettings,
    OneCycleSettings,
    ScheduleSettings,
    StepSettings,
)


def factor(settings: ScheduleSettings, step: int, steps: int, steps_per_epoch: int) -> float:
    """What the learning rate is multiplied by.

    Parameters
    ----------
    settings : the schedule.
    step : optimiser steps done, 0 .. steps - 1.
    steps : optimiser steps of the whole training.
    steps_per_epoch : of one epoch; warm-up is counted in epochs.
    """
    # The k-th of w warm-up steps has k / w of the learning rate, so the first one already moves.
    warmup = getattr(settings, "warmup", 0.0) * steps_per_epoch
    if step + 1 < warmup:
        return (step + 1) / warmup
    start = max(0.0, warmup - 1)
    progress = (step - start) / max(1.0, steps - start)  # 0 at the end of the warm-up, below 1 at the last step
    return _SHAPES[type(settings)](settings, progress, step / steps)


def _constant(_settings: ConstantSettings, _progress: float, _overall: float) -> float:
    return 1.0


def _cosine(settings: CosineSettings, progress: float, _overall: float) -> float:
    return settings.final + (1 - settings.final) * (1 + math.cos(math.pi * progress)) / 2


def _linear(settings: LinearSettings, progress: float, _overall: float) -> float:
    return 1 + (settings.final - 1) * progress


def _one_cycle(settings: OneCycleSettings, progress: float, _overall: float) -> float:
    if progress < settings.rise:
        return settings.start + (1 - settings.start) * progress / settings.rise
    return 1 + (settings.final - 1) * (progress - settings.rise) / (1 - settings.rise)


def _step(settings: StepSettings, _progress: float, overall: float) -> float:
    return settings.gamma ** sum(overall >= milestone for milestone in settings.milestones)


# Settings, progress since the warm-up, progress of the whole training -> factor.
_SHAPES: dict[type, Callable[[Any, float, float], float]] = {
    ConstantSettings: _constant,
    CosineSettings: _cosine,
    LinearSettings: _linear,
    OneCycleSettings: _one_cycle,
    StepSettings: _step,
}
