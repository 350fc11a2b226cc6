"""`Scores`: all that one split says of a model, readable as text and as JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyebright.core.settings.training import Views
from eyebright.evaluation.intervals import proportion
from eyebright.evaluation.score import Score

_SHOWN_CLASSES = 20  # rows of the printed table; of more classes it shows the worst
_NAME_WIDTH = 20  # characters


@dataclasses.dataclass(frozen=True)
class ClassScores:
    """How one class fares.

    Attributes
    ----------
    name : of the class.
    precision : share right of the images predicted as this class; None where none was.
    recall : share found of the images of this class; None where there is none.
    f1 : harmonic mean of both; None where the class was neither given nor predicted.
    support : images of this class.
    """

    name: str
    precision: Score | None
    recall: Score | None
    f1: Score | None
    support: int

    def to_dict(self) -> dict[str, Any]:
        """A dictionary that JSON can hold."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> ClassScores:
        """The inverse of `to_dict`."""
        return cls(**value | {name: _read(value[name]) for name in ("precision", "recall", "f1")})


@dataclasses.dataclass(frozen=True)
class Confusion:
    """One kind of mistake: images of class `given` that were taken for `predicted`.

    Attributes
    ----------
    given, predicted : class names.
    count : how many.
    share : of the images of the given class.
    """

    given: str
    predicted: str
    count: int
    share: Score


@dataclasses.dataclass(frozen=True, eq=False)
class Scores:
    """Scores of one model on one split.

    Attributes
    ----------
    source, split : which images.
    n : how many.
    accuracy : share of images whose largest logit is their class.
    top5 : share of images whose class is among the five largest logits; None for five classes or fewer.
    precision, recall, f1 : macro averages, every class counting the same.
    log_loss : mean of -log(probability of the given class), in nats.
    calibration_error : expected calibration error, 0..1, of 15 bins (fewer below 150 images); biased upwards.
    per_class : (K,) in the order of the classes.
    confusion : (K, K) int64 counts; rows are the given classes, columns the predicted ones.
    bootstrap, seed : how the bootstrapped intervals were made.
    views : of each image that were averaged, see `eyebright.evaluation.views`.
    """

    source: str
    split: str
    n: int
    accuracy: Score
    top5: Score | None
    precision: Score
    recall: Score
    f1: Score
    log_loss: Score
    calibration_error: Score
    per_class: tuple[ClassScores, ...]
    confusion: NDArray[np.int64]
    bootstrap: int
    seed: int
    views: Views = "one"

    @property
    def classes(self) -> tuple[str, ...]:
        """(K,) class names."""
        return tuple(row.name for row in self.per_class)

    @property
    def overall(self) -> dict[str, Score]:
        """The scores of the whole split, under the names that people know them by."""
        named = {
            "accuracy": self.accuracy,
            "top-5 accuracy": self.top5,
            "macro precision": self.precision,
            "macro recall": self.recall,
            "macro F1": self.f1,
            "log loss": self.log_loss,
            "calibration error": self.calibration_error,
        }
        return {name: score for name, score in named.items() if score is not None}

    def confusions(self, count: int = 10) -> list[Confusion]:
        """The most frequent kinds of mistake, the most frequent first; at most `count`."""
        mistakes = self.confusion - np.diag(self.confusion.diagonal())  # (K, K)
        support = self.confusion.sum(axis=1)  # (K,)
        order = np.argsort(-mistakes, axis=None, kind="stable")[:count]
        found = [(*divmod(int(cell), len(mistakes)), int(mistakes.flat[cell])) for cell in order]
        return [
            Confusion(self.classes[row], self.classes[column], times, proportion(times, int(support[row])))
            for row, column, times in found
            if times > 0
        ]

    def __repr__(self) -> str:
        return "\n".join([*self._summary_lines(), "", *self._class_lines()])

    def to_dict(self) -> dict[str, Any]:
        """A dictionary that JSON can hold."""
        return dataclasses.asdict(self) | {"confusion": self.confusion.tolist()}

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Scores:
        """The inverse of `to_dict`."""
        named = ("accuracy", "top5", "precision", "recall", "f1", "log_loss", "calibration_error")
        fields = value | {name: _read(value[name]) for name in named}
        fields["per_class"] = tuple(ClassScores.from_dict(row) for row in value["per_class"])
        fields["confusion"] = np.array(value["confusion"], dtype=np.int64)
        return cls(**fields)

    def _summary_lines(self) -> Iterator[str]:
        views = "" if self.views == "one" else f", averaged over the views {self.views!r}"
        yield f"{self.source} {self.split}: {self.n} images, {len(self.per_class)} classes{views}"
        yield ""
        for name, score in self.overall.items():
            yield f"  {name:<18} {score}"

    def _class_lines(self) -> Iterator[str]:
        rows: list[ClassScores] = list(self.per_class)
        if len(rows) > _SHOWN_CLASSES:
            rows = worst_first(self.per_class)[:_SHOWN_CLASSES]
            yield f"  the {_SHOWN_CLASSES} weakest of {len(self.per_class)} classes"
        width = min(_NAME_WIDTH, max(len("class"), *(len(row.name) for row in rows)))
        yield f"  {'class':<{width}}  {'precision':<20}  {'recall':<20}  {'F1':<20}  images"
        for row in rows:
            cells = "  ".join(f"{_text(score):<20}" for score in (row.precision, row.recall, row.f1))
            yield f"  {row.name[:width]:<{width}}  {cells}  {row.support:>6}"


def worst_first(rows: tuple[ClassScores, ...]) -> list[ClassScores]:
    """Classes by rising F1; those without one come last."""
    return sorted(rows, key=lambda row: (row.f1 is None, row.f1.value if row.f1 else 0.0))


def _text(score: Score | None) -> str:
    return "-" if score is None else f"{score.value:.3f} [{score.low:.3f}, {score.high:.3f}]"


def _read(value: dict[str, Any] | None) -> Score | None:
    return None if value is None else Score.from_dict(value)
