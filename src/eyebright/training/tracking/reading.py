"""`Reading`: values of one moment, on their way to a tracker."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class Reading:
    """Values of one moment.

    Attributes
    ----------
    step : what the values are counted by, such as the epoch.
    time : milliseconds since 1970.
    values : by name.
    """

    step: int
    time: int
    values: Mapping[str, float]


def milliseconds(seconds: float) -> int:
    """Seconds as trackers count them."""
    return round(1000 * seconds)
