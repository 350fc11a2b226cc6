"""`Pace`: how fast a training goes, from the moments that it tells its watchers of."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterable, Iterator

from eyebright.training.callbacks import Moment
from eyebright.training.measure.timing import Effort, Measurement

# Moments that are not measured: the first step compiles kernels, and the second still asks the system for memory.
_WARM_UP = 2
# Parts into which the measured time is cut at most. Threads that prepare batches make steps uneven, so a rate is that
# of a part, and not of a step.
_PARTS = 10


@dataclasses.dataclass(frozen=True)
class Interval:
    """From one moment to the next.

    Attributes
    ----------
    images : trained on.
    seconds : that it took.
    """

    images: int
    seconds: float


class Pace:
    """Listens to the moments of a training.

    Attributes
    ----------
    steps : intervals inside an epoch.
    ends : intervals over the end of an epoch: its validation and checkpoints, then the first step of the next one.
    """

    def __init__(self) -> None:
        self.steps: list[Interval] = []
        self.ends: list[Interval] = []
        self._last: Moment | None = None
        self._heard = 0

    def note(self, moment: Moment) -> None:
        """Take note of a moment."""
        last, self._last = self._last, moment
        self._heard += 1
        if last is not None and self._heard > _WARM_UP:
            interval = Interval(moment.images - last.images, moment.seconds - last.seconds)
            (self.steps if moment.epoch == last.epoch else self.ends).append(interval)

    def enough(self, effort: Effort) -> bool:
        """Whether so much was heard."""
        heard = self.steps + self.ends
        return len(heard) >= effort.fewest and sum(interval.seconds for interval in heard) >= effort.seconds

    def images_per_second(self) -> Measurement:
        """The speed of the steps; there must be an interval.

        Where an epoch has so few batches that every interval holds the end of one, that counts as part of its step.
        """
        intervals = self.steps or self.ends
        shortest = sum(interval.seconds for interval in intervals) / _PARTS
        return Measurement.of([part.images / part.seconds for part in _joined(intervals, shortest)])

    def end_seconds(self, expected: float) -> float:
        """What the end of an epoch adds to the steps; `expected` where none was heard."""
        if not self.ends:
            return expected
        if not self.steps:
            return 0.0  # the steps have it
        speed = self.images_per_second().median
        return max(0.0, statistics.median(end.seconds - end.images / speed for end in self.ends))


def _joined(intervals: Iterable[Interval], shortest: float) -> Iterator[Interval]:
    """Consecutive intervals joined until each lasts `shortest` seconds; a rest that does not is left out."""
    images, seconds = 0, 0.0
    for interval in intervals:
        images, seconds = images + interval.images, seconds + interval.seconds
        if seconds >= shortest:
            yield Interval(images, seconds)
            images, seconds = 0, 0.0
