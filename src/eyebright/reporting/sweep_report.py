"""`SweepReport`: what a sweep found, on one page."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, final

from eyebright.core.files import write_text
from eyebright.reporting import sweep_content
from eyebright.reporting.render import render

if TYPE_CHECKING:
    from eyebright.sweeps.price import Price
    from eyebright.sweeps.standing import Sweep
    from eyebright.training.run import Run


@final
@dataclasses.dataclass(frozen=True, eq=False)
class SweepReport:
    """What is known of a sweep. `write` renders it into one HTML file that needs no network.

    Attributes
    ----------
    sweep : as it stands.
    price : what the choice is worth; None while it is not made.
    winner : the run that was chosen; None while it is not.
    importances : how much each field mattered; None where too few trials are finished to tell.
    """

    sweep: Sweep
    price: Price | None
    winner: Run | None
    importances: Mapping[str, float] | None

    def __repr__(self) -> str:
        return f"SweepReport({self.sweep!r})"

    def html(self) -> str:
        """The page.

        Raises
        ------
        MissingExtraError : Jinja2 is not installed.
        """
        return render("sweep.html", sweep_content.content(self), {})

    def write(self, path: str | Path) -> Path:
        """Write the page to `path`, atomically.

        Raises
        ------
        MissingExtraError : Jinja2 is not installed.
        StorageError : the disk refuses.
        """
        written = Path(path)
        write_text(written, self.html())
        return written


def sweep_report(sweep: Sweep) -> SweepReport:
    """Gather what a sweep found, as far as it has come.

    Raises
    ------
    RunError : a run that it names is damaged.
    """
    from eyebright.sweeps.importance import importances  # torch and Optuna are needed to ask, and not to render

    return SweepReport(sweep, sweep.price, sweep.winner, importances(sweep))
