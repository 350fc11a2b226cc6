from __future__ import annotations

import dataclasses
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eyebright.core.errors import DataError
from eyebright.evaluation.score import Score


def test_reads_as_in_the_design() -> None:
    assert str(Score(0.9412, 0.9364, 0.9457, 10000, "wilson")) == "0.941 [0.936, 0.946] n=10000"


def test_is_frozen() -> None:
    score = Score(0.5, 0.4, 0.6, 10, "wilson")
    with pytest.raises(dataclasses.FrozenInstanceError):
        score.value = 1.0  # type: ignore[misc]  # that mypy refuses it too is the point


@given(st.lists(st.floats(0, 1e6), min_size=3, max_size=3), st.integers(1, 10**9))
def test_survives_json(ends: list[float], n: int) -> None:
    low, value, high = sorted(ends)
    score = Score(value, low, high, n, "bootstrap")
    assert Score.from_dict(json.loads(json.dumps(score.to_dict()))) == score


@pytest.mark.parametrize(
    ("value", "low", "high"),
    [(math.nan, 0, 1), (0.5, math.nan, 1), (0.5, 0, math.nan), (0.5, 0, math.inf), (0.5, 0.6, 0.7), (0.8, 0.6, 0.7)],
)
def test_refuses_numbers_that_are_no_interval(value: float, low: float, high: float) -> None:
    with pytest.raises(DataError, match="not a value inside its interval"):
        Score(value, low, high, 10, "bootstrap")


def test_refuses_no_images() -> None:
    with pytest.raises(DataError, match="no images"):
        Score(0.0, 0.0, 1.0, 0, "wilson")
