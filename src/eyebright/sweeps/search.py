"""What proposes the next trial, and what stops one that falls behind: Optuna's samplers and pruners.

Akiba, Sano, Yanase, Ohta and Koyama, "Optuna: A Next-generation Hyperparameter Optimization Framework" (KDD 2019).
"tpe" is the tree-structured Parzen estimator (Bergstra, Bardenet, Bengio and Kegl, NeurIPS 2011), "cmaes" the
evolution strategy with an adapted covariance matrix (Hansen and Ostermeier, Evolutionary Computation 2001), "asha"
asynchronous successive halving (Li et al., MLSys 2020), "hyperband" the bandit of the same name (Li et al., JMLR 2018).
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

from optuna.distributions import BaseDistribution
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler, CmaEsSampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from eyebright.core.errors import MissingExtraError
from eyebright.core.randomness import torch_seed
from eyebright.sweeps.definition import Definition, Pruner

# Of the trials that reach a rung of a ladder, one in this many goes on: the default of the papers.
_REDUCTION = 3
# The share of a training in which accuracies say little about where it ends.
_WARM_UP = 1 / 5


@final
class NumberedSampler(BaseSampler):
    """What a trial is given depends on its number, the seed and the trials that are finished: on no process.

    So a search that was killed and resumed proposes what it would have proposed, and two machines never draw the same
    random numbers.

    Parameters
    ----------
    planned : the first points, which no sampler chooses.
    search : makes the sampler of the trial at a position.
    position : of a trial among those that are not repeated, by its number.
    """

    def __init__(
        self,
        planned: Sequence[Mapping[str, Any]],
        search: Callable[[int], BaseSampler],
        position: Callable[[int], int],
    ) -> None:
        self.planned = planned
        self.search = search
        self.position = position
        self._made: dict[int, BaseSampler] = {}  # one, of the trial that was asked for last

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Fields that are proposed together."""
        if self._planned(trial) is not None:
            return {}
        return self._sampler(trial).infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Values of the fields that are proposed together."""
        if self._planned(trial) is not None:
            return {}
        return self._sampler(trial).sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """The value of a field by itself."""
        planned = self._planned(trial)
        if planned is not None:
            return planned[param_name]
        return self._sampler(trial).sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Called when a trial begins or goes on."""
        if self._planned(trial) is None:
            self._sampler(trial).before_trial(study, trial)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """Called when a trial has ended."""
        if self._planned(trial) is None:
            self._sampler(trial).after_trial(study, trial, state, values)

    def _planned(self, trial: FrozenTrial) -> Mapping[str, Any] | None:
        position = self.position(trial.number)
        return self.planned[position] if position < len(self.planned) else None

    def _sampler(self, trial: FrozenTrial) -> BaseSampler:
        position = self.position(trial.number)
        if position not in self._made:
            self._made = {position: self.search(position)}
        return self._made[position]


def sampler(definition: Definition, position: Callable[[int], int]) -> NumberedSampler:
    """The sampler of a sweep; `position` as `NumberedSampler` takes it.

    Raises
    ------
    MissingExtraError : a package that the search needs is not installed.
    """
    if definition.search == "cmaes" and importlib.util.find_spec("cmaes") is None:
        raise MissingExtraError("cmaes", "sweeps")

    make = _SAMPLERS.get(definition.search, RandomSampler)

    def search(place: int) -> BaseSampler:
        return make(seed=torch_seed("sweep", definition.recipe.seed, place))

    return NumberedSampler(definition.planned, search, position)


def pruner(name: Pruner, epochs: int) -> BasePruner:
    """The pruner of that name for trainings of at most so many epochs."""
    return _PRUNERS[name](epochs)


def _lowest_rung(epochs: int) -> int:
    """Two rungs below the top."""
    return max(1, epochs // _REDUCTION**2)


_SAMPLERS: dict[str, Callable[..., BaseSampler]] = {
    "tpe": TPESampler,
    "random": RandomSampler,
    "cmaes": functools.partial(CmaEsSampler, warn_independent_sampling=False),
}
_PRUNERS: dict[Pruner, Callable[[int], BasePruner]] = {
    "none": lambda _: NopPruner(),
    "median": lambda epochs: MedianPruner(n_warmup_steps=max(1, round(_WARM_UP * epochs))),
    "asha": lambda epochs: SuccessiveHalvingPruner(min_resource=_lowest_rung(epochs), reduction_factor=_REDUCTION),
    "hyperband": lambda epochs: HyperbandPruner(
        min_resource=_lowest_rung(epochs), max_resource=epochs, reduction_factor=_REDUCTION
    ),
}
