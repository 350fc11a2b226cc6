"""`Run`: the folder that a training fills, and the only writer of it. Every write is atomic.

recipe.yaml              the whole recipe, ready to be run again
run.json                 status, data fingerprints, environment
splits.safetensors       rows of the source in each split
history.jsonl            a line an epoch
checkpoints/last.safetensors   everything that resuming needs
checkpoints/best.safetensors   the model to keep: weights, InputSpec, model settings
predictions/SPLIT.safetensors
scores.json, report.html, *.png
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import filelock
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from eyebright.core.errors import RunError, nearest
from eyebright.core.files import storage_errors, write_bytes, write_json, write_text
from eyebright.core.recipe import Recipe, recipe
from eyebright.core.settings.model import CustomSettings
from eyebright.data.image_set import Splits
from eyebright.evaluation.predictions import Predictions
from eyebright.evaluation.scores import Scores
from eyebright.models import weights
from eyebright.models.classifier import Classifier

Status = Literal["running", "finished", "interrupted", "pruned", "failed"]
EpochRecord = dict[str, float]


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """One training and all that came of it.

    Attributes
    ----------
    path : its folder.
    trusted : whether the code that a custom model names may be run; a folder may come from a stranger.
    """

    path: Path
    trusted: bool = False

    @classmethod
    def create(cls, path: Path, chosen: Recipe, splits: Splits, environment: dict[str, str]) -> Run:
        """Begin a run in a new or empty folder.

        Raises
        ------
        RunError : the folder holds something already.
        """
        if path.exists() and not (path.is_dir() and all(_unfinished(child) for child in path.iterdir())):
            raise RunError(f"{path} is not empty.", f"Choose another folder, or continue it with --resume {path}")
        with storage_errors(path):
            path.mkdir(parents=True, exist_ok=True)
        run = cls(path, trusted=True)  # the recipe is the caller's own
        write_text(path / "recipe.yaml", chosen.to_yaml())
        rows = {part.split: np.ascontiguousarray(part.index) for part in splits}
        write_bytes(path / "splits.safetensors", save(rows))
        data: dict[str, Any] = {part.split: {"n": len(part), "fingerprint": part.fingerprint} for part in splits}
        stores = {id(part.store): part.store for part in splits}
        data["bad"] = [dataclasses.asdict(bad) for store in stores.values() for bad in store.bad]
        # run.json comes last: a folder without it is not a run.
        write_json(path / "run.json", {"status": "running", "data": data, "environment": environment})
        return run

    @classmethod
    def open(cls, path: str | Path, *, trust: bool = False) -> Run:
        """An existing run.

        Parameters
        ----------
        path : its folder.
        trust : allow a custom model (`model.name=custom`) to import and run the code that the folder names.

        Raises
        ------
        RunError : there is none at `path`.
        """
        folder = Path(path)
        if not (folder / "run.json").is_file():
            siblings = [child.name for child in folder.parent.glob("*") if (child / "run.json").is_file()]
            hint = nearest(folder.name, siblings) or "List the runs with: eyebright runs"
            raise RunError(f"{path} is not a run: it holds no run.json.", hint)
        return cls(folder, trusted=trust)

    def __repr__(self) -> str:
        return f"Run({self.path}, {self.status}, {len(self.history)} epochs)"

    @functools.cached_property
    def recipe(self) -> Recipe:
        """The whole recipe."""
        return recipe(self.path / "recipe.yaml")

    @property
    def status(self) -> Status:
        """ "running" too after a kill; `eyebright train --resume` continues from the last checkpoint."""
        status: Status = self._about()["status"]
        return status

    @property
    def environment(self) -> dict[str, str]:
        """Versions, machine, command."""
        environment: dict[str, str] = self._about()["environment"]
        return environment

    @property
    def data(self) -> dict[str, Any]:
        """Per split the number of images and their fingerprint; "bad": files that were left out."""
        data: dict[str, Any] = self._about()["data"]
        return data

    @property
    def history(self) -> list[EpochRecord]:
        """A record an epoch: losses (nats), accuracies (0..1), learning rate, seconds, images/s."""
        path = self.path / "history.jsonl"
        if not path.exists():
            return []
        try:
            records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        except (OSError, ValueError) as error:
            raise self._damaged_history(str(error)) from error
        if not all(isinstance(record, dict) for record in records):
            raise self._damaged_history("a line is no record of an epoch")
        return records

    @property
    def scores(self) -> dict[str, Scores]:
        """What `judge` found, by split; empty before."""
        path = self.path / "scores.json"
        if not path.is_file():
            return {}
        remedy = f"Make it again: eyebright evaluate {self.path}"
        found = _read_dictionary(path, keys=(), remedy=remedy)
        try:
            return {split: Scores.from_dict(value) for split, value in found.items()}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise RunError(f"{path} is damaged: {error!r}.", remedy) from error

    @property
    def model(self) -> Classifier:
        """The best model, on the CPU, in evaluation mode.

        Raises
        ------
        RunError : no epoch was finished yet.
        """
        path = self.best_checkpoint
        if not path.is_file():
            raise RunError(f"{self.path} has no model yet.", f"Finish an epoch: eyebright train --resume {self.path}")
        self.check_trust()
        return weights.load(path, expected=self.recipe.model)

    @property
    def best_checkpoint(self) -> Path:
        """Weights, InputSpec and settings of the model to keep."""
        return self.path / "checkpoints" / "best.safetensors"

    @property
    def last_checkpoint(self) -> Path:
        """Everything that resuming needs."""
        return self.path / "checkpoints" / "last.safetensors"

    def predictions(self, split: str) -> Predictions | None:
        """What the best model said of a split; None where it was not asked."""
        path = self.path / "predictions" / f"{split}.safetensors"
        return Predictions.load(path) if path.is_file() else None

    def save_predictions(self, predictions: Predictions) -> None:
        """Keep predictions under the name of their split."""
        predictions.save(self.path / "predictions" / f"{predictions.split}.safetensors")

    def save_history(self, history: list[EpochRecord]) -> None:
        """Replace the history."""
        write_text(self.path / "history.jsonl", "".join(json.dumps(record) + "\n" for record in history))

    def save_scores(self, scores: dict[str, Any]) -> None:
        """Replace the scores, by split."""
        write_json(self.path / "scores.json", scores)

    def set_status(self, status: Status) -> None:
        """Say where the training stands."""
        write_json(self.path / "run.json", self._about() | {"status": status})

    def replan(self, epochs: int, why: str) -> Run:
        """Give what is left of the training another number of epochs, and keep a note of it in the environment.

        Returns the run as it is then. Its recipe says where the training goes, and no more how it came here.
        """
        note = f"{epochs} instead of {self.recipe.training.epochs} epochs from epoch {len(self.history) + 1} on, {why}"
        notes = "; ".join(filter(None, [self.environment.get("replanned"), note]))
        write_json(self.path / "run.json", self._about() | {"environment": self.environment | {"replanned": notes}})
        write_text(self.path / "recipe.yaml", self.recipe.replace(epochs=epochs).to_yaml())
        return Run(self.path, self.trusted)

    def check_trust(self) -> None:
        """Refuse to run code that an untrusted folder names.

        Raises
        ------
        RunError : the model is a custom one, and the run was not opened with trust.
        """
        model = self.recipe.model
        if isinstance(model, CustomSettings) and not self.trusted:
            raise RunError(
                f"{self.path} holds a custom model: to use it means to run {model.target}.",
                "If you trust that code: Run.open(path, trust=True), or --trust on the command line.",
            )

    def check_data(self, splits: Splits) -> None:
        """Refuse to go on with other data than the run began with.

        Raises
        ------
        RunError : names the split that differs.
        """
        for part in splits:
            if self.data[part.split]["fingerprint"] != part.fingerprint:
                raise self._other_data(part.split)

    def select(self, splits: Splits) -> Splits:
        """The same sources divided as this run divided them, whatever the splitting code does today.

        Raises
        ------
        RunError : the record of the splits is damaged, or a source has fewer images than it had.
        """
        path = self.path / "splits.safetensors"
        try:
            rows = load_file(path)
        except (OSError, SafetensorError) as error:
            raise RunError(f"{path} cannot be read: {error}", "Begin a new run.") from error
        selected = []
        for part in splits:
            index = rows.get(part.split)
            if index is None:
                raise RunError(f"{path} does not say which images are for {part.split}.", "Begin a new run.")
            if index.size and index.max() >= len(part.store.labels):
                raise self._other_data(part.split)
            selected.append(dataclasses.replace(part, index=index))
        return Splits(*selected)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep every other process from training in this folder.

        Raises
        ------
        RunError : another process does.
        StorageError : the folder cannot be written.
        """
        lock = filelock.FileLock(self.path / ".lock", timeout=0)
        try:
            with storage_errors(self.path):
                lock.acquire()
        except filelock.Timeout:
            raise RunError(f"{self.path} is being trained by another process.", "Wait for it, or stop it.") from None
        try:
            yield
        finally:
            lock.release()

    def _about(self) -> dict[str, Any]:
        return _read_dictionary(
            self.path / "run.json", keys=("status", "data", "environment"), remedy="Begin a new run."
        )

    def _other_data(self, split: str) -> RunError:
        return RunError(
            f"the {split} images are not those that {self.path} was begun with.",
            "Restore the data, or begin a new run.",
        )

    def _damaged_history(self, reason: str) -> RunError:
        return RunError(
            f"{self.path / 'history.jsonl'} is damaged: {reason}.",
            f"Write it anew from the checkpoint: eyebright train --resume {self.path}",
        )


def _read_dictionary(path: Path, *, keys: Sequence[str], remedy: str) -> dict[str, Any]:
    """A JSON file of the run that must hold at least `keys`."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{path} cannot be read: {error}", remedy) from error
    if not isinstance(value, dict) or not all(key in value for key in keys):
        raise RunError(f"{path} is damaged: it does not hold what a run writes there.", remedy)
    return value


def _unfinished(file: Path) -> bool:
    """Whether a file may lie in the folder of a run that was killed before it began."""
    return file.name in {"recipe.yaml", "splits.safetensors"} or file.suffix == ".tmp"


def runs(folder: str | Path = "runs") -> list[Run]:
    """All runs below `folder`, oldest first; before them those whose run.json is damaged."""
    found = [Run(path.parent) for path in sorted(Path(folder).glob("**/run.json"))]
    return sorted(found, key=_started)


def _started(run: Run) -> str:
    try:
        return run.environment.get("started", "")
    except RunError:  # one damaged run does not hide the others; whoever reads it is told
        return ""
