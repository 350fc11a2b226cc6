"""`SweepReport`: what a sweep found, on one page."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, final

from eyebright.reporting import sweep_content
from eyebright.reporting.render import Page, render

if TYPE_CHECKING:
    from eyebright.sweeps.price import Price
    from eyebright.sweeps.standing import Sweep
    from eyebright.training.run import Run


@final
@dataclasses.dataclass(frozen=True, eq=False)
class SweepReport(Page):
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
        return render("sweep.html", sweep_content.content(self), {})


def sweep_report(sweep: Sweep) -> SweepReport:
    """Gather what a sweep found, as far as it has come.

    Raises
    ------
    RunError : a run that it names is damaged.
    """
    from eyebright.sweeps.importance import importances  # torch and Optuna are needed to ask, and not to render

    return SweepReport(sweep, sweep.price, sweep.winner, importances(sweep))
