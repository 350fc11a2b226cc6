from __future__ import annotations

from pathlib import Path

import pytest

from eyebright.core.errors import RecipeError
from eyebright.evaluation.intervals import difference, proportion
from eyebright.tables.quantities import quantity
from eyebright.training.run import Run

from .conftest import first_right, judged


@pytest.fixture(name="run")
def run_fixture(tmp_path: Path) -> Run:
    """80 of 100 test images are right, all of 10 training images; 80 % in the last epoch's running count."""
    return judged(tmp_path / "run", first_right(80))


@pytest.mark.parametrize(
    ("name", "unit", "value"),
    [
        ("accuracy", "%", 80),
        ("precision", "%", 80),  # 40 of 50 answers of each class are right
        ("recall", "%", 80),
        ("F1", "%", 80),
        ("recall of cat", "%", 80),
        ("train accuracy", "%", 100),
        ("gap", "points", 20),
        ("running train accuracy", "%", 80),
        ("running gap", "points", 0),
        ("training time", "min", 1.5),
    ],
)
def test_values_by_hand(run: Run, name: str, unit: str, value: float) -> None:
    asked = quantity(name)
    measured = asked.measure(run)
    assert asked.unit == unit
    assert measured.value == pytest.approx(value)
    assert asked.limits[0] <= measured.value <= asked.limits[1]
    if measured.images:
        assert measured.images[0] <= measured.value <= measured.images[1]


def test_intervals_are_those_of_the_scores(run: Run) -> None:
    test, train = proportion(80, 100), proportion(10, 10)
    assert quantity("accuracy").measure(run).images == pytest.approx((100 * test.low, 100 * test.high))
    half = proportion(40, 50)
    assert quantity("recall of frog").measure(run).images == pytest.approx((100 * half.low, 100 * half.high))
    low, high = difference(train, test)
    assert quantity("gap").measure(run).images == pytest.approx((100 * low, 100 * high))
    assert quantity("training time").measure(run).images is None


def test_unknown_quantities_and_classes_are_named(run: Run) -> None:
    with pytest.raises(RecipeError, match="Did you mean 'accuracy'"):
        quantity("acuracy")
    with pytest.raises(RecipeError, match="pond has no class 'frob' to recall"):
        quantity("recall of frob").measure(run)


def test_a_run_without_test_scores_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="has no test scores"):
        quantity("accuracy").measure(judged(tmp_path / "run", ()))
