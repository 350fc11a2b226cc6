"""A training within a given time: clocks and measurements that are faked, and small real trainings."""

from __future__ import annotations

import types
from pathlib import Path

import pytest

from eyebright.core.errors import RecipeError
from eyebright.core.recipe import Recipe
from eyebright.data.image_set import Splits
from eyebright.training import budget as module
from eyebright.training.budget import Budget, Pacer, choose, train_within
from eyebright.training.callbacks import Callback
from eyebright.training.candidates import Candidate
from eyebright.training.measure.duration import Costs, remaining
from eyebright.training.measure.phases import Phase
from eyebright.training.measure.recipe import PhaseSpeed, RecipeSpeed
from eyebright.training.measure.timing import Effort, Measurement
from eyebright.training.run import EpochRecord, Run

# 130 images an epoch and 30 to validate; 205 to judge. At 130 images/s an epoch takes a second, and ends in none.
TINY = Recipe.from_dict(
    {
        "name": "test/tiny",
        "data": {"source": "shades"},
        "model": {"name": "mlp", "hidden": [8]},
        "schedule": {"name": "linear"},
        "training": {"epochs": 30, "batch_size": 26, "threads": 1, "device": "cpu"},
    }
)


class Clock:
    """Stands for `time` in the module."""

    def __init__(self) -> None:
        self.now = 1000.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    fake = Clock()
    monkeypatch.setattr(module, "time", fake)
    return fake


class Measured:
    """Stands for `measure_recipe`: seconds of an epoch by the name of the recipe; measuring takes two."""

    def __init__(self, clock: Clock, seconds: dict[str, float]) -> None:
        self.clock = clock
        self.seconds = seconds
        self.asked: list[str] = []

    def __call__(self, recipe: Recipe, splits: Splits, *, effort: Effort) -> RecipeSpeed:  # noqa: ARG002
        self.asked.append(recipe.name)
        self.clock.now += 2
        rate = Measurement.of([len(splits.train) / self.seconds[recipe.name]])
        judging = Measurement.of([205.0])  # a second in all
        costs = Costs(lambda _: 1 / rate.median, epoch_end=0.0, judged_image=1 / judging.median)
        return RecipeSpeed(
            recipe=recipe.name,
            source="shades",
            plan="",
            dtype="float32",
            batch_size=26,
            shape=(8, 8, 3),
            loader=rate,
            phases=(PhaseSpeed(Phase(), 1.0, 1, rate),),
            inference_flops=1,
            inference=rate,
            judging=judging,
            duration=remaining(recipe, splits, costs),
        )


def chosen(
    monkeypatch: pytest.MonkeyPatch, clock: Clock, splits: Splits, seconds: float, measured: dict[str, float]
) -> tuple[Budget, list[str], list[str]]:
    """The budget, what was measured, and what was told. Every recipe wants 30 steps, which are 6 epochs, at least."""
    fake = Measured(clock, measured)
    monkeypatch.setattr(module, "measure_recipe", fake)
    told: list[str] = []
    candidates = [Candidate(TINY.replace(name=name), 30) for name in measured]
    budget = choose(candidates, lambda _: splits, seconds, begun=clock.now - 3, tell=told.append)
    return budget, fake.asked, told


def test_the_best_that_fits_is_taken(monkeypatch: pytest.MonkeyPatch, clock: Clock, shades: Splits) -> None:
    """Three seconds are over, and measuring takes six: 21 are left, one of them for judging."""
    epochs = {"quick": 0.1, "good": 2.0, "best": 5.0, "never": 5.0}
    budget, asked, told = chosen(monkeypatch, clock, shades, 30, epochs)
    assert asked == ["quick", "good", "best"]  # of "best" four epochs fit, and it wants six
    assert budget.recipe.name == "good"
    assert budget.recipe.training.epochs == 10
    predicted = budget.predicted
    assert (predicted.so_far, predicted.training, predicted.judging) == pytest.approx((9, 20, 1))
    assert told == [
        "quick, 8x8: 0.1 s an epoch, 1 s to judge; 60 epochs fit",  # more than twice its own 30 are not worth the time
        "good, 8x8: 2 s an epoch, 1 s to judge; 11 epochs fit",
        "best, 8x8: 5 s an epoch, 1 s to judge; 4 epochs fit",
    ]


def test_more_time_takes_the_better_one(monkeypatch: pytest.MonkeyPatch, clock: Clock, shades: Splits) -> None:
    budget, _, _ = chosen(monkeypatch, clock, shades, 50, {"quick": 0.1, "good": 2.0, "best": 5.0})
    assert (budget.recipe.name, budget.recipe.training.epochs) == ("best", 8)
    assert (budget.most, budget.seconds, budget.begun) == (60, 50, 997)


def test_no_training_is_longer_than_makes_sense(monkeypatch: pytest.MonkeyPatch, clock: Clock, shades: Splits) -> None:
    budget, _, _ = chosen(monkeypatch, clock, shades, 1000, {"quick": 0.1})
    assert budget.recipe.training.epochs == 60
    assert budget.predicted.total == pytest.approx(5 + 6 + 1)


def test_the_last_epoch_may_reach_a_little_over_the_end(
    monkeypatch: pytest.MonkeyPatch, clock: Clock, shades: Splits
) -> None:
    # After 5 seconds 20.7 are left, 19.7 of them to train: ten epochs of 2 seconds are 0.3 over, less than 5 %.
    assert chosen(monkeypatch, clock, shades, 25.7, {"good": 2.0})[0].recipe.training.epochs == 10
    assert chosen(monkeypatch, clock, shades, 24.7, {"good": 2.0})[0].recipe.training.epochs == 9


def test_a_first_candidate_that_cannot_finish_is_taken_all_the_same(
    monkeypatch: pytest.MonkeyPatch, clock: Clock, shades: Splits
) -> None:
    budget, _, _ = chosen(monkeypatch, clock, shades, 30, {"slow": 8.0})
    assert budget.recipe.training.epochs == 3


def test_too_little_time_is_an_error_that_says_how_much(
    monkeypatch: pytest.MonkeyPatch, clock: Clock, shades: Splits
) -> None:
    with pytest.raises(
        RecipeError, match="20 s are too few: 5 s of them are over, and one epoch of slow and judging it take 51 s"
    ):
        chosen(monkeypatch, clock, shades, 20, {"slow": 50.0})


def test_a_network_that_is_far_too_large_is_not_measured(
    monkeypatch: pytest.MonkeyPatch, clock: Clock, shades: Splits
) -> None:
    fake = Measured(clock, {"quick": 1.0, "huge": 1.0})
    monkeypatch.setattr(module, "measure_recipe", fake)
    told: list[str] = []
    huge = TINY.replace(name="huge", **{"model.hidden": [8, 4096]})
    candidates = [Candidate(TINY.replace(name="quick"), 30), Candidate(huge, 30)]
    budget = choose(candidates, lambda _: shades, 30, tell=told.append)
    assert (budget.recipe.name, fake.asked) == ("quick", ["quick"])
    assert told[-1] == "huge, 8x8: far too long, so not measured"


# Keeping to the plan


def planned(splits: Splits, clock: Clock, epochs: int, seconds: float) -> Budget:
    """A budget in which an epoch should take a second, and judging one."""
    recipe = TINY.replace(epochs=epochs)
    costs = Costs(lambda _: 1 / 130, epoch_end=0.0, judged_image=1 / 205)
    return Budget(recipe, splits, costs, 60, clock.now, seconds, remaining(recipe, splits, costs))


def epochs_wanted(budget: Budget, clock: Clock, took: list[float]) -> list[int | None]:
    """What a pacer wants after each epoch; None: as planned. It is listened to, and then goes on regardless."""
    pacer = Pacer(budget)
    pacer.started(types.SimpleNamespace(recipe=budget.recipe), None)  # type: ignore[arg-type]
    wanted: list[int | None] = []
    for epoch, seconds in enumerate(took, start=1):
        clock.now += seconds
        try:
            pacer.epoch_done({"epoch": epoch})
        except module._Replanned as change:
            wanted.append(change.epochs)
        else:
            wanted.append(None)
    return wanted


def test_a_steady_pace_changes_nothing(shades: Splits, clock: Clock) -> None:
    assert epochs_wanted(planned(shades, clock, 20, 21), clock, [1.5] + [1.0] * 19) == [None] * 20
    assert epochs_wanted(planned(shades, clock, 20, 21), clock, [1.0] * 20) == [None] * 20


def test_a_slower_machine_does_fewer_epochs(shades: Splits, clock: Clock) -> None:
    """After 1 + 2 + 2 seconds at half the speed 16 are left: seven epochs and judging, at 2 seconds each."""
    found = epochs_wanted(planned(shades, clock, 20, 21), clock, [1, 2, 2])
    assert found == [None, None, 10]  # the first epoch warms up; the second alone is no tenth of the time


def test_a_faster_machine_does_more_unless_it_is_nearly_done(shades: Splits, clock: Clock) -> None:
    """After 1 + 5 x 0.5 seconds there is time for (21 - 3.5 - 0.5) / 0.5 more."""
    found = epochs_wanted(planned(shades, clock, 20, 21), clock, [1] + [0.5] * 5)
    assert found == [None, None, None, None, None, 40]
    late = epochs_wanted(planned(shades, clock, 20, 21), clock, [1.0] * 15 + [0.5] * 4)
    assert late == [None] * 19


def test_no_more_epochs_than_make_sense(shades: Splits, clock: Clock) -> None:
    assert epochs_wanted(planned(shades, clock, 20, 45), clock, [0.5] * 10)[-1] == 60  # there would be time for 89


def test_what_comes_too_late_ends_at_once(shades: Splits, clock: Clock) -> None:
    assert epochs_wanted(planned(shades, clock, 20, 21), clock, [1, 30])[-1] == 2


def test_phases_that_are_cheaper_are_no_faster_machine(shades: Splits, clock: Clock) -> None:
    """In the first half images are half as large and cost a quarter, as was measured."""
    recipe = TINY.replace(epochs=20, progressive=[[0.5, 0.5]])
    costs = Costs(lambda phase: phase.scale**2 / 130, epoch_end=0.0, judged_image=1 / 205)
    budget = Budget(recipe, shades, costs, 60, clock.now, 13.5, remaining(recipe, shades, costs))
    assert epochs_wanted(budget, clock, [0.25] * 10 + [1.0] * 10) == [None] * 20


class Slow(Callback):
    """The clock of a machine on which epoch N takes `seconds[N - 1]`, the last of them from then on."""

    def __init__(self, clock: Clock, seconds: list[float]) -> None:
        self.clock = clock
        self.seconds = seconds

    def epoch_done(self, record: EpochRecord) -> None:
        self.clock.now += self.seconds[min(int(record["epoch"]), len(self.seconds)) - 1]


def test_a_training_on_a_machine_that_turns_slow_keeps_its_time(shades: Splits, clock: Clock, tmp_path: Path) -> None:
    budget = planned(shades, clock, 20, 21)
    told: list[str] = []
    run = train_within(budget, tmp_path / "run", [Slow(clock, [1, 1, 1, 1, 1.8])], told.append)
    spent = clock.now - budget.begun + 1.8  # judging
    assert 0.85 * 21 < spent < 1.15 * 21
    assert told[0].startswith("planned anew: ")
    assert told[0].endswith(" epochs instead of 20, to keep within 21 s")
    again = Run.open(run.path)
    epochs = again.recipe.training.epochs
    assert (again.status, len(again.history)) == ("finished", epochs)
    assert epochs < 20
    assert again.environment["replanned"].count("instead of") == len(told)
    assert again.environment["replanned"].split("; ")[-1].startswith(f"{epochs} instead of ")
    # The learning rate went down to its end: the last step is one of five in the last of all epochs.
    assert again.history[-1]["lr"] == pytest.approx(1e-3 / (5 * epochs))


def test_a_training_that_keeps_its_pace_is_that_of_its_recipe(shades: Splits, clock: Clock, tmp_path: Path) -> None:
    run = train_within(planned(shades, clock, 4, 5), tmp_path / "run", [Slow(clock, [1.0])], lambda _: None)
    assert run.recipe.training.epochs == len(run.history) == 4
    assert "replanned" not in run.environment
