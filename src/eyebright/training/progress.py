"""The progress bar on a terminal; in a notebook text below the cell; plain lines elsewhere."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from eyebright.core.device import Plan
from eyebright.training.callbacks import Callback, Moment
from eyebright.training.run import EpochRecord, Run

# Without a terminal, an epoch that lasts longer than this many seconds says where it is.
_LINE_EVERY = 30.0
# Seconds between two readings in a notebook: each is a message to the browser.
_CELL_EVERY = 1.0


class ProgressBar(Callback):
    """Shows loss, accuracy, images/s and the time left.

    Parameters
    ----------
    console : where to; default: standard error, so that results can be piped. In a notebook it is the running cell.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True, highlight=False, markup=False)
        self._bar: Progress | None = None
        self._cell: _Cell | None = None
        self._task = TaskID(0)
        self._line_at = 0.0
        self._first: Moment | None = None

    def started(self, run: Run, plan: Plan) -> None:
        """Name the run and the machine."""
        if self.console.is_jupyter:
            self._cell = _Cell()
        settings = run.recipe.training
        images = run.data["train"]["n"]
        self._leave(
            f"{run.recipe.name}: {images:,} training images, {settings.epochs} epochs of batches of "
            f"{settings.batch_size}; {plan}"
        )
        self._leave(f"run: {run.path}")
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
        left = clock(self._seconds_left(moment))
        state = f"loss {moment.loss:.3f}  accuracy {moment.accuracy:.3f}  {rate:,.0f} images/s  {left} left"
        if self._bar:
            self._bar.update(
                self._task,
                description=f"epoch {moment.epoch}/{moment.epochs}",
                total=moment.batches,
                completed=moment.batch,
                state=state,
            )
            return
        percent = 100 * moment.batch // moment.batches
        line = f"epoch {moment.epoch}/{moment.epochs} {percent:3d} %  {state}"
        if self._cell:
            self._cell.show(line)
        elif time.monotonic() >= self._line_at:
            self._leave(line)
            self._line_at = time.monotonic() + _LINE_EVERY

    def epoch_done(self, record: EpochRecord) -> None:
        """Leave a line."""
        line = f"epoch {record['epoch']:3.0f}"
        for split in ("train", "validation"):
            if f"{split}_loss" in record:
                line += f"  {split}: loss {record[f'{split}_loss']:.3f} accuracy {record[f'{split}_accuracy']:.3f}"
        self._leave(f"{line}  {record['seconds']:.1f} s")
        self._line_at = time.monotonic() + _LINE_EVERY

    def stopped(self, run: Run) -> None:  # noqa: ARG002 (the contract of a callback)
        """Take the bar away."""
        if self._bar:
            self._bar.stop()
            self._bar = None
        if self._cell:
            self._cell.close()
            self._cell = None

    def _leave(self, line: str) -> None:
        """A line that stays."""
        if self._cell:
            self._cell.leave(line)
        else:
            self.console.print(line, soft_wrap=True)

    def _seconds_left(self, moment: Moment) -> float:
        """From the pace of this process, its first batch left out: it pays for warming up."""
        first = self._first or moment
        done = _batches(moment) - _batches(first)
        if done == 0:
            return float("nan")
        todo = moment.epochs * moment.batches - _batches(moment)
        return (moment.seconds - first.seconds) / done * todo


class _Cell:
    """Text below the cell of a notebook: one output, so that a saved notebook keeps a line an epoch and no more."""

    def __init__(self) -> None:
        from IPython.display import DisplayHandle

        self._lines: list[str] = []
        self._output = DisplayHandle()
        self._output.display({"text/plain": ""}, raw=True)
        self._show_at = 0.0

    def leave(self, line: str) -> None:
        """Add a line that stays."""
        self._lines.append(line)
        self._write(self._lines)

    def show(self, state: str) -> None:
        """Say below the lines how things stand, unless that was said just now."""
        if time.monotonic() >= self._show_at:
            self._write([*self._lines, state])
            self._show_at = time.monotonic() + _CELL_EVERY

    def close(self) -> None:
        """Keep only what stays."""
        self._write(self._lines)

    def _write(self, lines: list[str]) -> None:
        self._output.update({"text/plain": "\n".join(lines)}, raw=True)


def _batches(moment: Moment) -> int:
    return (moment.epoch - 1) * moment.batches + moment.batch


def clock(seconds: float) -> str:
    """A duration as clocks show it: "1:05", "2:00:07"; "?" where it is not a number."""
    if seconds != seconds:  # noqa: PLR0124 (not a number: nothing is known yet)
        return "?"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
