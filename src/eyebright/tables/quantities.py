"""What a table asks of a run: a number in the unit in which tables print it, with its interval over images."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Literal

from eyebright.core.errors import RecipeError, nearest
from eyebright.evaluation.intervals import difference, proportion
from eyebright.evaluation.score import Score
from eyebright.evaluation.scores import Scores
from eyebright.training.run import Run

_RECALL_OF = "recall of "  # then the name of a class

# The values that a unit leaves possible.
_LIMITS = {"%": (0.0, 100.0), "points": (-100.0, 100.0), "min": (0.0, math.inf)}


@dataclasses.dataclass(frozen=True)
class Measured:
    """A number of one run.

    Attributes
    ----------
    value : in the unit of its quantity.
    images : ends of the 95 % interval over images; None where the number is not counted on images.
    """

    value: float
    images: tuple[float, float] | None = None


@dataclasses.dataclass(frozen=True)
class Quantity:
    """What can be asked of a judged run.

    Attributes
    ----------
    name : as tables write it.
    unit : "%", "points" or "min".
    better : which way is better; None where neither is.
    measure : takes it from a run.
    """

    name: str
    unit: str
    better: Literal["higher", "lower"] | None
    measure: Callable[[Run], Measured]

    @property
    def limits(self) -> tuple[float, float]:
        """The values that there can be."""
        return _LIMITS[self.unit]


def quantity(name: str) -> Quantity:
    """The quantity of this name.

    Raises
    ------
    RecipeError : there is none.
    """
    if name.startswith(_RECALL_OF):
        wanted = name.removeprefix(_RECALL_OF)
        return Quantity(name, "%", "higher", lambda run: _percent(_class_recall(_scores(run, "test"), wanted)))
    found = {each.name: each for each in _QUANTITIES}.get(name)
    if found is None:
        known = [each.name for each in _QUANTITIES]
        raise RecipeError(f"no quantity is called {name!r}.", nearest(name, [*known, f"{_RECALL_OF}CLASS"]))
    return found


def _percent(score: Score) -> Measured:
    return Measured(100 * score.value, (100 * score.low, 100 * score.high))


def _scores(run: Run, split: str) -> Scores:
    scores = run.scores
    if split not in scores:
        raise RecipeError(
            f"{run.path} has no {split} scores, which the table asks for.", f"Give the recipe {split} images."
        )
    return scores[split]


def _class_recall(scores: Scores, wanted: str) -> Score:
    found = {row.name: row.recall for row in scores.per_class}.get(wanted)
    if found is None:
        raise RecipeError(f"{scores.source} has no class {wanted!r} to recall.", nearest(wanted, scores.classes))
    return found


def _running_accuracy(run: Run) -> Score:
    """Training accuracy of the last epoch as it went: with augmentation and dropout, while the weights still moved."""
    n = int(run.data["train"]["n"])
    return proportion(round(run.history[-1]["train_accuracy"] * n), n)


def _gap(train: Score, test: Score) -> Measured:
    low, high = difference(train, test)
    return Measured(100 * (train.value - test.value), (100 * low, 100 * high))


def _minutes(run: Run) -> Measured:
    return Measured(sum(record["seconds"] for record in run.history) / 60)


_QUANTITIES = (
    Quantity("accuracy", "%", "higher", lambda run: _percent(_scores(run, "test").accuracy)),
    Quantity("precision", "%", "higher", lambda run: _percent(_scores(run, "test").precision)),
    Quantity("recall", "%", "higher", lambda run: _percent(_scores(run, "test").recall)),
    Quantity("F1", "%", "higher", lambda run: _percent(_scores(run, "test").f1)),
    # Of the kept model, on training images without augmentation and dropout.
    Quantity("train accuracy", "%", None, lambda run: _percent(_scores(run, "train").accuracy)),
    Quantity("gap", "points", None, lambda run: _gap(_scores(run, "train").accuracy, _scores(run, "test").accuracy)),
    # As the progress bars of trainings show it, and so as most tables print it.
    Quantity("running train accuracy", "%", None, lambda run: _percent(_running_accuracy(run))),
    Quantity("running gap", "points", None, lambda run: _gap(_running_accuracy(run), _scores(run, "test").accuracy)),
    Quantity("training time", "min", "lower", _minutes),  # with validation; without loading and judging
)
