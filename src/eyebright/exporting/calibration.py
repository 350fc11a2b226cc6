"""What the validation images tell about a finished model: its temperature, when it is sure, what is usual."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from eyebright.data.image_set import ImageSet
from eyebright.data.statistics import mean_and_deviation
from eyebright.exporting.graph import EMBEDDING, PROBABILITIES, Graph
from eyebright.exporting.manifest import Reference

RISKS = (0.01, 0.05, 0.10)
_CONFIDENCE_BINS = 20
_LOG_TEMPERATURES = (math.log(0.05), math.log(20))
_DIGITS = 6  # significant ones, of the reference
_AT_ONCE = 256  # images held in memory


def fitted_temperature(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """The temperature under which softmax(logits / temperature) has the least log loss.

    Guo, Pleiss, Sun and Weinberger, "On Calibration of Modern Neural Networks", ICML 2017, section 4.2. It changes no
    prediction. A model that is right on every image would get a temperature of 0, which these images cannot justify; it
    keeps its own.

    Parameters
    ----------
    logits : (N, K), of images that the model did not learn from.
    labels : (N,).
    """
    if (logits.argmax(axis=1) == labels).all():
        return 1.0

    def log_loss(log_temperature: float) -> float:
        log_probabilities = log_softmax(logits.astype(np.float64) / math.exp(log_temperature), axis=1)
        return -float(log_probabilities[np.arange(len(labels)), labels].mean())

    least = minimize_scalar(log_loss, bounds=_LOG_TEMPERATURES, method="bounded")
    return _rounded(math.exp(least.x))


def conformal_thresholds(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> dict[float, float]:
    """For each of `RISKS` the threshold q: the set of the classes with 1 - probability <= q misses the truth so often.

    Split conformal prediction with the score 1 - probability of the truth: Sadinle, Lei and Wasserman, "Least
    Ambiguous Set-Valued Classifiers with Bounded Error Levels", JASA 2019. A new image's set holds its class with a
    probability of at least 1 - risk, if it is drawn as the N images were. With too few images q is 1: all classes.

    Parameters
    ----------
    probabilities : (N, K), of images that the model did not learn from.
    labels : (N,).
    """
    scores = np.sort(1 - probabilities[np.arange(len(labels)), labels])  # (N,), in the precision of the reader
    ranks = {risk: math.ceil((len(scores) + 1) * (1 - risk)) for risk in RISKS}
    return {risk: float(scores[rank - 1]) if rank <= len(scores) else 1.0 for risk, rank in ranks.items()}


def observe(graph: Graph, images: ImageSet) -> tuple[NDArray[np.float32], Reference]:
    """Ask the exported network about images: probabilities (N, K), and what is usual among them."""
    probabilities, embeddings = [], []
    for start in range(0, len(images), _AT_ONCE):
        pixels = images.take(range(start, min(start + _AT_ONCE, len(images)))).images
        answered = graph.run(pixels, [PROBABILITIES, EMBEDDING])
        probabilities.append(answered[0])
        embeddings.append(answered[1])
    said, embedded = np.concatenate(probabilities), np.concatenate(embeddings)
    mean, deviation = mean_and_deviation(images)
    confidences, _ = np.histogram(said.max(axis=1).clip(0, 1), bins=_CONFIDENCE_BINS, range=(0, 1))
    return said, Reference(
        images=len(images),
        pixel_mean=tuple(_rounded(255 * value) for value in mean),
        pixel_std=tuple(_rounded(255 * value) for value in deviation),
        embedding_mean=tuple(map(_rounded, embedded.mean(axis=0).tolist())),
        embedding_std=tuple(map(_rounded, embedded.std(axis=0).tolist())),
        confidences=tuple(confidences.tolist()),
        predicted=tuple(np.bincount(said.argmax(axis=1), minlength=said.shape[1]).tolist()),
    )


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
