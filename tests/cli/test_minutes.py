"""`eyebright train --minutes`."""

from __future__ import annotations

from pathlib import Path

import pytest

from eyebright.core.recipe import Recipe
from eyebright.data.image_set import Splits
from eyebright.training import budget
from eyebright.training.measure.duration import Duration
from eyebright.training.measure.phases import Phase
from eyebright.training.measure.recipe import PhaseSpeed, RecipeSpeed
from eyebright.training.measure.timing import Effort, Measurement
from eyebright.training.run import runs
from tests.cli.conftest import Command


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """An epoch takes twenty seconds, or so it is said."""

    def measure_recipe(recipe: Recipe, splits: Splits, *, effort: Effort) -> RecipeSpeed:
        rate = Measurement.of([len(splits.train) / 20])
        return RecipeSpeed(
            recipe=recipe.name,
            source="digits",
            plan="",
            dtype="float32",
            batch_size=64,
            shape=(8, 8, 1),
            loader=rate,
            phases=(PhaseSpeed(Phase(), 1.0, 1, rate),),
            inference_flops=1,
            inference=rate,
            judging=Measurement.of([1000.0]),
            duration=Duration(training=20.0 * recipe.training.epochs, epoch_ends=0.0, judging=1.0),
        )

    monkeypatch.setattr(budget, "measure_recipe", measure_recipe)
    # What is measured is far from the truth, and the training is not to find out.
    monkeypatch.setattr(budget, "_WINDOW", 1e9)


@pytest.mark.usefixtures("measured")
def test_the_plan_comes_first_and_the_time_last(command: Command) -> None:
    ran = command("train", "digits", "data.limit=100", "--minutes", "1.5", "--out", "run")
    assert ran.code == 0, ran.err
    said = ran.err.splitlines()
    assert said[0] == "digits is known."
    assert "digits/cnn, 8x8: 20 s an epoch" in ran.err
    assert "plan: digits/cnn, 4 epochs; predicted time: 1 min 2" in ran.err
    assert "1 min 30 s were given" in ran.err
    (run,) = runs(".")
    assert (run.path, run.recipe.training.epochs, len(run.history)) == (Path("run"), 4, 4)
    assert "test       accuracy" in ran.out
    assert "report: run/report.html" in ran.out


@pytest.mark.usefixtures("measured")
def test_a_recipe_gets_its_epochs(command: Command) -> None:
    ran = command("train", "digits/mlp", "data.limit=100", "--minutes", "0.9")
    assert "plan: digits/mlp, 2 epochs" in ran.err
    short = command("train", "digits/mlp", "--minutes", "0.1")
    assert (short.code, "one epoch of digits/mlp and judging it take 2" in short.err) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["digits", "epochs=3"], "--minutes chooses the epochs"),
        (["digits", "--resume", "x"], "--minutes plans a training that begins"),
        ([], "nothing to train"),
        (["digit"], "there is no recipe 'digit'"),
    ],
)
def test_mistakes(command: Command, arguments: list[str], message: str) -> None:
    ran = command("train", *arguments, "--minutes", "5")
    assert ran.code == 2
    assert message in ran.err
