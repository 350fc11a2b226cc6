"""`Ledger`: which trials there are, who runs each, and what came of them. It is an Optuna study with rules.

A trial is claimed by the database, which gives each number to one process only. While it is run, its process holds a
lock on a file beside the trial's folder, which the operating system takes back however the process ends; so a trial
that is said to run and whose lock is free is dead, and goes on where its checkpoint is. Of other machines' trials no
lock can be seen. Theirs give signs of life in the shared database; without one for ten minutes the trial is given up,
and its values are run anew, under another number.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import socket
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, final

import filelock
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from eyebright.core.files import storage_errors
from eyebright.sweeps import search
from eyebright.sweeps.definition import Definition, trial_folder
from eyebright.sweeps.storage import file_url, opened, unannounced
from eyebright.sweeps.trial import Coordinates, Job, Outcome, State, Trial

# Keys of what we write to a trial, and to the study.
_OUTCOME, _PLACE, _REPEATS, _SURPLUS, _DEFINITION = "outcome", "place", "repeats", "surplus", "definition"
_STATES: dict[TrialState, State] = {
    TrialState.COMPLETE: "finished",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}
_TOLD = {"finished": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}

_logger = logging.getLogger("eyebright")


@final
@dataclasses.dataclass(frozen=True, eq=False)
class Claim:
    """A trial that this process runs, and no other.

    Attributes
    ----------
    trial : in the study.
    job : what to run.
    lock : held until the claim is released.
    beating : says that the trial is alive; set to end it.
    """

    trial: optuna.Trial
    job: Job
    lock: filelock.BaseFileLock
    beating: threading.Event

    def release(self) -> None:
        """Let others have it, should it not be finished."""
        self.beating.set()
        self.lock.release()


@final
class Ledger:
    """The trials of a sweep; from `kept`."""

    def __init__(self, definition: Definition, folder: Path, url: str, storage: RDBStorage, study: optuna.Study):
        self.definition = definition
        self.folder = folder
        self.url = url
        self.storage = storage
        self.study = study
        self._vouched: set[int] = set()  # trials without a place, for which a sign of life was given once

    def claim(self) -> Claim | None:
        """The next trial to be run: a dead one that can go on, one that was given up, or a new one.

        None where there is nothing left to begin; other processes may still run some.
        """
        with _own_signs_of_life():
            optuna.storages.fail_stale_trials(self.study)
        for frozen in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if self._here(frozen) and (claim := self._held(frozen.number)):
                return claim
            if self.definition.storage and _PLACE not in frozen.user_attrs and frozen.number not in self._vouched:
                # Its process may have died before its first sign of life: without one nobody ever gave the trial up.
                self._vouched.add(frozen.number)
                self.storage.record_heartbeat(self._id(frozen.number))
        while self._more():
            with _own_signs_of_life():
                number = self.study.ask().number
            most = self.definition.trials
            if most is not None and self._position(number) >= most:  # another process was faster with the last one
                self._drop(number)
            elif claim := self._held(number):
                return claim
        return None

    def tell(self, claim: Claim, outcome: Outcome) -> None:
        """Keep what came of a trial."""
        number = claim.trial.number
        try:
            claim.trial.set_user_attr(_OUTCOME, dataclasses.asdict(outcome))
            value = outcome.accuracy if outcome.state == "finished" else None
            self.study.tell(number, value, state=_TOLD[outcome.state])
        except (optuna.exceptions.UpdateFinishedTrialError, ValueError):
            _logger.warning("trial %d was given up for lost and is run by another process.", number)
        finally:
            claim.release()

    def trials(self) -> list[Trial]:
        """All that were begun, but for those that were given up."""
        every = self.study.get_trials(deepcopy=False)
        repeated = {frozen.user_attrs.get(_REPEATS) for frozen in every}
        begun = (
            frozen
            for frozen in every
            if frozen.state != TrialState.WAITING
            and frozen.number not in repeated
            and _SURPLUS not in frozen.user_attrs
        )
        return [self._trial(frozen) for frozen in begun]

    def _more(self) -> bool:
        """Whether a trial can be begun."""
        every = self.study.get_trials(deepcopy=False)
        waiting = any(frozen.state == TrialState.WAITING for frozen in every)
        most = self.definition.trials
        return waiting or most is None or sum(map(_counts, every)) < most

    def _position(self, number: int) -> int:
        """The place of a trial among those that are planned; one that repeats another has its place."""
        every = self.study.get_trials(deepcopy=False)
        while (repeated := every[number].user_attrs.get(_REPEATS)) is not None:
            number = repeated
        return sum(map(_counts, every[:number]))

    def _here(self, frozen: FrozenTrial) -> bool:
        """Whether the lock of a running trial can be seen."""
        return self.definition.storage is None or frozen.user_attrs.get(_PLACE) == self._place

    @property
    def _place(self) -> str:
        return f"{socket.gethostname()}:{self.folder.resolve()}"

    def _held(self, number: int) -> Claim | None:
        """A running trial as ours; None where another process holds it or has finished it."""
        folder = trial_folder(self.folder, number)
        with storage_errors(folder):
            folder.parent.mkdir(parents=True, exist_ok=True)
            # Hidden, so that TRIALS/* names the runs alone.
            lock = filelock.FileLock(folder.with_name(f".{folder.name}.lock"), timeout=0)
            try:
                lock.acquire()
            except filelock.Timeout:
                return None
        trial_id = self._id(number)
        if self.storage.get_trial(trial_id).state != TrialState.RUNNING:
            lock.release()
            return None
        trial = optuna.Trial(self.study, trial_id)
        beating = threading.Event()
        if self.definition.storage is not None:
            self.storage.record_heartbeat(trial_id)  # from here on others notice should this process die
            trial.set_user_attr(_PLACE, self._place)
        space = self.definition.space
        values = {field: each.decoded(_suggested(trial, field, each.distribution)) for field, each in space.items()}
        place = Coordinates(self.url, self.study.study_name, number, self.definition.pruner, self.definition.epochs)
        if self.definition.storage is not None:
            threading.Thread(target=self._beat, args=(trial_id, beating), daemon=True).start()
        return Claim(trial, Job(self.definition.recipe.to_dict(), values, str(folder), place), lock, beating)

    def _beat(self, trial_id: int, ended: threading.Event) -> None:
        """Say that a trial is alive, until it is not run any more."""
        interval = self.storage.heartbeat_interval
        while True:
            with contextlib.suppress(Exception):  # a database that is away for a while is asked again
                self.storage.record_heartbeat(trial_id)
            if ended.wait(interval):
                return

    def _drop(self, number: int) -> None:
        """Take back a trial that is one too many."""
        trial_id = self._id(number)
        self.storage.set_trial_user_attr(trial_id, _SURPLUS, True)
        self.storage.set_trial_state_values(trial_id, TrialState.FAIL)

    def _id(self, number: int) -> int:
        study_id = self.storage.get_study_id_from_name(self.study.study_name)
        return self.storage.get_trial_id_from_study_id_trial_number(study_id, number)

    def _trial(self, frozen: FrozenTrial) -> Trial:
        state = _STATES.get(frozen.state, "running")
        # A process that was killed while it told leaves an outcome of a trial that is still to be told.
        told = frozen.user_attrs.get(_OUTCOME) if state != "running" else None
        outcome = Outcome(**told) if told else Outcome(state)
        space = self.definition.space
        values = {field: each.decoded(frozen.params[field]) for field, each in space.items() if field in frozen.params}
        return Trial(frozen.number, values, outcome, frozen.intermediate_values)


@contextlib.contextmanager
def kept(definition: Definition, folder: Path, url: str | None = None) -> Iterator[Ledger]:
    """The ledger of a sweep, begun where there is none.

    Parameters
    ----------
    definition : of the sweep.
    folder : of the sweep; holds the runs and their locks.
    url : of the database, with its password; default: the file study.db in the folder.

    Raises
    ------
    SweepError : the database cannot be used, or holds a study of that name that was begun otherwise.
    StorageError : the database does not answer; in the context too.
    """
    where = url or file_url(folder / "study.db")
    with opened(where, shared=url is not None, lost=_repeat) as storage:
        study = _study(definition, storage)
        _agree(definition, study)
        ledger = Ledger(definition, folder, where, storage, study)
        study.sampler = search.sampler(definition, ledger._position)
        yield ledger


def _study(definition: Definition, storage: RDBStorage) -> optuna.Study:
    pruner = search.pruner(definition.pruner, definition.epochs)
    with unannounced():
        return optuna.create_study(
            storage=storage,
            study_name=definition.study,
            pruner=pruner,
            direction="maximize",
            load_if_exists=True,
        )


def _agree(definition: Definition, study: optuna.Study) -> None:
    """All who work on a study do the same."""
    begun: dict[str, Any] | None = study.user_attrs.get(_DEFINITION)
    if begun is None:
        study.set_user_attr(_DEFINITION, definition.to_dict())
    else:
        Definition.from_dict(begun).refuse_other(definition)


def _suggested(trial: optuna.Trial, field: str, among: BaseDistribution) -> Any:
    """The value that a trial takes; the same again where it has taken one."""
    if isinstance(among, CategoricalDistribution):
        return trial.suggest_categorical(field, among.choices)
    if isinstance(among, IntDistribution):
        return trial.suggest_int(field, among.low, among.high, log=among.log, step=among.step)
    if isinstance(among, FloatDistribution):
        return trial.suggest_float(field, among.low, among.high, log=among.log, step=among.step)
    raise TypeError(f"{field}: {among!r} is none of the distributions of a space")


def _repeat(study: optuna.Study, frozen: FrozenTrial) -> None:
    """Queue the values of a trial that was given up."""
    study.add_trial(
        optuna.create_trial(
            state=TrialState.WAITING,
            params=frozen.params,
            distributions=frozen.distributions,
            user_attrs={_REPEATS: frozen.number},
        )
    )


@contextlib.contextmanager
def _own_signs_of_life() -> Iterator[None]:
    """Optuna warns those who leave its loop that nobody gives signs of life; here the ledger does."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        warnings.filterwarnings("ignore", "Heartbeat of storage", UserWarning)
        yield


def _counts(frozen: FrozenTrial) -> bool:
    """Whether a trial is one of the planned ones: not the repetition of another, and not one too many."""
    return _REPEATS not in frozen.user_attrs and _SURPLUS not in frozen.user_attrs
