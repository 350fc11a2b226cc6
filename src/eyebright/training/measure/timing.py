"""Repeated timings: warm-up left out, the median and the quartiles of the rest."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch

# Shortest time that is taken at once: some thousand times what reading the clock and starting a kernel cost.
_SHORTEST_SECONDS = 0.02


@dataclasses.dataclass(frozen=True)
class Measurement:
    """A rate that was measured several times.

    Attributes
    ----------
    median : of the rates, in units a second.
    low, high : their quartiles; half of them lie between.
    n : how many there were.
    """

    median: float
    low: float
    high: float
    n: int

    @classmethod
    def of(cls, rates: Sequence[float]) -> Measurement:
        """The summary of at least one rate."""
        low, median, high = np.quantile(rates, (0.25, 0.5, 0.75)).tolist()
        return cls(median, low, high, len(rates))

    def times(self, factor: float) -> Measurement:
        """The same in other units."""
        return Measurement(factor * self.median, factor * self.low, factor * self.high, self.n)


@dataclasses.dataclass(frozen=True)
class Effort:
    """How long to measure.

    Attributes
    ----------
    seconds : of measuring one rate, warm-up not counted.
    fewest : times that a rate is measured, however long one takes.
    """

    seconds: float
    fewest: int


def rate(step: Callable[[], object], amount: float, device: torch.device, effort: Effort) -> Measurement:
    """How much a second `step` does, which does `amount` at each call.

    The first two calls warm up: they compile kernels, and ask the system for memory. A call that is too short to be
    timed alone is timed many times in a row.
    """
    seconds(step, device)
    together = max(1, math.ceil(_SHORTEST_SECONDS / seconds(step, device)))
    taken: list[float] = []
    while len(taken) < effort.fewest or sum(taken) < effort.seconds:
        taken.append(seconds(step, device, calls=together))
    return Measurement.of([together * amount / each for each in taken])


def seconds(step: Callable[[], object], device: torch.device, *, calls: int = 1) -> float:
    """The time of some calls, until the device has done all their work."""
    _wait(device)
    start = time.perf_counter()
    for _ in range(calls):
        step()
    _wait(device)
    return time.perf_counter() - start


def _wait(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
