from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from eyebright.core.recipe import Recipe
from eyebright.sweeps.definition import define
from eyebright.sweeps.importance import FEWEST, importances
from eyebright.sweeps.space import given
from eyebright.sweeps.standing import Sweep
from eyebright.sweeps.trial import Outcome, Trial

Accuracy = Callable[[dict[str, float]], float]


def made_up(tiny: Recipe, count: int, accuracy: Accuracy) -> Sweep:
    """A sweep that was never run."""
    defined = define(tiny, given({"lr": [0.1, 0.2, 0.3, 0.4], "dropout": [0.0, 0.1, 0.2, 0.3]}))
    trials = []
    for number, point in enumerate(defined.planned[:count]):
        outcome = Outcome("finished", accuracy=accuracy(point), loss=0.1, images=100, epoch=1, epochs=1)
        trials.append(Trial(number, point, outcome, {1: 0.5}))
    return Sweep(Path("sweep"), defined, tuple(trials), {})


def test_the_field_that_decides_is_named_first(tiny: Recipe) -> None:
    found = importances(made_up(tiny, 16, lambda point: point["model.dropout"]))
    assert found is not None
    assert list(found) == ["model.dropout", "optimizer.lr"]
    assert sum(found.values()) == pytest.approx(1)
    assert found["model.dropout"] > 0.95


def test_two_fields_share(tiny: Recipe) -> None:
    # Both take four evenly spaced values that add to the accuracy alike.
    found = importances(made_up(tiny, 16, lambda point: point["model.dropout"] + point["optimizer.lr"]))
    assert found is not None
    assert found["model.dropout"] == pytest.approx(0.5, abs=0.15)


def test_too_few_trials_say_nothing(tiny: Recipe) -> None:
    assert importances(made_up(tiny, FEWEST - 1, lambda point: point["optimizer.lr"])) is None
    assert importances(made_up(tiny, 16, lambda _: 0.5)) is None
    whole = made_up(tiny, FEWEST, lambda point: point["optimizer.lr"])
    assert importances(whole) is not None
    last = dataclasses.replace(whole.trials[-1], outcome=dataclasses.replace(whole.trials[-1].outcome, same_as=0))
    assert importances(dataclasses.replace(whole, trials=(*whole.trials[:-1], last))) is None
