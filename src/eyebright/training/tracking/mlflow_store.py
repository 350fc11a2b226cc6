"""Copies an `Entry` to MLflow: what is new, each thing once.

Every step can be taken again without harm, for the answer to it may have been lost with the server: a run is looked
for by the id of the folder before it is made, parameters and files replace themselves, and MLflow's databases refuse a
reading that they have (same name, step, time and value).
"""

from __future__ import annotations

import contextlib
import dataclasses
import getpass
import hashlib
import json
import os
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from eyebright.core.errors import EyebrightError, MissingExtraError, TrackingError
from eyebright.core.files import SQLITE, fixed_database
from eyebright.core.settings.tracking import MLflowSettings
from eyebright.training.tracking import ledger
from eyebright.training.tracking.entry import Entry
from eyebright.training.tracking.ledger import Copied, Ledger
from eyebright.training.tracking.reading import Reading

if TYPE_CHECKING:
    from mlflow.entities import Run as MLflowRun

T = TypeVar("T")

# Of MLflow, while we use it; what the user has set stays. Its own patience (seven tries of two minutes) would keep
# whoever waits for the end of a training; we come back ourselves.
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_DISABLE_AGENT_HINT": "1",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_UV_AUTO_DETECT": "false",  # the folder that somebody trains in is not part of the model
}

# Seconds that MLflow may take to answer: numbers, and files, which a server may pass on before it answers.
_NUMBERS, _FILES = 10, 300

_DATABASES = {"sqlite", "postgresql", "mysql", "mssql"}
_WEIGHTS = "checkpoints/best.safetensors"

# The tags by which a run is found again, and the trials of a sweep.
_ID, _PARENT = "eyebright.id", "eyebright.parent"

_NESTED = "mlflow.parentRunId"  # what MLflow itself goes by
_TRIALS = 10_000  # of one sweep

_STATUS = {"running": "RUNNING", "finished": "FINISHED", "failed": "FAILED"}
_STATUS |= dict.fromkeys(("interrupted", "pruned"), "KILLED")
_CONTEXT = {"train": "training", "validation": "validation", "test": "testing"}

# MLflow's limits: parameters or tags of one request, characters of a value, readings of one request.
_BATCH, _VALUE, _METRICS = 100, 6000, 1000


@contextlib.contextmanager
def environment(timeout: int = _NUMBERS) -> Iterator[None]:
    """MLflow's settings for a while: no telemetry, few words, and no more patience than `timeout` seconds."""
    wanted = _ENVIRONMENT | {"MLFLOW_HTTP_REQUEST_TIMEOUT": str(timeout)}
    added = {name: value for name, value in wanted.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


def require(settings: MLflowSettings) -> None:
    """Import what `copy` needs. To be called in the main thread: Python cannot silence warnings for one thread alone.

    Raises
    ------
    MissingExtraError : it is not installed.
    """
    with environment(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a package that is imported for the first time: not ours to mend
        try:
            import mlflow

            if _is_database(settings):
                import mlflow.store.tracking.sqlalchemy_store  # noqa: F401
        except ImportError as error:
            raise MissingExtraError("mlflow", "tracking") from error


def located(settings: MLflowSettings) -> MLflowSettings:
    """The settings with an address that means the same in every folder."""
    uri = settings.uri or os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlruns.db"
    return dataclasses.replace(settings, uri=fixed_database(uri))


def page(settings: MLflowSettings) -> str:
    """How to look at it."""
    return f"mlflow ui --backend-store-uri {_uri(settings)}" if _is_database(settings) else _uri(settings)


def left(folder: Path, entry: Entry, settings: MLflowSettings) -> int:
    """Epochs that the tracker does not have."""
    return len(entry.readings) - Ledger(folder).copied(_uri(settings)).readings


def copy(folder: Path, entry: Entry, settings: MLflowSettings, *, files: bool) -> None:
    """Give MLflow what it does not have; `require` comes first.

    Parameters
    ----------
    folder : whose ledger says what MLflow has.
    entry : what MLflow is to have.
    settings : which MLflow.
    files : also files and model, and not only numbers.

    Raises
    ------
    TrackingError : MLflow does not answer, or refuses; what it has taken is remembered.
    StorageError : the folder cannot be written.
    """
    try:
        with ledger.opened(folder) as book:
            with environment():
                made = _Copy(folder, entry, located(settings), book)
                run = made.numbers()
            if files:
                with environment(_FILES):
                    made.files(run)
    except EyebrightError:
        raise
    except Exception as error:  # MLflow's, and those of the database, HTTP and file system below it
        raise TrackingError(
            f"MLflow at {_uri(settings)} did not take {folder}: {_reason(error)}.",
            f"Nothing is lost. When it answers: eyebright sync {folder}",
        ) from error


class _Copy:
    """One pass over an entry."""

    def __init__(self, folder: Path, entry: Entry, settings: MLflowSettings, book: Ledger) -> None:
        from mlflow import MlflowClient

        self.folder, self.entry, self.settings, self.book = folder, entry, settings, book
        self.client = MlflowClient(tracking_uri=settings.uri)
        self.copied = book.copied(_uri(settings))

    def numbers(self) -> MLflowRun:
        """Everything but files; what MLflow calls the folder."""
        run = self._found() or self._created()
        if not self.copied.described:
            self._describe(run)
        if self.settings.parent and not self.copied.parent:
            self._link(run)
        self._send_readings(run)
        self._send_scores(run)
        if self.copied.status != self.entry.status:
            self._set_status(run)
        return run

    def files(self, run: MLflowRun) -> None:
        """Files, the model that is among them, and trials that were there before."""
        from eyebright.training.tracking.mlflow_logging import log_model

        self._adopt(run)
        for name in self.entry.files:
            path = self.folder / name
            with path.open("rb") as content:
                digest = hashlib.file_digest(content, _digest).hexdigest()
            if self.copied.files.get(name) != digest:
                parent = Path(name).parent.as_posix()
                self.client.log_artifact(run.info.run_id, str(path), None if parent == "." else parent)
                self.copied.files[name] = digest
                self.book.save()
        weights = self.copied.files.get(_WEIGHTS, "")
        if _WEIGHTS in self.entry.files and self.copied.model != weights:
            log_model(self.client, run, self.folder / _WEIGHTS, weights)
            self.copied.model = weights
            self.book.save()

    def _found(self) -> MLflowRun | None:
        """The run that MLflow has of this folder, though the answer that named it may have been lost."""
        from mlflow.exceptions import MlflowException

        if self.copied.run:
            try:
                return self.client.get_run(self.copied.run)
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
            self.copied = self.book.trackers[_uri(self.settings)] = Copied()  # a new database at the same address
        return self._search(self.book.id)

    def _search(self, identity: str) -> MLflowRun | None:
        experiment = self.client.get_experiment_by_name(self.settings.experiment)
        if experiment is None:
            return None
        found = self.client.search_runs([experiment.experiment_id], f"tags.`{_ID}` = '{identity}'", max_results=1)
        if found:
            self._remember(found[0])
        return found[0] if found else None

    def _created(self) -> MLflowRun:
        created = self.client.create_run(
            self._experiment(), start_time=self.entry.started, tags={_ID: self.book.id}, run_name=self.entry.name
        )
        self._remember(created)
        return created

    def _remember(self, run: MLflowRun) -> None:
        self.copied.run = run.info.run_id
        self.book.save()

    def _experiment(self) -> str:
        """The id of the experiment, which may have to be made."""
        from mlflow.exceptions import MlflowException

        name, uri = self.settings.experiment, _uri(self.settings)
        experiment = self.client.get_experiment_by_name(name)
        if experiment is None:
            # A server knows where its files go. A database alone would put them where this process happens to run.
            place = Path(uri.removeprefix(SQLITE)).with_suffix("") if uri.startswith(SQLITE) else None
            try:
                self.client.create_experiment(name, place.as_uri() if place else None)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":  # another run was faster
                    raise
            experiment = self.client.get_experiment_by_name(name)
        identity: str = experiment.experiment_id
        return identity

    def _describe(self, run: MLflowRun) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag, Param, RunTag

        parameters = [Param(name, value[:_VALUE]) for name, value in self.entry.parameters.items()]
        tags = [RunTag(name, value[:_VALUE]) for name, value in self._tags().items()]
        for some in _batches(parameters, _BATCH):
            self.client.log_batch(run.info.run_id, params=some)
        for some_tags in _batches(tags, _BATCH):
            self.client.log_batch(run.info.run_id, tags=some_tags)
        datasets = [
            DatasetInput(
                Dataset(
                    name=f"{Path(images.source).name} {images.split}",
                    digest=images.fingerprint,
                    source_type="local",
                    source=json.dumps({"uri": images.source}),
                    profile=json.dumps({"images": images.n}),
                ),
                [InputTag("mlflow.data.context", _CONTEXT.get(images.split, images.split))],
            )
            for images in self.entry.images
        ]
        if datasets:
            self.client.log_inputs(run.info.run_id, datasets)
        self.copied.described = True
        self.book.save()

    def _tags(self) -> dict[str, str]:
        """What MLflow shows in places of its own, and the rest under our name."""
        about = self.entry.about
        tags = {
            "mlflow.note.content": self.entry.description,
            "mlflow.source.type": "LOCAL",
            "mlflow.source.name": about.get("command", ""),
            "mlflow.source.git.commit": about.get("git", "none").partition("+")[0].replace("none", ""),
            "mlflow.user": _user(),
            "eyebright.folder": str(self.folder.resolve()),
            _PARENT: self.settings.parent or "",
        }
        tags |= {f"eyebright.{name}": value for name, value in about.items()}
        return {name: value for name, value in tags.items() if value}

    def _link(self, run: MLflowRun) -> None:
        """Show the run below its sweep; where MLflow does not have the sweep yet, the sweep will adopt it."""
        experiment = [run.info.experiment_id]
        parents = self.client.search_runs(experiment, f"tags.`{_ID}` = '{self.settings.parent}'", max_results=1)
        if parents:
            self.client.set_tag(run.info.run_id, _NESTED, parents[0].info.run_id)
            self.copied.parent = True
            self.book.save()

    def _adopt(self, run: MLflowRun) -> None:
        """Show below a sweep the trials that MLflow had before it."""
        where = f"tags.`{_PARENT}` = '{self.book.id}'"
        for trial in self.client.search_runs([run.info.experiment_id], where, max_results=_TRIALS):
            if _NESTED not in trial.data.tags:
                self.client.set_tag(trial.info.run_id, _NESTED, run.info.run_id)

    def _send_readings(self, run: MLflowRun) -> None:
        for name in ("readings", "system"):
            readings: Sequence[Reading] = getattr(self.entry, name)
            width = max((len(reading.values) for reading in readings), default=1)
            for some in _batches(readings[getattr(self.copied, name) :], _METRICS // width):
                self._send(run, some)
                setattr(self.copied, name, getattr(self.copied, name) + len(some))
                self.book.save()

    def _send_scores(self, run: MLflowRun) -> None:
        if self.entry.scores is None:
            return
        digest = _digest(json.dumps(dict(self.entry.scores.values)).encode()).hexdigest()
        if self.copied.scores != digest:
            self._send(run, [self.entry.scores])
            self.copied.scores = digest
            self.book.save()

    def _send(self, run: MLflowRun, readings: Iterable[Reading]) -> None:
        from mlflow.entities import Metric

        metrics = [
            Metric(name, value, reading.time, reading.step)
            for reading in readings
            for name, value in reading.values.items()
        ]
        self.client.log_batch(run.info.run_id, metrics=metrics)

    def _set_status(self, run: MLflowRun) -> None:
        status = _STATUS[self.entry.status]
        if status == "RUNNING":
            self.client.update_run(run.info.run_id, status)
        else:
            self.client.set_terminated(run.info.run_id, status, self.entry.ended)
        self.copied.status = self.entry.status
        self.book.save()


def _uri(settings: MLflowSettings) -> str:
    return located(settings).uri or ""


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container without a name for its user
        return ""


def _is_database(settings: MLflowSettings) -> bool:
    return re.split(r"[+:]", _uri(settings))[0] in _DATABASES


def _digest(content: bytes = b"") -> hashlib.blake2b:
    return hashlib.blake2b(content, digest_size=16)


def _reason(error: BaseException) -> str:
    """What the operating system said, where that is what MLflow's long message is about; else its first line."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ConnectionError | TimeoutError) and str(cause):
            return str(cause)
        cause = cause.__cause__ or cause.__context__
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[first : first + size] for first in range(0, len(items), size))
