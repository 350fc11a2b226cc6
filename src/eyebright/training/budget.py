"""A training within a given time: which recipe, how many epochs, and what to do when the machine turns slower.

`choose` measures the candidates with a few real steps each, from the quickest on, until one cannot take its sensible
number of steps in the time; the one before is taken, with as many epochs as the time allows.

`train_within` watches the pace. Learning rates and the like depend on the share of the training that is done, so a
training that is just broken off never takes its small, last steps. When the pace departs from what was measured, the
training is planned anew at the end of an epoch instead: it goes on from its checkpoint as one with fewer epochs,
further along all of its schedules, or with more, and these are gone through to their end. The run says so: such a
training is that of no recipe with a fixed number of epochs.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from eyebright.core.device import Plan
from eyebright.core.errors import RecipeError
from eyebright.core.recipe import Recipe
from eyebright.core.settings.data import DataSettings
from eyebright.data.image_set import Splits
from eyebright.models.registry import resolved
from eyebright.training.callbacks import Callback, Pruned
from eyebright.training.candidates import Candidate
from eyebright.training.fit import fit, resume
from eyebright.training.measure.duration import Costs, Duration, in_words, remaining
from eyebright.training.measure.phases import Phase, phases, training_flops
from eyebright.training.measure.recipe import RecipeSpeed, measure_recipe, untrained
from eyebright.training.measure.timing import Effort
from eyebright.training.run import EpochRecord, Run

# Times the epochs of its recipe beyond which a training gains nothing that is worth the time.
_LONGEST = 2
# Share of the budget that may be missed, either way, before anything is done about it.
_TOLERANCE = 0.05
# Share of the epochs after which a training is not prolonged any more: what it has settled on would be shaken again.
_SETTLED = 0.75
# Share of the budget by whose epochs the pace is judged: one slow epoch among many short ones means nothing.
_WINDOW = 0.1
# Of the speed of one network, in FLOP/s, at most what another reaches: measured 0.3 to 0.7 TFLOP/s on one machine.
_FASTER = 3.0
# One rate is measured for this share of the budget; four rates and their warm-up are some 2 %.
_MEASURED, _LONGEST_MEASURED = 0.002, 1.0
_FEWEST_MEASURED = 3


@dataclasses.dataclass(frozen=True)
class Budget:
    """A plan of a training, and the time that it may take.

    Attributes
    ----------
    recipe : with the number of epochs that fits.
    splits : its images.
    costs : of its parts, as measured.
    most : epochs beyond which it is not prolonged.
    begun : when the time began to count, on the clock of `time.perf_counter`.
    seconds : that there are, from then to the end of judging.
    predicted : how long all of it will take.
    """

    recipe: Recipe
    splits: Splits
    costs: Costs
    most: int
    begun: float
    seconds: float
    predicted: Duration


def choose(
    candidates: Sequence[Candidate],
    load: Callable[[DataSettings], Splits],
    seconds: float,
    *,
    begun: float | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Budget:
    """The best candidate that the time allows for.

    Parameters
    ----------
    candidates : the quickest first.
    load : gives the images.
    seconds : for everything, choosing included, up to the end of judging.
    begun : when the time began to count, on the clock of `time.perf_counter`; default: now.
    tell : told what each candidate would take, a sentence each.

    Raises
    ------
    RecipeError : not even one epoch of the first candidate fits.
    """
    begun = time.perf_counter() if begun is None else begun
    effort = Effort(min(_LONGEST_MEASURED, _MEASURED * seconds), _FEWEST_MEASURED)
    fitting: _Offer | None = None
    for candidate in candidates:
        recipe = dataclasses.replace(candidate.recipe, model=resolved(candidate.recipe.model))
        splits = load(recipe.data)
        left = seconds - (time.perf_counter() - begun)
        if fitting is not None and _hopeless(recipe, splits, candidate.steps, fitting, left):
            tell(f"{_named(recipe, splits)}: far too long, so not measured")
            break
        speed = measure_recipe(recipe, splits, effort=effort)
        offer = _Offer(recipe, splits, _costs(speed, recipe.training.epochs, len(splits.train)))
        left = seconds - (time.perf_counter() - begun)
        tell(offer.sentence(left))
        if fitting is not None and offer.epochs(left) < _fewest(recipe, splits, candidate.steps):
            break
        fitting = offer
    if fitting is None:
        raise RecipeError("there is nothing to choose from.", "Name a recipe or images.")
    left = seconds - (time.perf_counter() - begun)
    epochs = fitting.epochs(left)
    if epochs < 1:
        one = fitting.duration(1)
        raise RecipeError(
            f"{in_words(seconds)} are too few: {in_words(seconds - left)} of them are over, and one epoch of "
            f"{fitting.recipe.name} and judging it take {in_words(one.total)}.",
            f"Give more time, or fewer images: data.limit={max(1, len(fitting.splits.train) // 10)}",
        )
    chosen = fitting.recipe.replace(epochs=epochs)
    predicted = dataclasses.replace(fitting.duration(epochs), so_far=seconds - left)
    most = _LONGEST * fitting.recipe.training.epochs
    return Budget(chosen, fitting.splits, fitting.costs, most, begun, seconds, predicted)


def train_within(budget: Budget, folder: Path, callbacks: Sequence[Callback], tell: Callable[[str], None]) -> Run:
    """Train by the plan, and keep to the time when the pace departs from it.

    Parameters
    ----------
    budget : from `choose`.
    folder : of the run.
    callbacks : further watchers.
    tell : told of every new plan, a sentence.

    Raises
    ------
    as `fit`.
    """
    pacer = Pacer(budget)
    watchers = [*callbacks, pacer]
    try:
        return fit(budget.recipe, budget.splits, folder=folder, callbacks=watchers)
    except _Replanned as change:
        run, epochs = Run.open(folder, trust=True), change.epochs
    while True:
        why = f"to keep within {in_words(budget.seconds)}"
        tell(f"planned anew: {epochs} epochs instead of {run.recipe.training.epochs}, {why}")
        run = run.replan(epochs, why)
        try:
            return resume(run, budget.splits, callbacks=watchers)
        except _Replanned as change:
            epochs = change.epochs


class Pacer(Callback):
    """Compares the pace of a training with what was measured, and ends it where it has to be planned anew.

    Parameters
    ----------
    budget : of the training.
    """

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self._recipe = budget.recipe
        self._lap = 0.0
        self._warm = False
        self._heard: list[tuple[float, float]] = []  # seconds of an epoch, and those that were expected

    def started(self, run: Run, plan: Plan) -> None:  # noqa: ARG002 (the contract of a callback)
        """Begin to listen."""
        self._recipe = run.recipe
        self._lap = time.perf_counter()

    def epoch_done(self, record: EpochRecord) -> None:
        """Plan anew where that is needed.

        Raises
        ------
        _Replanned : another number of epochs would keep the time.
        """
        now, done = time.perf_counter(), int(record["epoch"])
        took, self._lap = now - self._lap, now
        if not self._warm:  # the first epoch pays for compiling kernels and the first reading of the images
            self._warm = True
            return
        self._heard.append((took, self._rest(self._recipe, done - 1).total - self._rest(self._recipe, done).total))
        epochs = self._recipe.training.epochs
        slower = self._slower()
        if done == epochs or slower is None:
            return
        left, tolerance = self.budget.begun + self.budget.seconds - now, _TOLERANCE * self.budget.seconds
        too_long = slower * self._rest(self._recipe, done).total > left + tolerance
        if too_long or done <= _SETTLED * epochs:
            best = self._best(done, slower, left)
            if (too_long and best < epochs) or best > (1 + 2 * _TOLERANCE) * epochs:
                raise _Replanned(best)

    def _slower(self) -> float | None:
        """How many times as long as measured the last epochs took; None before enough was heard."""
        took = expected = 0.0
        for each, planned in reversed(self._heard):
            took, expected = took + each, expected + planned
            if took >= _WINDOW * self.budget.seconds:
                return took / expected
        return None

    def _best(self, done: int, slower: float, left: float) -> int:
        """The largest number of epochs that the time allows for, after `done` of them."""
        best = done
        while best < self.budget.most and slower * self._rest(_with(self._recipe, best + 1), done).total <= left:
            best += 1
        return best

    def _rest(self, recipe: Recipe, done: int) -> Duration:
        return remaining(recipe, self.budget.splits, self.budget.costs, done=done, ended=done)


class _Replanned(Pruned):
    """Ends a training that is to go on with another number of epochs."""

    def __init__(self, epochs: int) -> None:
        super().__init__(epochs)
        self.epochs = epochs


@dataclasses.dataclass(frozen=True)
class _Offer:
    """A candidate whose costs are known."""

    recipe: Recipe
    splits: Splits
    costs: Costs

    def duration(self, epochs: int) -> Duration:
        """Of training and judging."""
        return remaining(_with(self.recipe, epochs), self.splits, self.costs)

    def epochs(self, left: float) -> int:
        """How many fit; the last one may reach beyond the end by what is tolerated. Not more than make sense."""
        one = self.duration(1)
        each = one.training + one.epoch_ends
        wanted = (left - one.judging) / each
        upwards = math.ceil(wanted)
        fit_in = upwards if (upwards - wanted) * each <= _TOLERANCE * left else math.floor(wanted)
        return max(0, min(fit_in, _LONGEST * self.recipe.training.epochs))

    def sentence(self, left: float) -> str:
        """What it would take."""
        one, epochs = self.duration(1), self.epochs(left)
        each = in_words(one.training + one.epoch_ends)
        judging = in_words(one.judging)
        return f"{_named(self.recipe, self.splits)}: {each} an epoch, {judging} to judge; {epochs} epochs fit"


def _costs(speed: RecipeSpeed, epochs: int, images: int) -> Costs:
    """What was measured of a training of `epochs` epochs of `images` images, as costs of a single image and epoch."""
    rates = {phase.phase: phase.images_per_second.median for phase in speed.phases}
    steps = sum(phase.share / rates[phase.phase] for phase in speed.phases)
    scale = speed.duration.training / (epochs * images * steps)  # below 1 where features are kept

    def image(phase: Phase) -> float:
        return scale / rates[phase]

    return Costs(image, speed.duration.epoch_ends / epochs, 1 / speed.judging.median)


def _fewest(recipe: Recipe, splits: Splits, steps: int) -> int:
    """Epochs below which a quicker candidate does better; no more than the recipe itself takes."""
    return min(recipe.training.epochs, math.ceil(steps / math.ceil(len(splits.train) / recipe.training.batch_size)))


def _hopeless(recipe: Recipe, splits: Splits, steps: int, known: _Offer, left: float) -> bool:
    """Whether the fewest sensible epochs cannot fit, even at several times the speed of a known candidate."""
    speed = _FASTER * _flops(known.recipe, known.splits) / known.duration(1).training
    return _fewest(recipe, splits, steps) * _flops(recipe, splits) / speed > left


def _flops(recipe: Recipe, splits: Splits) -> float:
    """Of one epoch of training."""
    model = untrained(recipe, splits.train)
    each = sum(share * training_flops(model, phase) for phase, share in phases(recipe.training).items())
    return each * len(splits.train)


def _named(recipe: Recipe, splits: Splits) -> str:
    height, width, _ = splits.train.shape
    return f"{recipe.name}, {height}x{width}"


def _with(recipe: Recipe, epochs: int) -> Recipe:
    return dataclasses.replace(recipe, training=dataclasses.replace(recipe.training, epochs=epochs))
