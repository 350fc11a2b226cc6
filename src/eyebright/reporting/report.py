"""`Report`: the findings on one run, gathered for the page that shows them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, final

from eyebright.core.files import write_text
from eyebright.core.recipe import Recipe
from eyebright.evaluation.intervals import difference, proportion
from eyebright.evaluation.metrics import evaluate
from eyebright.evaluation.predictions import Predictions
from eyebright.evaluation.score import Score
from eyebright.evaluation.scores import Scores
from eyebright.reporting.figures import confusion_png, curves_png
from eyebright.reporting.render import render

SPLITS = ("train", "validation", "test")


class RunLike(Protocol):
    """What a report needs of a run; `eyebright.training.run.Run` is one."""

    @property
    def recipe(self) -> Recipe:
        """The whole recipe."""

    @property
    def history(self) -> list[dict[str, float]]:
        """A record an epoch."""

    @property
    def environment(self) -> dict[str, str]:
        """Versions, machine, command."""

    @property
    def data(self) -> dict[str, Any]:
        """Per split the number of images and their fingerprint; "bad": files that were left out."""

    def predictions(self, split: str) -> Predictions | None:
        """What the best model said of a split; None where it was not asked."""


@final
@dataclasses.dataclass(frozen=True, eq=False)
class Report:
    """What is known of one run. `write` renders it into one HTML file that needs no network.

    Attributes
    ----------
    recipe : what was run.
    history : a record an epoch.
    scores : by split, for the splits that were predicted.
    accuracies : by split; where a split was not predicted, as measured in training at the best epoch.
    gap : training minus validation accuracy with the ends of its interval; None without validation images.
    best : position in `history` of the epoch whose model was kept; None without validation images.
    data, environment : as the run keeps them.
    """

    recipe: Recipe
    history: Sequence[Mapping[str, float]]
    scores: Mapping[str, Scores]
    accuracies: Mapping[str, Score]
    gap: tuple[float, float, float] | None
    best: int | None
    data: Mapping[str, Any]
    environment: Mapping[str, str]

    def __repr__(self) -> str:
        shown = ", ".join(f"{split} {score}" for split, score in self.accuracies.items())
        return f"Report({self.recipe.name}: {shown or 'no epoch yet'})"

    def html(self) -> str:
        """The page.

        Raises
        ------
        MissingExtraError : Jinja2 is not installed.
        """
        return render(self)

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

    def write_figures(self, folder: str | Path) -> list[Path]:
        """Write curves.png and confusion_matrix.png into `folder`, as far as there is something to draw.

        Raises
        ------
        MissingExtraError : Matplotlib is not installed.
        StorageError : the disk refuses.
        """
        written = []
        if self.history:
            written.append(curves_png(self.history, Path(folder) / "curves.png", best=self.best))
        if self.scores:
            last = list(self.scores.values())[-1]  # test, where it was predicted
            written.append(confusion_png(last.confusion, last.classes, Path(folder) / "confusion_matrix.png"))
        return written


def report(run: RunLike) -> Report:
    """Gather what a run holds. Nothing but the scores is computed, and those by `eyebright.evaluate`.

    What is missing (test predictions, a validation split, any epoch at all) is left out of the page.
    """
    predicted = {split: run.predictions(split) for split in SPLITS}
    scores = {split: evaluate(found) for split, found in predicted.items() if found is not None and len(found)}
    best = best_epoch(run.history, run.recipe.training.monitor)
    accuracies = {}
    for split in SPLITS:
        score = scores[split].accuracy if split in scores else _in_training(run, split, best)
        if score is not None:
            accuracies[split] = score
    gap = None
    if "train" in accuracies and "validation" in accuracies:
        train, validation = accuracies["train"], accuracies["validation"]
        gap = (train.value - validation.value, *difference(train, validation))
    return Report(run.recipe, run.history, scores, accuracies, gap, best, run.data, run.environment)


def best_epoch(history: Sequence[Mapping[str, float]], monitor: str) -> int | None:
    """Position of the first epoch with the best validation score; None where there is no such score."""
    sign = 1 if monitor == "loss" else -1
    key = f"validation_{monitor}"
    scored = [
        (sign * record[key], position) for position, record in enumerate(history) if math.isfinite(_get(record, key))
    ]
    return min(scored)[1] if scored else None


def _in_training(run: RunLike, split: str, best: int | None) -> Score | None:
    """Accuracy of a split as the history has it, at the best or else the last epoch."""
    if not run.history:
        return None
    accuracy = _get(run.history[-1 if best is None else best], f"{split}_accuracy")
    n = run.data.get(split, {}).get("n", 0)
    return proportion(round(accuracy * n), n) if n and math.isfinite(accuracy) else None


def _get(record: Mapping[str, float], key: str) -> float:
    return record.get(key, math.nan)
