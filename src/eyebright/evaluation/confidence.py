"""What a model's confidence is worth: how often it is right when it is this sure, and what refusing the rest buys.

Answering only above a threshold is the classifier with a reject option of Chow, "On optimum recognition error
and reject tradeoff", IEEE Transactions on Information Theory 1970; accuracy against coverage as in Geifman and
El-Yaniv, "Selective Classification for Deep Neural Networks", NeurIPS 2017.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from eyebright.evaluation.calibration import bin_count, confidence_bins
from eyebright.evaluation.intervals import proportion
from eyebright.evaluation.predictions import Predictions
from eyebright.evaluation.score import Score

_STEPS = 100  # thresholds: each sets about one more image in a hundred aside
_DIGITS = 4  # of a threshold, so that the one that is shown is the one that was counted with


@dataclasses.dataclass(frozen=True)
class ConfidenceBin:
    """Images of about the same confidence.

    Attributes
    ----------
    confidence : their mean.
    accuracy : share of them that are right.
    """

    confidence: float
    accuracy: Score


@dataclasses.dataclass(frozen=True)
class OperatingPoint:
    """What the model does when it may stay silent.

    Attributes
    ----------
    threshold : it answers where its confidence is at least this.
    answered : images that it answers.
    coverage : their share of all images.
    accuracy : share of the answers that are right.
    wrong : answers that are not.
    """

    threshold: float
    answered: int
    coverage: float
    accuracy: Score
    wrong: int


def confidence(predictions: Predictions) -> NDArray[np.float64]:
    """Probability (N,) of the predicted class, in float64: in float32 the surest are all at 1."""
    log_probabilities = log_softmax(predictions.logits.astype(np.float64), axis=1)  # (N, K)
    largest: NDArray[np.float64] = np.exp(log_probabilities.max(axis=1))
    return largest


def reliability(predictions: Predictions) -> tuple[ConfidenceBin, ...]:
    """Confidence against accuracy in the bins of equal mass of the calibration error, the least sure first.

    Bins that stay empty, because many images are equally sure, are left out.
    """
    sure, correct = confidence(predictions), predictions.correct
    bins = confidence_bins(sure, bin_count(len(sure)))  # (N,)
    return tuple(
        ConfidenceBin(float(sure[inside].mean()), proportion(int(correct[inside].sum()), int(inside.sum())))
        for inside in (bins == number for number in np.unique(bins))
    )


def operating_points(predictions: Predictions) -> tuple[OperatingPoint, ...]:
    """Coverage and accuracy by threshold, from "answers everything" up to the surest hundredth of the images.

    The thresholds are quantiles of the confidence: wherever a model's confidence crowds, there they are close.
    A step that sets nothing more aside is left out; an overconfident model has few.
    """
    sure, correct = confidence(predictions), predictions.correct
    # Rounded downwards: the surest images stay above the highest threshold.
    quantiles = np.quantile(sure, np.arange(_STEPS) / _STEPS, method="inverted_cdf")
    thresholds = [0.0, *(np.floor(quantiles * 10**_DIGITS) / 10**_DIGITS).tolist()]
    points: list[OperatingPoint] = []
    for threshold in thresholds:
        answered = sure >= threshold
        n, right = int(answered.sum()), int(correct[answered].sum())
        if not points or n < points[-1].answered:
            points.append(OperatingPoint(threshold, n, n / len(sure), proportion(right, n), n - right))
    return tuple(points)
