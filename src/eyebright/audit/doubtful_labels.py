"""Labels that are probably wrong, by what models say of images that they were not trained on.

How many is counted by confident learning: Northcutt, Jiang and Chuang, "Confident Learning: Estimating Uncertainty in
Dataset Labels", Journal of Artificial Intelligence Research 70, 2021, equation 1. A class has a threshold of its own,
the mean probability that the models give it on the images of its label, so that a class of which they are never sure
is not held against its images. An image counts where another class than that of its label is the likeliest of those
that reach their thresholds.

Which ones they are is another question. The paper takes those that were counted, or the least likely of each class;
here it is as many of all that the models call something else, those of the least probability of the given label. Of
2,500 wrong labels that were planted in CIFAR-10 this names 82 %, the counted ones are 64 %, the same number of images
looked at (`benchmarks/label_errors.py --seed 1`; the rule was chosen on seed 0).
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from eyebright.data.image_set import ImageSet
from eyebright.data.label_patch import LabelPatch
from eyebright.evaluation.predictions import Predictions

_SHOWN = 20  # rows of a printed table


@dataclasses.dataclass(frozen=True, eq=False)
class DoubtfulLabels:
    """Images with probably wrong labels, the most doubtful first. `doubtful.take(16)` are the first of them.

    Attributes
    ----------
    predictions : what was said of these images (n of them); the likely class is the predicted one.
    checked : how many images were asked about.
    """

    predictions: Predictions
    checked: int

    def __len__(self) -> int:
        return len(self.predictions)

    def __repr__(self) -> str:
        shown = self.take(_SHOWN)
        rows = zip(shown.index, shown.given, shown.likely, shown.probability, strict=True)
        lines = [f"  {row}  {self.classes[given]} -> {self.classes[likely]}  {p:.4f}" for row, given, likely, p in rows]
        return "\n".join([f"DoubtfulLabels({len(self)} of {self.checked} images)", *lines])

    @property
    def index(self) -> NDArray[np.int64]:
        """(n,) int64, rows of the source."""
        return self.predictions.index

    @property
    def given(self) -> NDArray[np.int64]:
        """(n,) int64, the class of the label."""
        return self.predictions.labels

    @property
    def likely(self) -> NDArray[np.int64]:
        """(n,) int64, the class that the models say."""
        return self.predictions.predicted

    @property
    def probability(self) -> NDArray[np.float64]:
        """(n,) float64, of the given class; ascending."""
        return _of_label(self.predictions)

    @property
    def classes(self) -> tuple[str, ...]:
        """K class names."""
        return self.predictions.classes

    def take(self, count: int) -> DoubtfulLabels:
        """The `count` most doubtful ones."""
        return dataclasses.replace(self, predictions=self.predictions.take(range(min(count, len(self)))))

    def patch(self, images: ImageSet) -> LabelPatch:
        """The corrections as a file that can be looked through, applied and taken back; see `LabelPatch`.

        Raises
        ------
        DataError : `images` are not those that were asked about.
        """
        pairs = zip(self.index.tolist(), self.likely.tolist(), strict=True)
        return LabelPatch.of(images, {row: self.classes[label] for row, label in pairs})


def doubtful_labels(predictions: Predictions) -> DoubtfulLabels:
    """The labels that speak against what the models say.

    Parameters
    ----------
    predictions : of images that the models were not trained on: of a test split, or of `eyebright.cross_fit`. A model
        believes the labels that it was trained on, so with others little is found.

    Raises
    ------
    DataError : logits are not finite.
    """
    predictions.check_finite()
    count = _count(predictions)
    doubted = np.flatnonzero(~predictions.correct)
    order = doubted[np.argsort(_of_label(predictions)[doubted], kind="stable")][:count]
    return DoubtfulLabels(predictions.take(order), len(predictions))


def _of_label(predictions: Predictions) -> NDArray[np.float64]:
    """(N,) probabilities of the given classes."""
    return predictions.probabilities.astype(np.float64)[np.arange(len(predictions)), predictions.labels]


def _count(predictions: Predictions) -> int:
    """How many labels are wrong, as confident learning counts: the confident joint off its diagonal."""
    labels, probability = predictions.labels, predictions.probabilities.astype(np.float64)  # (N,), (N, K)
    support = np.bincount(labels, minlength=probability.shape[1])  # (K,)
    sums = np.bincount(labels, _of_label(predictions), minlength=len(support))
    # A class that no image has as its label is never reached.
    thresholds = np.divide(sums, support, out=np.full(len(support), np.inf), where=support > 0)
    reached = probability >= thresholds  # (N, K)
    likeliest = np.where(reached, probability, -1.0).argmax(axis=1)  # (N,)
    return int((reached.any(axis=1) & (likeliest != labels)).sum())
