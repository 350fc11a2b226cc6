"""How sure a number is: 95 % intervals of proportions by Wilson, of everything else by the bootstrap.

Wilson, "Probable inference, the law of succession, and statistical inference", JASA 1927.
Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapters 6 and 13 (percentile interval).
Newcombe, "Interval estimation for the difference between independent proportions", Statistics in Medicine 1998.

A bootstrap draws N images with replacement. How often each image is drawn is one multinomial draw over
the images; how often each cell of the confusion matrix is drawn is one multinomial draw over the cells, so
whatever depends on the matrix alone is resampled there, exactly and without touching the images.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.sparse import csr_array
from scipy.stats import norm

from eyebright.core.errors import DataError
from eyebright.evaluation.score import Score

CONFIDENCE = 0.95  # share of samples whose interval holds the truth, for every interval that Eyebright shows
_Z = float(norm.ppf((1 + CONFIDENCE) / 2))  # 1.96 standard deviations
# Where the search for an end of a paired interval begins, beside the difference itself: there the equation has a second
# root where the sample has no variance. No end is closer, for any number of images below a billion.
_BESIDE = 1e-9
_CHUNK = 2_000_000  # drawn numbers held at a time (16 MB): bounds the memory for large sets


def wilson(successes: ArrayLike, n: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Ends of the Wilson interval of `successes / n`, elementwise.

    Unlike the textbook's `p +- 1.96 sd` it stays inside 0..1 and is not empty at 0 and 1. It equals
    `scipy.stats.binomtest(k, n).proportion_ci(method="wilson")`, for whole arrays.

    Raises
    ------
    DataError : an n is 0, or there are more successes than trials.
    """
    k, trials = np.asarray(successes, dtype=np.float64), np.asarray(n, dtype=np.float64)
    if not np.all((trials > 0) & (k >= 0) & (k <= trials)):
        raise DataError(
            "a proportion needs at least one image, and no more successes than images.",
            "Score a split that holds at least one image.",
        )
    share = k / trials
    centre = (share + _Z**2 / (2 * trials)) / (1 + _Z**2 / trials)
    half = _Z / (1 + _Z**2 / trials) * np.sqrt(share * (1 - share) / trials + _Z**2 / (4 * trials**2))
    # At 0 and at n the end equals the share, up to rounding.
    return np.clip(centre - half, 0, share), np.clip(centre + half, share, 1)


def proportion(successes: int, n: int) -> Score:
    """The share `successes / n` with its Wilson interval."""
    low, high = wilson(successes, n)
    return Score(successes / n, float(low), float(high), int(n), "wilson")


def difference(first: Score, second: Score) -> tuple[float, float]:
    """Ends of the interval of `first - second`, two proportions of different images (Newcombe's method 10)."""
    gap = first.value - second.value
    low = gap - np.hypot(first.value - first.low, second.high - second.value)
    high = gap + np.hypot(first.high - first.value, second.value - second.low)
    return float(low), float(high)


def paired_difference(gained: int, lost: int, n: int) -> Score:
    """(gained - lost) / n, the difference of two proportions of the same `n` images, with Tango's interval.

    Parameters
    ----------
    gained, lost : images that are right in the second case only, in the first only.
    n : all images.

    Notes
    -----
    Tango, "Equivalence test and confidence interval for the difference in proportions for the paired-sample design"
    (Statistics in Medicine 1998).
    The interval holds every difference d that the score test does not refuse. Its statistic is
    (gained - lost - n d) / sqrt(n (2 q + d (1 - d))), where q is the probability of a loss that is most likely if the
    difference is d: the larger root of 2 n q^2 - (gained + lost - (2 n - gained + lost) d) q - lost d (1 - d) = 0.
    """
    value = (gained - lost) / n

    def excess(d: float) -> float:
        """Square of the score beyond what is refused, times its variance; below 0 inside the interval."""
        half = (gained + lost - (2 * n - gained + lost) * d) / (4 * n)
        q = half + np.sqrt(max(0.0, half**2 + lost * d * (1 - d) / (2 * n)))
        return float((gained - lost - n * d) ** 2 - _Z**2 * n * (2 * q + d * (1 - d)))

    low = -1.0 if lost == n else float(brentq(excess, -1, value - _BESIDE))
    high = 1.0 if gained == n else float(brentq(excess, value + _BESIDE, 1))
    return Score(value, low, high, n, "tango")


def resample_cells(
    matrix: NDArray[np.int64], draws: int, generator: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Bootstrap samples of a confusion matrix (K, K), rows are the true classes.

    Returns
    -------
    correct, given, predicted : (draws, K) each, whole numbers: the diagonal, the row sums and the column
        sums of each drawn matrix; precision, recall and F1 need no more.
    """
    rows, columns = np.nonzero(matrix)  # the cells that can be drawn; most of a large matrix is empty
    cells = matrix[rows, columns]
    n = int(cells.sum())
    in_class = {"given": _one_hot(rows, len(matrix)), "predicted": _one_hot(columns, len(matrix))}  # (cells, K)
    diagonal = np.where(rows == columns, 1.0, 0.0)  # (cells,)
    parts = []
    for count in _chunks(draws, len(cells)):
        drawn = generator.multinomial(n, cells / n, size=count).astype(np.float64)  # (count, cells)
        correct = (drawn * diagonal) @ in_class["given"]
        parts.append((correct, drawn @ in_class["given"], drawn @ in_class["predicted"]))  # (count, K) each
    correct, given, predicted = (np.concatenate(part) for part in zip(*parts, strict=True))
    return correct, given, predicted


def resample_means(values: NDArray[np.float64], draws: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """Means (draws, C) of bootstrap samples of the images' values (N, C)."""
    n = len(values)
    means = []
    for count in _chunks(draws, n):
        drawn = generator.integers(n, size=(count, n)) + n * np.arange(count)[:, None]  # (count, N)
        times = np.bincount(drawn.ravel(), minlength=count * n).reshape(count, n)  # how often each image came
        means.append(times.astype(np.float64) @ values / n)  # (count, C)
    return np.concatenate(means)


def bootstrap_score(value: float, samples: NDArray[np.float64], n: int) -> Score:
    """`value` with the percentile interval of its bootstrap `samples` (draws,)."""
    low, high = np.quantile(samples, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    # With few draws, or a skewed sample, all of them can lie on one side of the value.
    return Score(value, float(min(low, value)), float(max(high, value)), n, "bootstrap")


def _chunks(draws: int, width: int) -> Iterator[int]:
    """Cut `draws` rows of `width` numbers into counts that fit the memory."""
    largest = max(1, _CHUNK // width)
    for first in range(0, draws, largest):
        yield min(largest, draws - first)


def _one_hot(positions: NDArray[np.int64], classes: int) -> csr_array:
    """(len(positions), classes) with a 1 at each position."""
    rows = np.arange(len(positions))
    return csr_array((np.ones(len(positions)), (rows, positions)), shape=(len(positions), classes))
