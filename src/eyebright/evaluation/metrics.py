"""`evaluate`: every score of a set of predictions, each with its interval.

Macro averages and classes without images are treated as scikit-learn treats them: an average runs over
the classes that were given or predicted at least once, and a share of no images counts as 0 in it. In the
table of classes such a share is None.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax
from sklearn.metrics import precision_recall_fscore_support

from eyebright.core.errors import DataError, EyebrightError
from eyebright.evaluation.calibration import bin_count, bin_gaps, calibration_score
from eyebright.evaluation.intervals import bootstrap_score, proportion, resample_cells, resample_means, wilson
from eyebright.evaluation.predictions import Predictions
from eyebright.evaluation.score import Score
from eyebright.evaluation.scores import ClassScores, Scores

_TOP = 5  # the k of top-k accuracy, as is customary since ImageNet


def evaluate(predictions: Predictions, *, bootstrap: int = 1000, seed: int = 0) -> Scores:
    """Score predictions.

    Proportions of images (accuracy, top-5, recall, precision, and F1 as a function of one) have Wilson
    intervals. Macro averages, log loss and calibration error are bootstrapped.

    Parameters
    ----------
    predictions : of any split.
    bootstrap : resamples; 1000 give the ends of an interval to about a tenth of its width.
    seed : of the resamples; the same seed gives the same intervals.

    Raises
    ------
    DataError : there are no predictions, logits are not finite, or a label is not a class.
    EyebrightError : `bootstrap` is below 1.
    """
    _check(predictions)
    if bootstrap < 1:
        raise EyebrightError(
            f"bootstrap={bootstrap} makes no interval.", "Draw at least one resample; 1000 is customary."
        )
    generator = np.random.default_rng(seed)
    n, k = len(predictions), len(predictions.classes)
    matrix = confusion(predictions)
    precision, recall, f1 = _macro(predictions, matrix, bootstrap, generator)
    log_loss, calibration_error = _probabilistic(predictions, bootstrap, generator)
    return Scores(
        source=predictions.source,
        split=predictions.split,
        n=n,
        accuracy=top_k(predictions, 1),
        top5=top_k(predictions, _TOP) if k > _TOP else None,
        precision=precision,
        recall=recall,
        f1=f1,
        log_loss=log_loss,
        calibration_error=calibration_error,
        per_class=_per_class(predictions, matrix),
        confusion=matrix,
        bootstrap=bootstrap,
        seed=seed,
        views=predictions.views,
    )


def confusion(predictions: Predictions) -> NDArray[np.int64]:
    """Counts (K, K) int64: rows are the given classes, columns the predicted ones."""
    k = len(predictions.classes)
    # scikit-learn's own warns about a split of one class.
    return np.bincount(predictions.labels * k + predictions.predicted, minlength=k * k).reshape(k, k)


def top_k(predictions: Predictions, k: int) -> Score:
    """Share of images whose class is among the k largest logits; of equal logits the first class wins."""
    own = predictions.logits[np.arange(len(predictions)), predictions.labels][:, None]  # (N, 1)
    earlier = np.arange(predictions.logits.shape[1]) < predictions.labels[:, None]  # (N, K)
    ahead = (predictions.logits > own) | ((predictions.logits == own) & earlier)  # (N, K)
    return proportion(int((ahead.sum(axis=1) < k).sum()), len(predictions))


def _check(predictions: Predictions) -> None:
    where = f"the {predictions.split} predictions of {predictions.source}"
    if len(predictions) == 0:
        raise DataError(f"{where} are empty.", "Evaluate a split that holds at least one image.")
    predictions.check_finite()
    k = predictions.logits.shape[1]
    if k != len(predictions.classes) or predictions.labels.min() < 0 or predictions.labels.max() >= k:
        raise DataError(
            f"{where} have {k} logits, {len(predictions.classes)} class names and labels from "
            f"{predictions.labels.min()} to {predictions.labels.max()}.",
            "Make them again with: eyebright evaluate RUN",
        )


def _macro(
    predictions: Predictions, matrix: NDArray[np.int64], draws: int, generator: np.random.Generator
) -> tuple[Score, Score, Score]:
    """Macro precision, recall and F1: the values from scikit-learn, the intervals from the bootstrap."""
    accuracy = proportion(int(matrix.trace()), len(predictions))
    if accuracy.value in {0, 1}:
        # All images are right, or none: so are all resamples. All three equal the accuracy and take its interval.
        return accuracy, accuracy, accuracy
    values = precision_recall_fscore_support(
        predictions.labels, predictions.predicted, average="macro", zero_division=0
    )[:3]
    samples = macro_averages(*resample_cells(matrix, draws, generator))
    scores = [
        bootstrap_score(float(value), drawn, len(predictions)) for value, drawn in zip(values, samples, strict=True)
    ]
    return scores[0], scores[1], scores[2]


def macro_averages(
    correct: NDArray[np.float64], given: NDArray[np.float64], predicted: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Macro precision, recall and F1 (draws,) from counts (draws, K), as scikit-learn averages them."""
    counted = np.maximum((given + predicted > 0).sum(axis=1), 1)  # (draws,) classes that take part

    def average(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
        shares: NDArray[np.float64] = np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
        averages: NDArray[np.float64] = shares.sum(axis=1) / counted
        return averages

    return average(correct, predicted), average(correct, given), average(2 * correct, given + predicted)


def _probabilistic(predictions: Predictions, draws: int, generator: np.random.Generator) -> tuple[Score, Score]:
    """Log loss in nats, and expected calibration error, from the same resamples of the images."""
    n = len(predictions)
    # In float64, for a confident mistake must not become an infinite loss.
    log_probabilities = log_softmax(predictions.logits.astype(np.float64), axis=1)  # (N, K)
    losses = -log_probabilities[np.arange(n), predictions.labels]  # (N,)
    bins = bin_count(n)
    gaps = bin_gaps(np.exp(log_probabilities.max(axis=1)), predictions.correct, bins)  # (N, bins)
    values = np.column_stack([losses, gaps])
    means = values.mean(axis=0)
    samples = resample_means(values, draws, generator)  # (draws, 1 + bins)
    return bootstrap_score(float(means[0]), samples[:, 0], n), calibration_score(means[1:], samples[:, 1:], n)


def _per_class(predictions: Predictions, matrix: NDArray[np.int64]) -> tuple[ClassScores, ...]:
    correct, given, predicted = matrix.diagonal(), matrix.sum(axis=1), matrix.sum(axis=0)  # (K,) each

    def share(position: int, whole: NDArray[np.int64]) -> Score | None:
        return proportion(int(correct[position]), int(whole[position])) if whole[position] else None

    return tuple(
        ClassScores(
            name=name,
            precision=share(position, predicted),
            recall=share(position, given),
            f1=_f1(int(correct[position]), int(given[position] + predicted[position] - correct[position])),
            support=int(given[position]),
        )
        for position, name in enumerate(predictions.classes)
    )


def _f1(correct: int, involved: int) -> Score | None:
    """F1 of one class from its correct images and those that are of the class or were taken for it.

    F1 = 2 J / (1 + J) rises with J = correct / involved, which is a proportion; so the ends of J's Wilson
    interval become those of F1 (Lam, Gopal and Qian, "Confidence Intervals for the F1 Score: A Comparison of
    Four Methods", arXiv 2309.14621, the "indirect" one). The bootstrap would claim [1, 1] for a class
    without a mistake, and covers 81 % instead of 95 % for 30 images of a class that is 97 % right.
    """
    if involved == 0:
        return None
    low, high = (2 * end / (1 + end) for end in wilson(correct, involved))
    value = 2 * correct / (involved + correct)
    return Score(value, min(float(low), value), max(float(high), value), involved, "wilson")
