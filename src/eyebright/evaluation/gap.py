"""How far a model's training accuracy is ahead of that on images which it did not learn from."""

from __future__ import annotations

import dataclasses

from eyebright.evaluation.intervals import difference
from eyebright.evaluation.score import Score


@dataclasses.dataclass(frozen=True)
class Gap:
    """Training minus held-out accuracy, with the ends of its 95 % interval; each is a share.

    Attributes
    ----------
    value : above 0 where the model knows its training images better.
    low, high : ends of the interval, `low <= value <= high`.
    split : the held-out images.
    """

    value: float
    low: float
    high: float
    split: str

    @classmethod
    def between(cls, train: Score, held_out: Score, split: str) -> Gap:
        """The gap between two accuracies, of different images (Newcombe's interval)."""
        return cls(train.value - held_out.value, *difference(train, held_out), split)
