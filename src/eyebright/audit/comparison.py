"""Two models on the same images: which is better, by how much, and on which images.

The two have seen the same images, so only those count on which they differ. The difference of the accuracies has the
score interval of Tango ("Equivalence test and confidence interval for the difference in proportions for the
paired-sample design", Statistics in Medicine 1998), which keeps its 95 % for few images and at the ends of the range
(Fagerland, Lydersen and Laake, "Recommended tests and confidence intervals for paired binomial proportions", ibid.
2014). Whether there is a difference at all is McNemar's question (Psychometrika 1947); his test is made exact by the
binomial distribution of the flips. Several classes are asked at once, so their p-values are raised by Holm's method
("A simple sequentially rejective multiple test procedure", 1979).

All of it holds for these two models. Another seed of training gives other models, and often as large a difference.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from eyebright.core.errors import DataError, RunError
from eyebright.evaluation.gap import Gap
from eyebright.evaluation.intervals import paired_difference, proportion
from eyebright.evaluation.predictions import Predictions
from eyebright.evaluation.score import Score
from eyebright.training.run import EpochRecord, Run

Split = Literal["train", "validation", "test"]


@dataclasses.dataclass(frozen=True)
class ClassDifference:
    """How two models fare on the images of one class.

    Attributes
    ----------
    name : of the class.
    first, second : share of its images that each model answers right.
    difference : second minus first.
    p : exact McNemar.
    adjusted : p after Holm's correction for the number of classes.
    """

    name: str
    first: Score
    second: Score
    difference: Score
    p: float
    adjusted: float


@dataclasses.dataclass(frozen=True, eq=False)
class Comparison:
    """How two models fare on the same images.

    Attributes
    ----------
    source, split, n : the images.
    first, second : accuracies.
    difference : second minus first, paired.
    p : exact McNemar: the probability of flips as one-sided as these, were both models equally good.
    mended : (n,) int64, rows of the source that only the second answers right.
    broken : (n,) int64, rows of the source that only the first answers right.
    agreement : share of images that both give the same class, right or wrong.
    classes : a row each for the classes that have images.
    """

    source: str
    split: str
    n: int
    first: Score
    second: Score
    difference: Score
    p: float
    mended: NDArray[np.int64]
    broken: NDArray[np.int64]
    agreement: Score
    classes: tuple[ClassDifference, ...]

    def __repr__(self) -> str:
        return (
            f"Comparison({self.source} {self.split}: {self.first.value:.3f} against {self.second.value:.3f}, "
            f"difference {self.difference.value:+.3f} [{self.difference.low:+.3f}, {self.difference.high:+.3f}], "
            f"p={self.p:.2g}, {len(self.mended)} mended, {len(self.broken)} broken)"
        )

    def to_dict(self) -> dict[str, Any]:
        """A dictionary that JSON can hold."""
        return dataclasses.asdict(self) | {"mended": self.mended.tolist(), "broken": self.broken.tolist()}


@dataclasses.dataclass(frozen=True)
class Setting:
    """A field of the recipe that two runs do not share; None where one of them has no such field."""

    field: str
    first: Any
    second: Any


@dataclasses.dataclass(frozen=True, eq=False)
class RunComparison:
    """Two runs side by side.

    Attributes
    ----------
    names : the folders of the runs.
    comparison : of their kept models on one split.
    settings : what their recipes do not share.
    histories : a record an epoch of each.
    gaps : of each, to the validation images or, where there are none, to the test images; None where the training
        images were not judged.
    """

    names: tuple[str, str]
    comparison: Comparison
    settings: tuple[Setting, ...]
    histories: tuple[list[EpochRecord], list[EpochRecord]]
    gaps: tuple[Gap | None, Gap | None]

    def __repr__(self) -> str:
        found = self.comparison
        pairs = zip(("first", "second"), self.names, (found.first, found.second), self.gaps, strict=True)
        lines = [f"{found.source} {found.split}, second minus first: {_signed(found.difference)}, p={found.p:.2g}"]
        for place, name, accuracy, gap in pairs:
            ahead = f"; training {_signed(gap)} above {gap.split}" if gap else ""
            lines += [f"  {place:<6}  {name}", f"          {accuracy}{ahead}"]
        lines.append(f"  {len(found.mended)} mended (only the second is right), {len(found.broken)} broken")
        lines += [f"  {change.field}: {change.first} -> {change.second}" for change in self.settings]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """A dictionary that JSON can hold."""
        return dataclasses.asdict(self) | {"comparison": self.comparison.to_dict()}


def compare(first: Predictions, second: Predictions) -> Comparison:
    """Compare two models by what they said of the same images.

    Raises
    ------
    DataError : the predictions are empty, or of other images, labels or classes.
    """
    _refuse_other_images(first, second)
    right, left = second.correct, first.correct  # (N,) each
    n = len(first)
    return Comparison(
        source=first.source,
        split=first.split,
        n=n,
        first=proportion(int(left.sum()), n),
        second=proportion(int(right.sum()), n),
        difference=paired_difference(int((right & ~left).sum()), int((left & ~right).sum()), n),
        p=exact_mcnemar(int((right & ~left).sum()), int((left & ~right).sum())),
        mended=first.index[right & ~left],
        broken=first.index[left & ~right],
        agreement=proportion(int((first.predicted == second.predicted).sum()), n),
        classes=_class_differences(first, left, right),
    )


def compare_runs(first: Run, second: Run, *, split: Split = "test") -> RunComparison:
    """Two runs side by side: what they were asked for, how they went, and what their models say of `split`.

    Raises
    ------
    RunError : a run has no predictions of the split.
    DataError : the runs divided their images differently, or took other images.
    """
    comparison = compare(_predictions(first, split), _predictions(second, split))
    return RunComparison(
        names=(str(first.path), str(second.path)),
        comparison=comparison,
        settings=tuple(_settings(_compared(first), _compared(second))),
        histories=(first.history, second.history),
        gaps=(_gap(first), _gap(second)),
    )


def exact_mcnemar(gained: int, lost: int) -> float:
    """Two-sided p-value: how likely flips are to be so one-sided if each goes either way with probability 1/2."""
    return float(binomtest(gained, gained + lost, 0.5).pvalue) if gained + lost else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values raised so that, all together, one falls below 0.05 by chance in 5 % of the cases (Holm 1979)."""
    count = len(p_values)
    adjusted = [1.0] * count
    largest = 0.0
    for rank, position in enumerate(np.argsort(p_values, kind="stable").tolist()):
        largest = max(largest, min(1.0, (count - rank) * p_values[position]))
        adjusted[position] = largest
    return adjusted


def _class_differences(
    predictions: Predictions, left: NDArray[np.bool_], right: NDArray[np.bool_]
) -> tuple[ClassDifference, ...]:
    """A row for each class that has images; `left` and `right` (N,) say who is right."""

    def counts(which: NDArray[np.bool_]) -> list[int]:
        counted: list[int] = np.bincount(predictions.labels[which], minlength=len(predictions.classes)).tolist()
        return counted

    columns = zip(
        predictions.classes,
        counts(np.ones_like(left)),
        counts(left),
        counts(right),
        counts(right & ~left),
        counts(left & ~right),
        strict=True,
    )
    rows = [row for row in columns if row[1]]
    p_values = [exact_mcnemar(gained, lost) for *_, gained, lost in rows]
    return tuple(
        ClassDifference(name, proportion(one, n), proportion(two, n), paired_difference(gained, lost, n), p, raised)
        for (name, n, one, two, gained, lost), p, raised in zip(rows, p_values, holm(p_values), strict=True)
    )


def _refuse_other_images(first: Predictions, second: Predictions) -> None:
    for field in ("source", "split", "classes"):
        one, two = getattr(first, field), getattr(second, field)
        if one != two:
            raise _other_images(f"their {field} differs: {_shown(one)} and {_shown(two)}")
    if not np.array_equal(first.index, second.index):
        shared = len(np.intersect1d(first.index, second.index))
        counts = f"{len(first)} and {len(second)} {first.split} images of {first.source}, {shared} of them shared"
        raise _other_images(f"they are of other images, or in another order: {counts}")
    other = np.flatnonzero(first.labels != second.labels)
    if len(other):
        raise _other_images(f"{len(other)} images have other labels, the first is row {first.index[other[0]]}")
    if not len(first):
        raise DataError("there are no predictions to compare.", "Judge both models on a split that holds images.")


def _shown(value: str | tuple[str, ...]) -> str:
    return value if isinstance(value, str) else ", ".join(value)


def _other_images(reason: str) -> DataError:
    return DataError(
        f"the predictions cannot be compared, for {reason}.",
        "Train both on the same data with the same data.split_seed, data.classes and data.label_patches, or predict "
        "the same images with both models.",
    )


def _predictions(run: Run, split: str) -> Predictions:
    found = run.predictions(split)
    if found is None:
        raise RunError(f"{run.path} has no predictions of {split} images.", f"Make them: eyebright evaluate {run.path}")
    return found


def _gap(run: Run) -> Gap | None:
    scores = run.scores
    split = "validation" if "validation" in scores else "test"
    if "train" not in scores or split not in scores:
        return None
    return Gap.between(scores["train"].accuracy, scores[split].accuracy, split)


def _compared(run: Run) -> dict[str, Any]:
    """What a reader may have changed: where a training was copied to changes nothing."""
    return {"name": run.recipe.name} | run.recipe.choices


def _signed(value: Score | Gap) -> str:
    return f"{value.value:+.3f} [{value.low:+.3f}, {value.high:+.3f}]"


def _settings(first: Mapping[str, Any], second: Mapping[str, Any], group: str = "") -> list[Setting]:
    """The fields that differ, below groups as `group.field`."""
    found = []
    for name in dict.fromkeys([*first, *second]):
        one, two = first.get(name), second.get(name)
        if isinstance(one, Mapping) and isinstance(two, Mapping):
            found += _settings(one, two, f"{group}{name}.")
        elif one != two:
            found.append(Setting(f"{group}{name}", one, two))
    return found
