"""What a network costs: parameters, multiply-adds, and images a second on this machine."""

from __future__ import annotations

import copy
import dataclasses
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from eyebright.core.device import Plan
from eyebright.models.classifier import Classifier, evaluating

_FEWEST_STEPS = 3  # of which the median is taken, however long one takes


@dataclasses.dataclass(frozen=True)
class ModelProfile:
    """The cost of a network, the same on every machine.

    Attributes
    ----------
    name : of its family.
    parameters : numbers that it holds, without buffers.
    trainable : of them, those that are not frozen.
    multiply_adds : of one image forward, in convolutions and matrix products; the rest is small beside them.
    """

    name: str
    parameters: int
    trainable: int
    multiply_adds: int


@dataclasses.dataclass(frozen=True)
class Throughput:
    """The speed of a network on one machine.

    Attributes
    ----------
    training : images/s, forward and backward, without the optimiser's step.
    inference : images/s.
    """

    training: float
    inference: float


def profile(model: Classifier) -> ModelProfile:
    """Count parameters, and the multiply-adds of one black image sent through the model."""
    spec = model.spec
    image = torch.zeros(1, spec.channels, spec.height, spec.width, dtype=torch.uint8, device=model.mean.device)
    counter = FlopCounterMode(display=False)
    with evaluating(model), torch.no_grad(), counter:
        model(image)
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    return ModelProfile(
        name=model.settings.name,
        parameters=sum(size for size, _ in sizes),
        trainable=sum(size for size, trainable in sizes if trainable),
        multiply_adds=counter.get_total_flops() // 2,  # torch counts a multiplication and an addition as two
    )


def throughput(model: Classifier, plan: Plan, *, batch_size: int = 128, seconds: float = 1.0) -> Throughput:
    """Measure training, then inference, each for about `seconds` (at least three steps) after one to warm up.

    Works on a copy: weights, running statistics, modes, gradients and the random state stay as they were.
    """
    spec = model.spec
    shape = (batch_size, spec.channels, spec.height, spec.width)
    devices = [plan.device] if plan.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), plan.applied():
        measured = copy.deepcopy(model)
        plan.place(measured)
        images = torch.randint(0, 256, shape, dtype=torch.uint8).to(plan.device, memory_format=plan.memory_format)
        labels = torch.randint(0, len(spec.classes), (batch_size,)).to(plan.device)

        def train() -> None:
            with plan.autocast():
                loss = F.cross_entropy(measured(images), labels)
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            measured.zero_grad()

        def infer() -> None:
            with torch.inference_mode(), plan.autocast():
                measured(images)

        measured.train()
        training = _rate(train, plan.device, batch_size, seconds)
        measured.eval()
        return Throughput(training, _rate(infer, plan.device, batch_size, seconds))


def _rate(step: Callable[[], None], device: torch.device, batch_size: int, seconds: float) -> float:
    """Images/s of the median step."""
    _timed(step, device)  # the first step compiles kernels and asks the system for memory
    times: list[float] = []
    while len(times) < _FEWEST_STEPS or sum(times) < seconds:
        times.append(_timed(step, device))
    return batch_size / statistics.median(times)


def _timed(step: Callable[[], None], device: torch.device) -> float:
    start = time.perf_counter()
    step()
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
    return time.perf_counter() - start
