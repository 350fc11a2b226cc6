"""`Sweep`: how a sweep stands, read from its folder and its study."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from eyebright.audit.comparison import Comparison, compare
from eyebright.core.errors import DataError, MissingExtraError, SweepError
from eyebright.core.recipe import Recipe
from eyebright.sweeps import definition as definitions
from eyebright.sweeps import space as spaces
from eyebright.sweeps.definition import HIDDEN, Definition
from eyebright.sweeps.price import Price, price
from eyebright.training.callbacks import Callback
from eyebright.training.run import Run

if TYPE_CHECKING:
    from eyebright.sweeps.ledger import Ledger
    from eyebright.sweeps.trial import Job, State, Trial


@final
@dataclasses.dataclass(frozen=True, eq=False)
class Sweep:
    """How a sweep stands.

    Attributes
    ----------
    path : its folder: sweep.yaml, best.yaml, trials/NUMBER.
    definition : what it was asked to do.
    trials : those that were begun, by number.
    results : what was chosen and tested, by name; {} before.
    """

    path: Path
    definition: Definition
    trials: tuple[Trial, ...]
    results: Mapping[str, Any]

    def __repr__(self) -> str:
        counts = ", ".join(f"{count} {state}" for state, count in Counter(each.state for each in self.trials).items())
        best = self.best
        found = f"; best {best.accuracy} (trial {best.number})" if best else ""
        return f"Sweep({self.path}: {counts or 'no trial yet'}{found})"

    @functools.cached_property
    def ranked(self) -> list[Trial]:
        """The finished trials as the validation images order them: by accuracy, and among equals by the loss."""
        different = (trial for trial in self.of("finished") if trial.outcome.same_as is None)
        return sorted(different, key=_merit, reverse=True)

    @property
    def best(self) -> Trial | None:
        """The trial that the validation images choose; None before one is finished."""
        return next(iter(self.ranked), None)

    @functools.cached_property
    def default(self) -> Trial | None:
        """The trial of the recipe as it was, where it lies in the space and was run to its end."""
        own = spaces.own_values(self.definition.space, self.definition.recipe)
        return next((trial for trial in self.of("finished") if dict(trial.values) == own), None)

    @property
    def compared(self) -> int:
        """How many different trials the choice was made from, those included that were stopped early."""
        return sum(trial.outcome.same_as is None for trial in (*self.of("finished"), *self.of("pruned")))

    def of(self, state: State) -> list[Trial]:
        """The trials in this state."""
        return [trial for trial in self.trials if trial.state == state]

    def recipe(self, trial: Trial) -> Recipe:
        """The whole recipe of a trial."""
        return self.definition.recipe.replace(**trial.values)

    @functools.cached_property
    def winner(self) -> Run | None:
        """The run of the best trial, once it was tested; None while the choice is not made."""
        return self._tested("winner", self.best) if self.best else None

    @functools.cached_property
    def price(self) -> Price | None:
        """What the choice is worth; None while it is not made."""
        best, winner = self.best, self.winner
        if best is None or best.accuracy is None or winner is None:
            return None
        test = winner.scores.get("test")
        return price(self.compared, best.accuracy, test.accuracy if test else None, self._against_default(winner))

    def _against_default(self, winner: Run) -> Comparison | None:
        default = self._tested("default", self.default)
        if default is None or default.path == winner.path:
            return None
        one, two = default.predictions("test"), winner.predictions("test")
        if one is None or two is None:
            return None
        try:
            return compare(one, two)
        except DataError:  # fields of the data were swept: the two have not seen the same test images
            return None

    def _tested(self, role: str, trial: Trial | None) -> Run | None:
        """The run that was tested in a role, if it is still that of `trial`."""
        result = self.results.get(role, {})
        if "run" not in result or result["trial"] != (trial.number if trial else None):
            return None
        return Run.open(self.path / result["run"])  # to read what it says; nothing of it is run

    @classmethod
    def open(cls, folder: str | Path, *, storage: str | None = None) -> Sweep:
        """The sweep in a folder, as it stands.

        Parameters
        ----------
        folder : of the sweep.
        storage : URL of its database, where sweep.yaml cannot name it since it holds a password.

        Raises
        ------
        SweepError : there is none.
        StorageError : its database does not answer.
        MissingExtraError : Optuna is not installed.
        """
        path = Path(folder)
        definition, _ = definitions.read(path)
        with ledger_of(definition, path, storage) as ledger:
            return standing(path, ledger)


class Watcher(Callback):
    """Does nothing; a watcher of a sweep overrides what it wants to know. It watches each training too."""

    def trial_begun(self, number: int, job: Job) -> None:
        """When a trial is handed out."""

    def trial_done(self, trial: Trial, sweep: Sweep) -> None:
        """When a trial is over; `sweep` is how it then stands."""


def standing(path: Path, ledger: Ledger) -> Sweep:
    """The sweep in a folder, with what its ledger says."""
    _, results = definitions.read(path)
    return Sweep(path, ledger.definition, tuple(ledger.trials()), results)


def ledger_of(definition: Definition, path: Path, storage: str | None) -> contextlib.AbstractContextManager[Ledger]:
    """The ledger of a sweep, begun where there is none.

    Parameters
    ----------
    definition : of the sweep.
    path : its folder.
    storage : URL of its database with the password, where it has one; default: what the definition says.

    Raises
    ------
    MissingExtraError : Optuna is not installed.
    SweepError : the URL lacks its password, or the study is kept in the folder.
    """
    try:
        from eyebright.sweeps.ledger import kept
    except ModuleNotFoundError as error:
        if error.name != "optuna":
            raise
        raise MissingExtraError("optuna", "sweeps") from error
    if storage is not None and definition.storage is None:
        raise SweepError(f"{path} keeps its study itself, in study.db.", "Leave --storage away.")
    url = storage or definition.storage
    if url is not None and HIDDEN in url:
        raise SweepError(f"the password of {url} is not kept.", "Give the whole URL again: --storage URL")
    return kept(definition, path, url)


def _merit(trial: Trial) -> tuple[float, float, int]:
    outcome = trial.outcome
    return outcome.accuracy or 0.0, -(outcome.loss or 0.0), -trial.number
