"""The moving average of weights, by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from eyebright.core.input_spec import InputSpec
from eyebright.core.settings.model import MLPSettings
from eyebright.models.classifier import Classifier
from eyebright.training.ema import MovingAverage


def weight(model: Classifier) -> float:
    value: torch.Tensor = model.get_parameter("head.weight")
    return value[0, 0].item()


def mean(model: Classifier) -> torch.Tensor:
    return model.get_buffer("body.1.running_mean")


def model(value: float) -> Classifier:
    head = nn.Linear(1, 2, bias=False)
    nn.init.constant_(head.weight, value)
    spec = InputSpec(1, 1, 1, (0.5,), (0.5,), ("a", "b"))
    return Classifier(nn.Sequential(nn.Flatten(), nn.BatchNorm1d(1)), head, spec, MLPSettings())


def test_it_moves_by_the_share_that_it_does_not_keep() -> None:
    average = MovingAverage(model(0.0), decay=0.9)
    for step, expected in ((1000, 0.1), (1001, 0.19), (1002, 0.271)):
        average.update(model(1.0), step)
        assert weight(average.model) == pytest.approx(expected)


def test_the_first_steps_forget_faster() -> None:
    average = MovingAverage(model(0.0), decay=0.999)
    average.update(model(1.0), 0)  # keeps (1 + 0) / (10 + 0)
    assert weight(average.model) == pytest.approx(0.9)


def test_buffers_are_copied_and_the_model_is_left_alone() -> None:
    trained = model(1.0)
    mean(trained).fill_(3.0)
    average = MovingAverage(model(0.0), decay=0.9)
    average.update(trained, 0)
    assert mean(average.model).item() == 3.0
    assert weight(trained) == 1.0
    assert not any(parameter.requires_grad for parameter in average.model.parameters())
    assert torch.is_grad_enabled()
