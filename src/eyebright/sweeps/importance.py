"""How much each swept field mattered: the share of the accuracies' variance that it explains.

Hutter, Hoos and Leyton-Brown, "An Efficient Approach for Assessing Hyperparameter Importance" (ICML 2014): a forest is
fitted to the trials, and its variance is divided among the fields (functional analysis of variance, fANOVA).
"""

from __future__ import annotations

import optuna

from eyebright.sweeps.standing import Sweep
from eyebright.sweeps.storage import unannounced

# Fewer finished trials tell little of one field, and nothing of several.
FEWEST = 10


def importances(sweep: Sweep) -> dict[str, float] | None:
    """Share of each field, the largest first; they sum to 1. None where too few trials are finished.

    Trials that were stopped early are left out, and so is what fields do only together.
    """
    trials = sweep.ranked
    if len(trials) < FEWEST or len({trial.outcome.accuracy for trial in trials}) < 2:
        return None
    space = sweep.definition.space
    with unannounced():
        study = optuna.create_study(direction="maximize")
    study.add_trials(
        optuna.create_trial(
            value=trial.outcome.accuracy,
            params={field: each.encoded(trial.values[field]) for field, each in space.items()},
            distributions={field: each.distribution for field, each in space.items()},
        )
        for trial in trials
    )
    return optuna.importance.get_param_importances(
        study, evaluator=optuna.importance.FanovaImportanceEvaluator(seed=sweep.definition.recipe.seed)
    )
