"""Labels that are probably wrong, by what models say of images that they were not trained on.

Confident learning: Northcutt, Jiang and Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels", Journal
of Artificial Intelligence Research 70, 2021. A class has a threshold of its own, the mean probability that the models
give it on the images of its label; so a model that is unsure of a class in general is not held against its images. A
label is doubtful where another class reaches its threshold and the given one does not look better (equation 1 there,
without the diagonal). The images come by their normalised margin, one of the rankings of the paper.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from eyebright.core.errors import DataError
from eyebright.data.image_set import ImageSet
from eyebright.data.label_patch import LabelPatch
from eyebright.evaluation.predictions import Predictions

_SHOWN = 20  # rows of a printed table


@dataclasses.dataclass(frozen=True, eq=False)
class DoubtfulLabels:
    """Images with probably wrong labels, the most doubtful first. `doubtful.take(16)` are the first of them.

    Attributes
    ----------
    index : (n,) int64, rows of the source.
    given, likely : (n,) int64, the class of the label and the one that the models say.
    margin : (n,) float64 in 0..1, probability of the likely class less that of the given one.
    thresholds : (K,) float64, probability from which a class counts; NaN where no image has its label.
    classes : K class names.
    checked : how many images were asked about.
    """

    index: NDArray[np.int64]
    given: NDArray[np.int64]
    likely: NDArray[np.int64]
    margin: NDArray[np.float64]
    thresholds: NDArray[np.float64]
    classes: tuple[str, ...]
    checked: int

    def __len__(self) -> int:
        return len(self.index)

    def __repr__(self) -> str:
        lines = [f"DoubtfulLabels({len(self)} of {self.checked} images)"]
        for row, given, likely, margin in zip(self.index, self.given, self.likely, self.margin, strict=True):
            lines.append(f"  {row}  {self.classes[given]} -> {self.classes[likely]}  {margin:.3f}")
            if len(lines) > _SHOWN:
                break
        return "\n".join(lines)

    def take(self, count: int) -> DoubtfulLabels:
        """The `count` most doubtful ones."""
        columns = {name: getattr(self, name)[:count] for name in ("index", "given", "likely", "margin")}
        return dataclasses.replace(self, **columns)

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
    if not np.isfinite(predictions.logits).all():
        raise DataError(
            f"the predictions of {predictions.source} hold logits that are not finite.",
            "Train again with a smaller learning rate or with training.clip_norm=1.",
        )
    probability = predictions.probabilities.astype(np.float64)  # (N, K)
    labels = predictions.labels
    every = np.arange(len(labels))
    own = probability[every, labels]  # (N,)
    support = np.bincount(labels, minlength=len(predictions.classes))  # (K,)
    with np.errstate(invalid="ignore"):
        thresholds = np.bincount(labels, own, minlength=len(support)) / support  # (K,) NaN for no images
    counts = probability >= np.where(support, thresholds, np.inf)  # (N, K)
    likely = np.where(counts, probability, -1.0).argmax(axis=1)  # (N,)
    margin = probability[every, likely] - own
    doubtful = np.flatnonzero(counts.any(axis=1) & (likely != labels) & (margin > 0))
    order = doubtful[np.argsort(-margin[doubtful], kind="stable")]
    return DoubtfulLabels(
        predictions.index[order],
        labels[order],
        likely[order],
        margin[order],
        thresholds,
        predictions.classes,
        len(predictions),
    )
