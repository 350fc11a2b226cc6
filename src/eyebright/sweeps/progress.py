"""The progress of a sweep on a terminal: a line a trial, and a bar for the one under way."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from eyebright.core.device import Plan
from eyebright.sweeps.space import described
from eyebright.sweeps.standing import Sweep, Watcher
from eyebright.training.callbacks import Moment
from eyebright.training.progress import clock
from eyebright.training.run import Run

if TYPE_CHECKING:
    from eyebright.sweeps.trial import Job, Trial


class SweepProgress(Watcher):
    """Shows each trial as it ends, the best so far and the time left.

    Parameters
    ----------
    console : where to; default: standard error.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True, highlight=False, markup=False)
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._begun: float | None = None
        self._done = 0  # in this process
        self._trial = ""

    def trial_begun(self, number: int, job: Job) -> None:
        """Remember what is under way."""
        self._begun = self._begun or time.monotonic()
        self._trial = f"trial {number}  {described(job.values)}"

    def started(self, run: Run, plan: Plan) -> None:  # noqa: ARG002 (the contract of a callback)
        """Draw the bar."""
        if self.console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[state]}"))
            self._bar = Progress(*columns, console=self.console, transient=True)
            self._bar.start()
            self._task = self._bar.add_task(self._trial or run.path.name, total=None, state="")

    def batch_done(self, moment: Moment) -> None:
        """Move the bar."""
        if self._bar:
            self._bar.update(
                self._task,
                total=moment.epochs * moment.batches,
                completed=(moment.epoch - 1) * moment.batches + moment.batch,
                state=f"epoch {moment.epoch}/{moment.epochs}  accuracy {moment.accuracy:.3f}",
            )

    def stopped(self, run: Run) -> None:  # noqa: ARG002 (the contract of a callback)
        """Take the bar away."""
        if self._bar:
            self._bar.stop()
            self._bar = None

    def trial_done(self, trial: Trial, sweep: Sweep) -> None:
        """Leave a line."""
        self._done += 1
        self._trial = ""
        planned = sweep.definition.trials
        over = len(sweep.trials) - len(sweep.of("running"))
        parts = [
            f"{over:>{len(str(planned))}}/{planned}" if planned else f"{over}",
            f"trial {trial.number:<{len(str(planned or 0))}}",
            trial.ended,
            described(trial.values),
        ]
        if trial.outcome.seconds:
            parts.append(f"{trial.outcome.seconds:.1f} s")
        if sweep.best is not None and sweep.best.accuracy is not None:
            parts.append(f"best {sweep.best.accuracy.value:.3f} (trial {sweep.best.number})")
        if planned and planned > over:
            parts.append(f"{self._left(planned - over)} left")
        self.console.print("  ".join(parts), soft_wrap=True)

    def _left(self, trials: int) -> str:
        """The time that so many trials take, at the pace of this process."""
        if self._begun is None:
            return "?"
        return clock((time.monotonic() - self._begun) / self._done * trials)
