"""Printing: results to standard output, everything else to standard error."""

from __future__ import annotations

import functools
import logging
import warnings
from typing import TYPE_CHECKING

from eyebright.core.errors import EyebrightError

if TYPE_CHECKING:
    from rich.console import Console

# Columns of a table that goes to a file or another program; rich would assume 80.
_PIPED_WIDTH = 200


@functools.cache
def output() -> Console:
    """For results: they can be piped."""
    from rich.console import Console

    console = Console(highlight=False, markup=False)  # paths and class names may hold brackets
    if not console.is_terminal:
        console.width = _PIPED_WIDTH
    return console


@functools.cache
def remarks() -> Console:
    """For progress, remarks and errors."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, markup=False)


def complain(error: EyebrightError) -> None:
    """Cause and remedy on standard error, though the process was hushed."""
    remarks().quiet = False
    remarks().print(f"[bold red]error:[/] {_escape(error.cause)}", markup=True, soft_wrap=True)
    if error.remedy:
        remarks().print(error.remedy, soft_wrap=True)


def show_log() -> None:
    """Let the library's remarks (what was skipped, cached, chosen) reach the terminal."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("eyebright")
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)


def hush() -> None:
    """Print nothing any more: another process of the same training speaks."""
    output().quiet = remarks().quiet = True
    logging.getLogger("eyebright").setLevel(logging.CRITICAL)
    warnings.simplefilter("ignore")


class Bar:
    """A `Progress` callable of the data floor, drawn by rich; use as a context."""

    def __init__(self) -> None:
        from rich.progress import Progress

        self._progress = Progress(console=remarks(), transient=True)
        self._tasks: dict[str, int] = {}

    def __enter__(self) -> Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, what: str, done: int, total: int) -> None:
        from rich.progress import TaskID

        if what not in self._tasks:
            self._tasks[what] = self._progress.add_task(_escape(what), total=total)
        self._progress.update(TaskID(self._tasks[what]), completed=done, total=total)


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(text)
