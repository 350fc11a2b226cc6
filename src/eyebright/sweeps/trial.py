"""One trial: `run_trial` trains it, wherever that is; `Trial` is what a sweep remembers of it."""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, final

import optuna

from eyebright.core.device import Plan
from eyebright.core.errors import CheckpointError, MissingExtraError, StorageError, failure
from eyebright.core.recipe import Recipe
from eyebright.core.settings.data import DataSettings
from eyebright.data.image_set import Splits
from eyebright.evaluation.intervals import proportion
from eyebright.evaluation.score import Score
from eyebright.sweeps import search
from eyebright.sweeps.definition import Pruner, refuse_without_validation
from eyebright.sweeps.storage import opened
from eyebright.training.callbacks import Callback, Pruned
from eyebright.training.fit import fit, resume
from eyebright.training.run import EpochRecord, Run

State = Literal["running", "finished", "pruned", "failed"]
Images = Callable[[DataSettings], Splits]  # `eyebright.load`, or one that remembers what it loaded


@final
@dataclasses.dataclass(frozen=True)
class Coordinates:
    """Where a trial stands in its study, for whoever runs it.

    Attributes
    ----------
    url : of the study's storage.
    study : its name.
    number : of the trial.
    pruner, epochs : what may stop it, and the epochs of the longest trial.
    """

    url: str
    study: str
    number: int
    pruner: Pruner
    epochs: int


@final
@dataclasses.dataclass(frozen=True)
class Job:
    """A trial to be run, in words that another process or machine understands.

    Attributes
    ----------
    recipe : of the sweep, as `Recipe.to_dict` gives it.
    values : of the swept fields.
    folder : of the trial's run.
    place : in the study.
    """

    recipe: Mapping[str, Any]
    values: Mapping[str, Any]
    folder: str
    place: Coordinates


@final
@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of a job; everything in it can be JSON.

    Attributes
    ----------
    state : how it ended.
    accuracy, loss : of the kept epoch on the validation images; None where no epoch was finished.
    images : validation images.
    epoch, epochs : the kept one, and how many were trained.
    seconds : of training.
    failure : why it failed.
    same_as : number of the trial with the same values whose outcome this is; nothing was trained.
    """

    state: State
    accuracy: float | None = None
    loss: float | None = None
    images: int = 0
    epoch: int | None = None
    epochs: int = 0
    seconds: float = 0.0
    failure: str = ""
    same_as: int | None = None


@final
@dataclasses.dataclass(frozen=True)
class Trial:
    """What a sweep remembers of a trial.

    Attributes
    ----------
    number : from 0; its run is the folder trials/NUMBER.
    values : of the swept fields, by their full names.
    outcome : what came of it, so far.
    curve : validation accuracy of each epoch that was reported, by the number of the epoch.
    """

    number: int
    values: Mapping[str, Any]
    outcome: Outcome
    curve: Mapping[int, float]

    @property
    def state(self) -> State:
        """Where it stands."""
        return self.outcome.state

    @property
    def accuracy(self) -> Score | None:
        """On the validation images, of the epoch that was kept."""
        outcome = self.outcome
        if outcome.accuracy is None:
            return None
        return proportion(round(outcome.accuracy * outcome.images), outcome.images)

    @property
    def ended(self) -> str:
        """How it ended, in a few words."""
        outcome = self.outcome
        if outcome.same_as is not None:
            return f"the values of trial {outcome.same_as}, not run again"
        if outcome.state == "failed":
            return f"failed: {outcome.failure}"
        if outcome.state == "pruned":
            return f"pruned after epoch {outcome.epochs} at {self.accuracy}"
        return str(self.accuracy) if outcome.state == "finished" else outcome.state


def run_trial(
    job: Job, images: Images, watchers: Sequence[Callback] = (), *, reporter: Callback | None = None
) -> Outcome:
    """Train a trial, or go on with it exactly where it stopped; a finished one is not trained again.

    A plain function of its arguments, so that a remote process can call it. It looks at no test image.

    Parameters
    ----------
    job : what to run.
    images : gives the images of a choice of data.
    watchers : of the training, besides what the recipe itself names.
    reporter : a `Reporter` for a process that cannot reach the study; default: one that tells the study itself.

    Raises
    ------
    StorageError, MissingExtraError : no fault of this trial; it can go on later.
    KeyboardInterrupt : the user stopped it; it can go on later.
    """
    run = Run(Path(job.folder), trusted=True)  # the recipe is the caller's own
    try:
        chosen = Recipe.from_dict(job.recipe).replace(**job.values)
        splits = images(chosen.data)
        refuse_without_validation(chosen, splits)
        with reporting(job.place) if reporter is None else contextlib.nullcontext(reporter) as telling:
            _train(run, chosen, splits, [telling, *watchers])
    except Pruned:
        run.set_status("pruned")  # a killed process may not have come to it
        return _outcome(run, "pruned")
    except (StorageError, MissingExtraError):
        raise
    except Exception as error:  # noqa: BLE001 (whatever one trial dies of, the others are to be run)
        return Outcome("failed", failure=failure(error))
    return _outcome(run, "finished")


def _train(run: Run, chosen: Recipe, splits: Splits, callbacks: Sequence[Callback]) -> None:
    if not (run.path / "run.json").is_file():
        fit(chosen, splits, folder=run.path, callbacks=callbacks)
    elif run.status == "pruned":
        raise Pruned
    elif run.status != "finished":
        try:
            resume(run, splits, callbacks=callbacks)
        except CheckpointError:  # of another version, or of a disk that failed: the trial is run anew
            shutil.rmtree(run.path)
            fit(chosen, splits, folder=run.path, callbacks=callbacks)


def _outcome(run: Run, state: State) -> Outcome:
    history = run.history
    monitor = run.recipe.training.monitor
    sign = -1 if monitor == "loss" else 1
    kept = max(history, key=lambda record: sign * record[f"validation_{monitor}"])  # the first of equals, as `fit`
    return Outcome(
        state,
        accuracy=kept["validation_accuracy"],
        loss=kept["validation_loss"],
        images=run.data["validation"]["n"],
        epoch=int(kept["epoch"]),
        epochs=len(history),
        seconds=sum(record["seconds"] for record in history),
    )


class Reporter(Callback, abc.ABC):
    """Tells of the validation accuracy of each epoch, and ends the training when it is not worth its time any more."""

    def __init__(self) -> None:
        self.epochs = 0

    @abc.abstractmethod
    def tell(self, epoch: int, accuracy: float) -> bool:
        """Tell of an epoch, perhaps once more. Returns whether the training should end."""

    def started(self, run: Run, plan: Plan) -> None:  # noqa: ARG002 (the contract of a callback)
        """Tell what a killed process may have left untold."""
        self.epochs = run.recipe.training.epochs
        for record in run.history:
            self.epoch_done(record)

    def epoch_done(self, record: EpochRecord) -> None:
        """Tell, and ask; what has done all its epochs is not stopped any more."""
        epoch = int(record["epoch"])
        if self.tell(epoch, record["validation_accuracy"]) and epoch < self.epochs:
            raise Pruned


@final
class StudyReporter(Reporter):
    """Tells the study; from `reporting`."""

    def __init__(self, trial: optuna.Trial) -> None:
        super().__init__()
        self.trial = trial
        self.told = set(trial.storage.get_trial(trial._trial_id).intermediate_values)

    def tell(self, epoch: int, accuracy: float) -> bool:
        """An epoch that was told once has been survived."""
        if epoch in self.told:
            return False
        self.told.add(epoch)
        self.trial.report(accuracy, epoch)
        return self.trial.should_prune()


@contextlib.contextmanager
def reporting(place: Coordinates) -> Iterator[StudyReporter]:
    """What tells a study of a trial.

    Raises
    ------
    StorageError : the study's database does not answer; in the context too.
    """
    with opened(place.url) as storage:
        study = optuna.load_study(
            study_name=place.study,
            storage=storage,
            sampler=optuna.samplers.RandomSampler(),  # it is asked for nothing: the values are known
            pruner=search.pruner(place.pruner, place.epochs),
        )
        study_id = storage.get_study_id_from_name(place.study)
        trial_id = storage.get_trial_id_from_study_id_trial_number(study_id, place.number)
        yield StudyReporter(optuna.Trial(study, trial_id))
