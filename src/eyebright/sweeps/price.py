"""What it costs to have chosen: the best of many scores is better than what it scored.

Of k models that are equally good, the one that looks best on the validation images owes that to luck. How much is the
expected largest of k normal variables times the standard error of a score (Harter, "Expected values of normal order
statistics", Biometrika 1961). The models of a sweep are not equally good, and they all saw the same images, so that
their luck is shared: the figure is a ceiling rather than a mean. Cawley and Talbot, "On over-fitting in model selection
and subsequent selection bias in performance evaluation" (JMLR 2010) show how large it gets in practice. What was really
paid is seen on test images, which chose nothing.
"""

from __future__ import annotations

import dataclasses
from typing import final

import numpy as np
from scipy.integrate import quad
from scipy.stats import norm

from eyebright.audit.comparison import Comparison
from eyebright.core.errors import EyebrightError
from eyebright.evaluation.intervals import difference
from eyebright.evaluation.score import Score

# Beyond it lies none of the largest of as many trials as anybody runs.
_FAR = 12.0


@final
@dataclasses.dataclass(frozen=True, eq=False)
class Price:
    """How far the choice can be trusted.

    Attributes
    ----------
    compared : how many different trials the winner was chosen from, those included that were stopped early.
    validation : accuracy of the winner on the images that chose it; too high on average.
    luck : by how much the best of so many equally good trials would be too high on average.
    test : accuracy of the winner on images that chose nothing; None where there are none.
    fall : validation minus test, with the ends of its 95 % interval; None without test images.
    against_default : on the test images, the winner (second) against the recipe as it was (first); None where that was
        not a trial, or is the winner itself.
    """

    compared: int
    validation: Score
    luck: float
    test: Score | None
    fall: tuple[float, float, float] | None
    against_default: Comparison | None


def price(compared: int, validation: Score, test: Score | None, against_default: Comparison | None) -> Price:
    """Count the price; see `Price`."""
    return Price(
        compared=compared,
        validation=validation,
        luck=expected_maximum(compared) * standard_error(validation),
        test=test,
        fall=None if test is None else (validation.value - test.value, *difference(validation, test)),
        against_default=against_default,
    )


def expected_maximum(count: int) -> float:
    """Mean of the largest of `count` independent standard normal variables: 0 of one, 0.564 of two, 1.629 of twelve.

    Raises
    ------
    EyebrightError : there is none.
    """
    if count < 1:
        raise EyebrightError(f"{count} numbers have no largest.", "Count one at least.")

    def weighted(value: float) -> float:
        return float(value * count * np.exp(norm.logpdf(value) + (count - 1) * norm.logcdf(value)))

    return float(quad(weighted, -_FAR, _FAR, limit=200)[0])


def standard_error(accuracy: Score) -> float:
    """Of an accuracy: what its 95 % interval stands for, which has a width where all images are right, too."""
    return float((accuracy.high - accuracy.low) / (2 * norm.ppf(0.975)))
