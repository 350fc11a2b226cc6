"""What is known of a training, and what is said about it: the evidence that the rules read, and their remarks."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

import numpy as np

from eyebright.audit.gradients import LayerGradient
from eyebright.audit.leakage import Leak
from eyebright.audit.pixel_statistics import PixelStatistics
from eyebright.audit.remedies import Remedy
from eyebright.core.input_spec import InputSpec
from eyebright.core.recipe import Recipe
from eyebright.evaluation.score import Score
from eyebright.evaluation.scores import Scores

Severity = Literal["note", "warning", "serious"]
SEVERITIES: tuple[Severity, ...] = ("serious", "warning", "note")


@dataclasses.dataclass(frozen=True)
class Remark:
    """One fault.

    Attributes
    ----------
    fault : its name, such as "overfitting".
    severity : "serious": the training or its result is not what it was meant to be; "warning": accuracy is lost;
        "note": worth knowing.
    evidence : a sentence with the figures.
    change : one change to try, a sentence.
    overrides : the same for the command line, `eyebright train RECIPE OVERRIDES`.
    """

    fault: str
    severity: Severity
    evidence: str
    change: str
    overrides: tuple[str, ...]

    def __str__(self) -> str:
        fault, overrides = self.fault.replace("_", " "), " ".join(self.overrides)
        return f"{self.severity}: {fault}. {self.evidence} {self.change} ({overrides})"

    @classmethod
    def of(cls, fault: str, severity: Severity, evidence: str, remedy: Remedy) -> Remark:
        """A remark with its remedy."""
        return cls(fault, severity, evidence, remedy.change, remedy.overrides)


class Activity(Protocol):
    """What a stage of a network does over many images; `eyebright.insight.inside.StageActivity` is one."""

    @property
    def stage(self) -> str:
        """Its name."""

    @property
    def channels(self) -> int:
        """How many it has."""

    @property
    def dead(self) -> int:
        """How many of them are never active."""


@dataclasses.dataclass(frozen=True, eq=False)
class ImageEvidence:
    """What the images themselves say.

    Attributes
    ----------
    spec : what the model expects of its pixels.
    pixels : statistics of the images as they are now, by split.
    leaks : images that two splits share.
    """

    spec: InputSpec
    pixels: Mapping[str, PixelStatistics]
    leaks: tuple[Leak, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """The evidence on one training, and what several rules read from it.

    Attributes
    ----------
    history : a record an epoch.
    recipe : what was run.
    scores : of the kept model, by split.
    activity : of the stages; may be empty.
    layers : gradients and movement of each; may be empty.
    environment : of the run; may be empty.
    images : what the images themselves say.
    """

    history: Sequence[Mapping[str, float]]
    recipe: Recipe
    scores: Mapping[str, Scores]
    activity: Sequence[Activity] = ()
    layers: Sequence[LayerGradient] = ()
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)
    images: ImageEvidence | None = None

    @property
    def train(self) -> Scores:
        """Of training images, as the kept model sees them: without augmentation and dropout."""
        return self.scores["train"]

    @property
    def held_out(self) -> Scores | None:
        """Of validation images; of test images where there are no others."""
        return self.scores.get("validation", self.scores.get("test"))

    @property
    def losses(self) -> list[float]:
        """Training loss of each epoch, nats."""
        return [record["train_loss"] for record in self.history]

    @functools.cached_property
    def guess_loss(self) -> float:
        """Loss of one who knows only how frequent the classes are, nats."""
        shares = self.train.confusion.sum(axis=1) / self.train.n
        return float(-(shares[shares > 0] * np.log(shares[shares > 0])).sum())

    @property
    def training_accuracy(self) -> float:
        """The best that is known of the training images: of the kept model, or of the last epoch."""
        return max([self.train.accuracy.value, *(record["train_accuracy"] for record in self.history[-1:])])

    @property
    def training_skill(self) -> float:
        """The share of the way from guessing to no mistake, on the training images."""
        return skill(self.training_accuracy, self.train)

    @property
    def moved(self) -> float | None:
        """The farthest that a layer moved; None where it is not known of any."""
        return max((layer.moved for layer in self.layers if layer.moved is not None), default=None)

    @property
    def farthest(self) -> float:
        """The same among the layers that did not begin at zero; 0 where it is not known of any."""
        return max(
            (layer.moved for layer in self.layers if layer.moved is not None and layer.moved < math.inf), default=0.0
        )

    @property
    def kept(self) -> Mapping[str, float] | None:
        """The epoch whose model was kept; None without validation images."""
        key = f"validation_{self.recipe.training.monitor}"
        best = min if self.recipe.training.monitor == "loss" else max
        return best((record for record in self.history if key in record), key=lambda record: record[key], default=None)


def guess(scores: Scores) -> float:
    """Accuracy of one who always says the most frequent class."""
    return float(scores.confusion.sum(axis=1).max() / scores.n)


def skill(accuracy: float, scores: Scores) -> float:
    """The share of the way from guessing (0) to no mistake (1) that an accuracy has come."""
    start = guess(scores)
    return (accuracy - start) / (1 - start) if start < 1 else 1.0


def percent(share: float) -> str:
    """0.9412 -> "94.1 %"."""
    return f"{100 * share:.1f} %"


def interval(score: Score) -> str:
    """A share in percent with its interval: "94.1 % [93.6, 94.6]"."""
    return f"{percent(score.value)} [{100 * score.low:.1f}, {100 * score.high:.1f}]"
