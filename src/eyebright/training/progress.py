"""The progress bar on a terminal; plain lines where there is none."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from eyebright.core.device import Plan
from eyebright.training.callbacks import Callback, Moment
from eyebright.training.run import EpochRecord, Run

# Without a terminal, an epoch that lasts longer than this many seconds says where it is.
_LINE_EVERY = 30.0


class ProgressBar(Callback):
    """Shows loss, accuracy, images/s and the time left.

    Parameters
    ----------
    console : where to; default: standard error, so that results can be piped.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True, highlight=False, markup=False)
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._line_at = 0.0
        self._first: Moment | None = None

    def started(self, run: Run, plan: Plan) -> None:
        """Name the run and the machine."""
        settings = run.recipe.training
        images = run.data["train"]["n"]
        self.console.print(
            f"{run.recipe.name}: {images:,} training images, {settings.epochs} epochs of batches of "
            f"{settings.batch_size}; {plan}",
            soft_wrap=True,
        )
        self.console.print(f"run: {run.path}", soft_wrap=True)
        if self.console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[state]}"))
            self._bar = Progress(*columns, TimeElapsedColumn(), console=self.console, transient=True)
            self._bar.start()
            self._task = self._bar.add_task("epoch", total=None, state="")
        self._line_at = time.monotonic() + _LINE_EVERY

    def batch_done(self, moment: Moment) -> None:
        """Move the bar."""
        rate = moment.images / moment.seconds
        self._first = self._first or moment
        left = _time(self._seconds_left(moment))
        state = f"loss {moment.loss:.3f}  accuracy {moment.accuracy:.3f}  {rate:,.0f} images/s  {left} left"
        if self._bar:
            self._bar.update(
                self._task,
                description=f"epoch {moment.epoch}/{moment.epochs}",
                total=moment.batches,
                completed=moment.batch,
                state=state,
            )
        elif time.monotonic() >= self._line_at:
            percent = 100 * moment.batch // moment.batches
            self.console.print(f"epoch {moment.epoch}/{moment.epochs} {percent:3d} %  {state}", soft_wrap=True)
            self._line_at = time.monotonic() + _LINE_EVERY

    def epoch_done(self, record: EpochRecord) -> None:
        """Leave a line."""
        line = f"epoch {record['epoch']:3.0f}"
        for split in ("train", "validation"):
            if f"{split}_loss" in record:
                line += f"  {split}: loss {record[f'{split}_loss']:.3f} accuracy {record[f'{split}_accuracy']:.3f}"
        self.console.print(f"{line}  {record['seconds']:.1f} s", soft_wrap=True)
        self._line_at = time.monotonic() + _LINE_EVERY

    def stopped(self, run: Run) -> None:  # noqa: ARG002 (the contract of a callback)
        """Take the bar away."""
        if self._bar:
            self._bar.stop()
            self._bar = None

    def _seconds_left(self, moment: Moment) -> float:
        """From the pace of this process, its first batch left out: it pays for warming up."""
        first = self._first or moment
        done = _batches(moment) - _batches(first)
        if done == 0:
            return float("nan")
        todo = moment.epochs * moment.batches - _batches(moment)
        return (moment.seconds - first.seconds) / done * todo


def _batches(moment: Moment) -> int:
    return (moment.epoch - 1) * moment.batches + moment.batch


def _time(seconds: float) -> str:
    if seconds != seconds:  # noqa: PLR0124 (not a number: nothing is known yet)
        return "?"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
