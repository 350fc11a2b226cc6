"""`sweep`: try values of a recipe's fields, choose by validation, and say what the choice is worth."""

from __future__ import annotations

import dataclasses
import datetime
import functools
import logging
import secrets
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import filelock

from eyebright.core.errors import SweepError
from eyebright.core.files import fixed_database, storage_errors
from eyebright.core.recipe import Recipe
from eyebright.core.settings.model import CustomSettings
from eyebright.data.image_set import Splits
from eyebright.data.load import load, located
from eyebright.sweeps import conclusion, standing
from eyebright.sweeps import definition as definitions
from eyebright.sweeps import space as spaces
from eyebright.sweeps.definition import Definition
from eyebright.sweeps.standing import Sweep, Watcher
from eyebright.training.tracking import sweep_entry

if TYPE_CHECKING:
    from eyebright.sweeps.executor import Executor
    from eyebright.sweeps.ledger import Claim, Ledger
    from eyebright.sweeps.trial import Images, Job, Outcome, Trial

_SHARED_SETS = 2  # sets of images that are held at a time: a sweep of fields of the data alternates between some
# After so many proposals in a row that were tried before, a search has seen its space: it would go on for hours.
_IN_VAIN = 50

_logger = logging.getLogger("eyebright")


def sweep(  # noqa: PLR0913 - how to search, for how long, and where: all but the first two have a default
    recipe: Recipe,
    fields: Mapping[str, Any],
    *,
    search: str = "grid",
    trials: int | None = None,
    minutes: float | None = None,
    pruner: str | None = None,
    folder: str | Path | None = None,
    storage: str | None = None,
    study: str | None = None,
    splits: Splits | Images | None = None,
    executor: Executor | None = None,
    watcher: Watcher | None = None,
) -> Sweep:
    """Train a recipe with many values of some fields, choose the best by validation, test it once.

    Parameters
    ----------
    recipe : of all trials.
    fields : by the name of a field, a list of its values; or a text in Hydra's grammar, such as
        "tag(log,interval(1e-4,1e-1))"; or an `Interval`.
    search : "grid" tries all combinations; "tpe", "random" and "cmaes" propose some.
    trials : how many a search proposes.
    minutes : begin no trial that would likely end later than this; counted from the call.
    pruner : what stops a trial that falls behind: "none" (default of a grid), "median" (of a search), "asha",
        "hyperband".
    folder : of the sweep, new; default: `sweeps/NAME/TIME`.
    storage : URL of a database that several machines share; default: a file in the folder.
    study : name of the study there; a machine that names one which is there already joins in.
    splits : the images of all trials, or what gives those of a choice of data; default: `eyebright.load`.
    executor : where trials are run; default: in this process, one after the other.
    watcher : told of trials and, in this process, of their trainings.

    Returns
    -------
    The sweep, with its winner tested; without, where other processes still run trials.

    Raises
    ------
    RecipeError : a field or a value does not exist or does not fit, or there are no validation images to choose by.
    SweepError : the search does not fit the fields, the folder is taken, or all trials failed.
    StorageError : the disk or the database refuses; the sweep can be resumed.
    MissingExtraError : Optuna is not installed.
    KeyboardInterrupt : the user stopped it; it can be resumed exactly.
    """
    storage = storage and fixed_database(storage)
    if study is not None and storage is None:
        raise SweepError("a study has a name for other machines to join it.", "Say where it is kept: --storage URL")
    recipe = dataclasses.replace(recipe, data=located(recipe.data))  # it may be resumed from any folder
    path = Path(folder) if folder else new_folder(recipe)
    defined = definitions.define(
        recipe, spaces.given(fields), search=search, trials=trials, pruner=pruner, endless=minutes is not None
    )
    defined = dataclasses.replace(
        defined,
        study=study or f"{recipe.name} {path.name}",
        storage=storage and definitions.without_password(storage),
    )
    work = _Work(_images(splits), minutes, executor, watcher or Watcher())
    _refuse_unfit(defined, splits, work.images)
    with standing.ledger_of(defined, _new(path), storage) as ledger:
        definitions.write(path, defined)
        return _carried_out(path, ledger, work)


def resume_sweep(  # noqa: PLR0913 - as `sweep`
    folder: str | Path,
    *,
    trials: int | None = None,
    minutes: float | None = None,
    storage: str | None = None,
    splits: Splits | Images | None = None,
    trust: bool = False,
    executor: Executor | None = None,
    watcher: Watcher | None = None,
) -> Sweep:
    """Go on with a sweep that was stopped, killed, or is to have more trials; beside others that work on it, too.

    No finished trial is run again. One that was stopped or killed goes on exactly where its checkpoint is.

    Parameters
    ----------
    folder : of the sweep.
    trials : how many a search is to have in all; default: as before.
    trust : allow what a folder from a stranger could abuse: a custom model runs the code that it names, and "cmaes"
        keeps its state as a pickle.
    minutes, storage, splits, executor, watcher : as `sweep` takes them; `minutes` are counted anew.

    Raises
    ------
    SweepError : the folder holds no sweep, or one that is not trusted; or all trials failed.
    """
    path = Path(folder)
    defined, results = definitions.read(path)
    _check_trust(defined, trust)
    if trials is not None and trials != defined.trials:
        if defined.search == "grid":
            raise SweepError("a grid has as many trials as combinations.", "Leave --trials away.")
        defined = dataclasses.replace(defined, trials=trials)
        definitions.write(path, defined, results)
    if defined.trials is None and minutes is None:
        raise SweepError("this search has no end of its own.", "Say how long: --minutes 60 or --trials 50")
    work = _Work(_images(splits), minutes, executor, watcher or Watcher())
    with standing.ledger_of(defined, path, storage) as ledger:
        return _carried_out(path, ledger, work)


def new_folder(recipe: Recipe) -> Path:
    """Where a sweep goes by default: sorts by time, and two begun in the same second differ."""
    now = datetime.datetime.now(datetime.UTC)
    return Path("sweeps") / recipe.name / f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


@final
@dataclasses.dataclass(frozen=True)
class _Work:
    """How this process works on a sweep."""

    images: Images
    minutes: float | None
    executor: Executor | None
    watcher: Watcher


def _carried_out(path: Path, ledger: Ledger, work: _Work) -> Sweep:
    """Run what is left of the trials, then choose."""
    defined = ledger.definition
    ledger.definition = _tracked(path, defined)
    _run(path, ledger, work)
    ledger.definition = defined
    found = standing.standing(path, ledger)
    if found.of("running"):  # other processes run them; the last one chooses
        return found
    with filelock.FileLock(path / "conclusion.lock"):  # two processes may find the last trial done
        found = standing.standing(path, ledger)
        concluded = conclusion.conclude(found, work.images, [work.watcher])
        sweep_entry.finish(path, values=_values(concluded), files=[definitions.FILE, conclusion.BEST])
    return concluded


def _run(path: Path, ledger: Ledger, work: _Work) -> None:
    from eyebright.sweeps.executor import here

    clock = _Clock(work.minutes)
    claims: dict[int, Claim] = {}

    def tell(claim: Claim, outcome: Outcome) -> None:
        ledger.tell(claim, outcome)
        found = standing.standing(path, ledger)
        for trial in found.trials:
            if trial.number == claim.trial.number:
                work.watcher.trial_done(trial, found)

    def jobs() -> Iterator[Job]:
        in_vain = 0
        while clock.allows_another() and (claim := ledger.claim()):
            number = claim.trial.number
            claims[number] = claim
            twin = _twin(ledger.trials(), claim.job.values)
            if twin is not None:
                tell(claims.pop(number), dataclasses.replace(twin.outcome, same_as=twin.number, seconds=0.0))
                in_vain += 1
                if in_vain == _IN_VAIN:
                    _logger.info("the last %d proposals had been tried before: the search ends.", in_vain)
                    return
                continue
            in_vain = 0
            clock.begin(number)
            work.watcher.trial_begun(number, claim.job)
            yield claim.job

    execute = work.executor or here(work.images, [work.watcher])
    try:
        for job, outcome in execute(jobs()):
            clock.end(job.place.number)
            tell(claims.pop(job.place.number), outcome)
    finally:
        for claim in claims.values():  # they were stopped, and go on when the sweep is resumed
            claim.release()


@final
class _Clock:
    """Says whether there is time for another trial, from what the others took."""

    def __init__(self, minutes: float | None) -> None:
        self.deadline = None if minutes is None else time.monotonic() + 60 * minutes
        self.begun: dict[int, float] = {}
        self.took: list[float] = []

    def begin(self, number: int) -> None:
        """A trial starts."""
        self.begun[number] = time.monotonic()

    def end(self, number: int) -> None:
        """It is over."""
        self.took.append(time.monotonic() - self.begun.pop(number))

    def allows_another(self) -> bool:
        """Whether one more would likely be over in time."""
        expected = statistics.median(self.took) if self.took else 0.0
        return self.deadline is None or time.monotonic() + expected < self.deadline


def _twin(trials: Sequence[Trial], values: Mapping[str, Any]) -> Trial | None:
    """The trial that has shown already what comes of these values: the same seed would give the same again."""
    for trial in trials:
        if trial.state in {"finished", "failed"} and trial.values == values and trial.outcome.same_as is None:
            return trial
    return None


def _images(splits: Splits | Images | None) -> Images:
    if isinstance(splits, Splits):
        return lambda _: splits
    return functools.lru_cache(maxsize=_SHARED_SETS)(splits or load)


def _refuse_unfit(defined: Definition, splits: Splits | Images | None, images: Images) -> None:
    swept = [field for field in defined.space if field.partition(".")[0] == "data"]
    if swept and isinstance(splits, Splits):
        raise SweepError(
            f"{swept[0]} cannot be swept while the images are given.",
            "Leave splits away, or give a function of the settings.",
        )
    definitions.refuse_without_validation(defined.recipe, images(defined.recipe.data))


def _new(path: Path) -> Path:
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise SweepError(
            f"{path} is not empty.", f"Choose another folder, or continue: eyebright sweep --resume {path}"
        )
    with storage_errors(path):
        path.mkdir(parents=True, exist_ok=True)
    return path


def _tracked(path: Path, defined: Definition) -> Definition:
    """With what the trials are to be tracked, below one entry."""
    parameters = {"search": defined.search, "space": spaces.to_plain(defined.space)}
    name = f"{defined.recipe.name}: sweep {path.name}"
    tracking = sweep_entry.begin(path, defined.recipe.tracking, name=name, parameters=parameters)
    return dataclasses.replace(defined, recipe=dataclasses.replace(defined.recipe, tracking=tracking))


def _values(concluded: Sweep) -> dict[str, float]:
    """What a tracker shows of the sweep itself."""
    best, paid = concluded.best, concluded.price
    values = {"best_validation_accuracy": best.accuracy.value} if best and best.accuracy else {}
    return values | ({"test_accuracy": paid.test.value} if paid and paid.test else {})


def _check_trust(defined: Definition, trust: bool) -> None:
    model = defined.recipe.model
    dangers = []
    if isinstance(model, CustomSettings):
        dangers.append(f"a custom model: to go on means to run {model.target}")
    if defined.search == "cmaes":
        dangers.append("the state of cmaes as a pickle, which can run any code")
    if dangers and not trust:
        raise SweepError(
            f"the sweep keeps {' and '.join(dangers)}.",
            "If it is yours, or you trust its maker: --trust, or trust=True.",
        )
