"""Whether a model that says "90 % sure" is right nine times in ten.

Guo, Pleiss, Sun and Weinberger, "On Calibration of Modern Neural Networks", ICML 2017. We deviate in
the bins: equal mass instead of equal width, which is less biased (Roelofs et al., "Mitigating Bias in
Calibration Error Estimation", AISTATS 2022).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eyebright.evaluation.intervals import CONFIDENCE
from eyebright.evaluation.score import Score

BINS = 15  # as in Guo et al.
_IMAGES_A_BIN = 10  # with fewer, a bin's gap is chance alone


def bin_count(images: int) -> int:
    """Bins for so many images: `BINS`, and fewer where those would be too small to mean anything."""
    return max(1, min(BINS, images // _IMAGES_A_BIN))


def confidence_bins(confidence: NDArray[np.float64], bins: int = BINS) -> NDArray[np.int64]:
    """Put images into bins of equal mass by their confidence (N,), the least sure in bin 0.

    Images of equal confidence share a bin, so that the order of the images does not matter; where many
    are equally sure, some of the bins stay empty.

    Returns
    -------
    (N,) int64 from 0 to `bins - 1`.
    """
    edges = np.quantile(confidence, np.arange(1, bins) / bins, method="inverted_cdf")
    return np.searchsorted(edges, confidence, side="left")


def bin_gaps(confidence: NDArray[np.float64], correct: NDArray[np.bool_], bins: int = BINS) -> NDArray[np.float64]:
    """Confidence minus correctness of each image, in the column of its bin: (N, bins), 0 elsewhere.

    The expected calibration error is the sum over the bins of (images in the bin / N) times
    |mean confidence - accuracy|, which is the sum of the absolute column means of this array.
    """
    gaps = np.zeros((len(confidence), bins))
    gaps[np.arange(len(confidence)), confidence_bins(confidence, bins)] = confidence - correct
    return gaps


def calibration_score(means: NDArray[np.float64], samples: NDArray[np.float64], n: int) -> Score:
    """Expected calibration error, with an interval that allows for its bias.

    The error is biased upwards: chance alone gives every bin a gap, so that a perfectly calibrated model
    has an error above 0 on any finite set of images. A resample adds the same bias once more, and the
    percentile interval of a calibrated model would always lie above the truth. By the triangle
    inequality the error exceeds the true one by at most the summed noise of the bins, and the bootstrap
    shows how large that is; so the lower end is the value less the noise, which errs on the wide side.

    Parameters
    ----------
    means : (bins,) column means of `bin_gaps`.
    samples : (draws, bins) the same of bootstrap samples; the bins stay as they are.
    n : number of images.
    """
    value = float(np.abs(means).sum())
    tail = (1 - CONFIDENCE) / 2
    noise = np.quantile(np.abs(samples - means).sum(axis=1), 1 - tail)
    high = np.quantile(np.abs(samples).sum(axis=1), 1 - tail)
    return Score(value, max(0.0, float(value - noise)), max(value, float(high)), n, "bootstrap")
