"""The entry of a sweep, below which a tracker shows its trials.

    tracking = sweep_entry.begin(folder, recipe.tracking, name="digits/cnn: 12 trials", parameters={"search": "grid"})
    ...                                     # each trial: dataclasses.replace(trial, tracking=tracking)
    sweep_entry.finish(folder, values={"best_validation_accuracy": 0.98}, files=["report.html"])

Like a run, a sweep keeps what is to be copied in its folder first. A trial that comes before its sweep is shown below
it as soon as the tracker has both.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from eyebright.core.errors import EyebrightError, TrackingError
from eyebright.core.files import write_json
from eyebright.core.settings.tracking import MLflowSettings, TrackingSettings
from eyebright.training.tracking import ledger, mlflow_store
from eyebright.training.tracking.entry import Entry, flattened
from eyebright.training.tracking.reading import Reading, milliseconds

_logger = logging.getLogger("eyebright")

_FILE = "sweep_entry.json"


def begin(
    folder: Path, tracking: TrackingSettings, *, name: str, parameters: Mapping[str, Any] | None = None
) -> TrackingSettings:
    """Make the entry, or take up that of a sweep which was stopped.

    A tracker that does not answer is no error: the entry is made later, by `finish` or `eyebright sync FOLDER`.

    Parameters
    ----------
    folder : of the sweep.
    tracking : of the sweep's recipe.
    name : what the tracker calls it.
    parameters : of the search; may be nested.

    Returns
    -------
    With what the trials are to be tracked; as given, where the tracker knows no entries below entries.

    Raises
    ------
    MissingExtraError : the tracker's package is not installed.
    StorageError : the folder cannot be written.
    """
    if not isinstance(tracking, MLflowSettings):
        return tracking
    mlflow_store.require(tracking)
    chosen = mlflow_store.located(tracking)
    if not is_entry(folder):
        now = datetime.datetime.now(datetime.UTC).timestamp()
        entry = Entry(name=name, started=milliseconds(now), parameters=flattened(parameters or {}))
        _write(folder, chosen, entry)
    with ledger.opened(folder) as book:
        trials = dataclasses.replace(chosen, parent=book.id)
    _copy_or_warn(folder)
    return trials


def finish(
    folder: Path,
    *,
    values: Mapping[str, float] | None = None,
    files: Sequence[str] = (),
    status: Literal["finished", "interrupted", "failed"] = "finished",
) -> None:
    """Complete the entry; does nothing where `begin` made none. A tracker that does not answer is no error.

    Parameters
    ----------
    folder : of the sweep.
    values : results, by name.
    files : to be copied, relative to the folder.
    status : how the sweep ended.
    """
    if not is_entry(folder):
        return
    tracking, entry = _read(folder)
    now = milliseconds(datetime.datetime.now(datetime.UTC).timestamp())
    scores = Reading(0, now, dict(values)) if values else entry.scores
    _write(folder, tracking, dataclasses.replace(entry, scores=scores, files=tuple(files), status=status))
    _copy_or_warn(folder)


def is_entry(folder: Path) -> bool:
    """Whether `begin` was here."""
    return (folder / _FILE).is_file()


def copy(folder: Path, tracking: MLflowSettings | None = None) -> str:
    """Give the tracker what it does not have of a sweep. Returns how to look at it.

    Raises
    ------
    TrackingError : it does not answer, or refuses.
    """
    first, entry = _read(folder)
    chosen = tracking or first
    mlflow_store.require(chosen)
    mlflow_store.copy(folder, entry, chosen, files=True)
    return mlflow_store.page(chosen)


def _copy_or_warn(folder: Path) -> None:
    try:
        copy(folder)
    except EyebrightError as error:
        _logger.warning("%s", error)


def _write(folder: Path, tracking: MLflowSettings, entry: Entry) -> None:
    write_json(folder / _FILE, {"tracking": dataclasses.asdict(tracking), "entry": dataclasses.asdict(entry)})


def _read(folder: Path) -> tuple[MLflowSettings, Entry]:
    path = folder / _FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        scores = content["entry"].pop("scores")
        entry = Entry(**content["entry"], scores=Reading(**scores) if scores else None)
        return MLflowSettings(**content["tracking"]), entry
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise TrackingError(
            f"{path} is damaged: {error!r}.", "Remove it; the trials have their own entries."
        ) from error
