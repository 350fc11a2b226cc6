"""Schedules against their definitions, by hand and against torch's."""

from __future__ import annotations

import math

import pytest
import torch

from eyebright.core.settings.schedule import (
    ConstantSettings,
    CosineSettings,
    LinearSettings,
    OneCycleSettings,
    ScheduleSettings,
    StepSettings,
)
from eyebright.training.schedules import factor


def curve(settings: ScheduleSettings, steps: int, per_epoch: int) -> list[float]:
    return [factor(settings, step, steps, per_epoch) for step in range(steps)]


def test_constant() -> None:
    assert curve(ConstantSettings(), 5, 1) == [1.0] * 5


def test_warm_up_rises_linearly_to_the_whole_rate() -> None:
    assert curve(ConstantSettings(warmup=2), 8, 2) == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 1.0, 1.0]


def test_linear_falls_straight_to_its_final_rate() -> None:
    assert curve(LinearSettings(final=0.2), 4, 2) == pytest.approx([1.0, 0.8, 0.6, 0.4])
    assert curve(LinearSettings(warmup=1), 6, 2) == pytest.approx([0.5, 1.0, 0.8, 0.6, 0.4, 0.2])


def test_cosine_is_torchs() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    reference = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=20, eta_min=0.1)
    for value in curve(CosineSettings(final=0.1), 20, 5):
        assert value == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        reference.step()


def test_cosine_after_warm_up_starts_at_its_top() -> None:
    values = curve(CosineSettings(warmup=1), 10, 2)
    assert values[:2] == [0.5, 1.0]
    assert values[5] == pytest.approx((1 + math.cos(math.pi * 4 / 9)) / 2)
    assert values[1:] == sorted(values[1:], reverse=True)


def test_one_cycle_by_hand() -> None:
    values = curve(OneCycleSettings(rise=0.5, start=0.2, final=0.0), 10, 5)
    assert values == pytest.approx([0.2, 0.36, 0.52, 0.68, 0.84, 1.0, 0.8, 0.6, 0.4, 0.2])


def test_one_cycle_without_a_rise_only_falls() -> None:
    assert curve(OneCycleSettings(rise=0.0), 4, 1) == pytest.approx([1.0, 0.75, 0.5, 0.25])


def test_milestones_are_shares_of_the_whole_training_warm_up_included() -> None:
    assert curve(StepSettings(milestones=(0.5,), gamma=0.1, warmup=2), 8, 1) == pytest.approx(
        [0.5, 1, 1, 1] + 4 * [0.1]
    )


def test_steps_fall_at_their_milestones() -> None:
    assert curve(StepSettings(milestones=(0.5, 0.75), gamma=0.1), 4, 1) == pytest.approx([1, 1, 0.1, 0.01])


@pytest.mark.parametrize("settings", [ConstantSettings(), CosineSettings(), OneCycleSettings(), StepSettings()])
def test_a_single_step_has_a_rate(settings: ScheduleSettings) -> None:
    assert 0 < factor(settings, 0, 1, 1) <= 1
