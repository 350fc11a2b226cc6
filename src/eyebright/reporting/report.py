"""`Report`: the findings on one run, gathered for the page that shows them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, final

from eyebright.core.errors import RunError
from eyebright.core.recipe import Recipe
from eyebright.evaluation.confidence import ConfidenceBin, OperatingPoint, operating_points, reliability
from eyebright.evaluation.gap import Gap
from eyebright.evaluation.intervals import proportion
from eyebright.evaluation.metrics import evaluate
from eyebright.evaluation.predictions import Predictions
from eyebright.evaluation.score import Score
from eyebright.evaluation.scores import Scores
from eyebright.insight.findings import Findings
from eyebright.reporting import figures, report_content
from eyebright.reporting.render import Page, render

if TYPE_CHECKING:
    from PIL import Image

    from eyebright.audit.case import Remark

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


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
class Report(Page):
    """What is known of one run. `write` renders it into one HTML file that needs no network.

    Attributes
    ----------
    recipe : what was run.
    history : a record an epoch.
    predictions : by split, for the splits that were predicted.
    scores : of the predictions, by split.
    accuracies : by split; where a split was not predicted, as measured in training at the best epoch.
    gap : of the training to the validation images, or the test images where there are none; None where either is
        missing.
    best : position in `history` of the epoch whose model was kept; None without validation images.
    data, environment : as the run keeps them.
    bins, points : how far its confidence can be trusted, on the judged images; see `evaluation.confidence`.
    remarks : what the training doctor says, the most serious first.
    findings : what the model and the images say; None where they were not asked.
    """

    recipe: Recipe
    history: Sequence[Mapping[str, float]]
    predictions: Mapping[str, Predictions]
    scores: Mapping[str, Scores]
    accuracies: Mapping[str, Score]
    gap: Gap | None
    best: int | None
    data: Mapping[str, Any]
    environment: Mapping[str, str]
    bins: tuple[ConfidenceBin, ...] = ()
    points: tuple[OperatingPoint, ...] = ()
    remarks: tuple[Remark, ...] = ()
    findings: Findings | None = None

    def __repr__(self) -> str:
        shown = ", ".join(f"{split} {score}" for split, score in self.accuracies.items())
        return f"Report({self.recipe.name}: {shown or 'no epoch yet'})"

    @property
    def judged(self) -> Split | Literal[""]:
        """The split that the page is about: the test images, or what comes nearest; "" before any prediction."""
        return _judged(self.scores)

    def html(self) -> str:
        return render("report.html", report_content.content(self), report_content.script_data(self))

    def write_figures(self, folder: str | Path) -> list[Path]:
        """Write curves.png and confusion_matrix.png into `folder`, as far as there is something to draw.

        Raises
        ------
        MissingExtraError : Matplotlib is not installed.
        StorageError : the disk refuses.
        """
        written = []
        if self.history:
            written.append(figures.write_png(self.curves(dpi=figures.PRINT), Path(folder) / "curves.png"))
        if self.judged:
            matrix = self.confusion_matrix(dpi=figures.PRINT)
            written.append(figures.write_png(matrix, Path(folder) / "confusion_matrix.png"))
        return written

    def curves(self, *, dpi: int = figures.SCREEN) -> Image.Image:
        """Loss and accuracy over the epochs, the kept one marked.

        Raises
        ------
        MissingExtraError : Matplotlib is not installed.
        """
        return figures.curves(self.history, best=self.best, dpi=dpi)

    def confusion_matrix(self, *, dpi: int = figures.SCREEN) -> Image.Image:
        """Which class was taken for which, on the judged images.

        Raises
        ------
        RunError : no images were judged yet.
        MissingExtraError : Matplotlib is not installed.
        """
        if not self.judged:
            raise RunError(f"a run of {self.recipe.name} was not judged yet.", "Judge it: eyebright evaluate RUN")
        scores = self.scores[self.judged]
        return figures.confusion(scores.confusion, scores.classes, dpi=dpi)


def report(run: RunLike, findings: Findings | None = None) -> Report:
    """Gather what a run holds. Nothing but the scores is computed, and those by `eyebright.evaluate`.

    What is missing (test predictions, a validation split, any epoch at all) is left out of the page.

    Parameters
    ----------
    run : with as many epochs as there are.
    findings : from `eyebright.findings(run, splits)`; without them the page has curves and numbers, and no images.
    """
    found = {split: run.predictions(split) for split in SPLITS}
    predictions: dict[str, Predictions] = {
        split: made for split, made in found.items() if made is not None and len(made)
    }
    scores: dict[str, Scores] = {split: evaluate(made) for split, made in predictions.items()}
    best = best_epoch(run.history, run.recipe.training.monitor)
    accuracies: dict[str, Score] = {}
    for split in SPLITS:
        score = scores[split].accuracy if split in scores else _in_training(run, split, best)
        if score is not None:
            accuracies[split] = score
    held_out = next((split for split in ("validation", "test") if split in accuracies), "")
    gap = None
    if "train" in accuracies and held_out:
        gap = Gap.between(accuracies["train"], accuracies[held_out], held_out)
    judged = _judged(scores)
    return Report(
        recipe=run.recipe,
        history=run.history,
        predictions=predictions,
        scores=scores,
        accuracies=accuracies,
        gap=gap,
        best=best,
        data=run.data,
        environment=run.environment,
        bins=reliability(predictions[judged]) if judged else (),
        points=operating_points(predictions[judged]) if judged else (),
        remarks=_remarks(run, scores, findings),
        findings=findings,
    )


def _remarks(run: RunLike, scores: Mapping[str, Scores], findings: Findings | None) -> tuple[Remark, ...]:
    """What the training doctor says: of all the evidence where the images are at hand, else of what the run keeps."""
    from eyebright.audit.training_doctor import diagnose  # torch is needed here, and not to list runs

    if findings is not None and findings.remarks is not None:
        return findings.remarks
    activity = findings.activity if findings else ()
    return diagnose(run.history, recipe=run.recipe, scores=scores, activity=activity, environment=run.environment)


def _judged(scores: Mapping[str, Scores]) -> Split | Literal[""]:
    return next((split for split in reversed(SPLITS) if split in scores), "")


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
