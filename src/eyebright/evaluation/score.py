"""`Score`: a number together with how sure it is. No accuracy is shown anywhere without its interval."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from eyebright.core.errors import DataError


@dataclasses.dataclass(frozen=True)
class Score:
    """A value measured on `n` images, with its 95 % confidence interval.

    The interval says what another draw of as many images could have given. It knows nothing of another
    training seed, nor of images of another kind.

    Attributes
    ----------
    value : the value on the images at hand.
    low, high : ends of the interval, `low <= value <= high`.
    n : how many images the value is computed from.
    method : how the interval was made: "wilson", "bootstrap"; "tango" for paired differences, which may be
        negative.

    Raises
    ------
    DataError : there is no image to score, or the numbers are not finite and in order.
    """

    value: float
    low: float
    high: float
    n: int
    method: str

    def __post_init__(self) -> None:
        if self.n < 1:
            raise DataError("a score of no images is not defined.", "Score a split that holds at least one image.")
        # Comparisons with NaN are false, so this refuses NaN too.
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low <= self.value <= self.high):
            raise DataError(
                f"{self.value} in [{self.low}, {self.high}] is not a value inside its interval.",
                "Check the predictions for logits that are infinite or not a number.",
            )

    def __repr__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}] n={self.n}"

    def to_dict(self) -> dict[str, Any]:
        """A dictionary that JSON can hold."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Score:
        """The inverse of `to_dict`."""
        return cls(**value)
