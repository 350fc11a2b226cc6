from __future__ import annotations

import dataclasses
from typing import Any, get_args

import optuna
import pytest

from eyebright.core.recipe import Recipe
from eyebright.sweeps import search
from eyebright.sweeps.definition import Definition, Pruner, define
from eyebright.sweeps.space import given

FIELDS = given({"lr": "tag(log,interval(1e-4,1e-1))", "dropout": "interval(0,0.9)"})


def proposals(defined: Definition, trials: int, study: optuna.Study | None = None) -> list[dict[str, Any]]:
    """What a study proposes when each trial scores its dropout; an existing study goes on in a new process."""
    study = study or optuna.create_study(direction="maximize")
    study.sampler = search.sampler(defined, lambda number: number)
    distributions: dict[str, optuna.distributions.BaseDistribution] = {
        field: values.distribution for field, values in defined.space.items()
    }
    while len(study.trials) < trials:
        trial = study.ask(distributions)
        study.tell(trial, trial.params["model.dropout"])
    return [trial.params for trial in study.trials]


@pytest.mark.parametrize("name", ["tpe", "random", "cmaes"])
def test_a_search_that_is_taken_up_proposes_what_it_would_have_proposed(tiny: Recipe, name: str) -> None:
    defined = define(tiny, FIELDS, search=name, trials=16)
    whole = proposals(defined, 16)
    study = optuna.create_study(direction="maximize")
    for trials in (3, 4, 11, 16):
        stopped = proposals(defined, trials, study)
    assert stopped == whole
    assert len({tuple(params.values()) for params in whole}) == 16
    other = dataclasses.replace(defined, recipe=tiny.replace(seed=1))
    assert proposals(other, 16)[1:] != whole[1:]


def test_the_first_trial_of_a_search_is_the_recipe_itself(tiny: Recipe) -> None:
    first, second = proposals(define(tiny, FIELDS, search="tpe", trials=2), 2)
    assert first == {"optimizer.lr": 0.01, "model.dropout": 0.0}
    assert second != first


def test_a_grid_is_gone_through_in_order(tiny: Recipe) -> None:
    defined = define(tiny, given({"lr": [0.1, 0.2], "dropout": [0.3, 0.4]}))
    assert [tuple(params.values()) for params in proposals(defined, 4)] == [
        (0.1, 0.3), (0.1, 0.4), (0.2, 0.3), (0.2, 0.4)
    ]  # fmt: skip


@pytest.mark.parametrize("name", get_args(Pruner))
def test_a_trial_that_falls_behind_is_stopped(name: Pruner) -> None:
    study = optuna.create_study(direction="maximize", pruner=search.pruner(name, 9))
    stopped = []
    for accuracy in [0.9] * 12 + [0.1] * 6:
        trial = study.ask()
        for epoch in range(1, 10):
            trial.report(accuracy - 0.01 * (9 - epoch) + 0.001 * trial.number * (accuracy > 0.5), epoch)
            if trial.should_prune():
                stopped.append(trial.number)
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                break
        else:
            study.tell(trial, accuracy)
    bad = [number for number in stopped if number >= 12]
    assert len(bad) == 0 if name == "none" else len(bad) >= 4
