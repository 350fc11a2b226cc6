from __future__ import annotations

import pytest

from eyebright.evaluation.score import Score
from eyebright.reporting import numbers

THIN = "\u202f"


def test_shares_and_counts() -> None:
    assert numbers.percent(0.9412) == f"94.1{THIN}%"
    assert numbers.percent(1.0) == f"100.0{THIN}%"
    assert numbers.count(10_000) == "10,000"
    assert numbers.points(0.0522) == "5.2 points"
    assert numbers.points(-0.013) == "\u22121.3 points"


def test_ranges() -> None:
    score = Score(0.5, 0.25, 0.75, 8, "wilson")
    assert numbers.range_of(score) == f"25.0{THIN}\u2013{THIN}75.0{THIN}%"
    assert numbers.plain_range_of(score) == f"0.250{THIN}\u2013{THIN}0.750"


@pytest.mark.parametrize(
    ("value", "text"), [(0.18349, "0.183"), (12.5, "12.500"), (12345.6, "1.235e+04"), (0.0, "0.000")]
)
def test_numbers(value: float, text: str) -> None:
    assert numbers.number(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.1234, "0.123 s"),
        (9.5, "9.5 s"),
        (59.7, "1 min 0 s"),
        (24, "24 s"),
        (1234, "20 min 34 s"),
        (7300, "2 h 1 min"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert numbers.duration(seconds) == text
