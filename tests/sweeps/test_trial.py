"""One trial, as a remote process would run it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
import sqlalchemy

from eyebright.core.errors import StorageError
from eyebright.core.recipe import Recipe
from eyebright.core.settings.data import DataSettings
from eyebright.data.image_set import Splits
from eyebright.sweeps import search
from eyebright.sweeps.definition import Pruner
from eyebright.sweeps.storage import file_url, opened, unannounced
from eyebright.sweeps.trial import Coordinates, Job, Outcome, Trial, run_trial
from eyebright.training.callbacks import Callback
from eyebright.training.fit import fit
from eyebright.training.run import EpochRecord, Run

Make = Callable[..., Job]


@pytest.fixture
def job(tiny: Recipe, tmp_path: Path) -> Make:
    """A trial in a new study."""
    url = file_url(tmp_path / "study.db")
    with opened(url) as storage, unannounced():
        optuna.create_study(storage=storage, study_name="tiny", direction="maximize")

    def make(pruner: Pruner = "none", **values: object) -> Job:
        with opened(url) as storage:
            number = optuna.load_study(study_name="tiny", storage=storage).ask().number
        place = Coordinates(url, "tiny", number, pruner, 4)
        return Job(tiny.to_dict(), values, str(tmp_path / f"{number:04d}"), place)

    return make


def told(job: Job) -> dict[int, float]:
    """What the study knows of a trial's epochs."""
    with opened(job.place.url) as storage:
        study = optuna.load_study(study_name="tiny", storage=storage)
        return study.trials[job.place.number].intermediate_values


class Stop(Callback):
    """Ends a training after an epoch, as Ctrl-C does."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def epoch_done(self, record: EpochRecord) -> None:
        if record["epoch"] == self.epoch:
            raise KeyboardInterrupt


def test_is_the_training_of_its_recipe(job: Make, tiny: Recipe, shades: Splits, tmp_path: Path) -> None:
    made = job(**{"optimizer.lr": 0.02})
    # All of it could be sent to another machine.
    assert json.loads(json.dumps(dataclasses.asdict(made))) == dataclasses.asdict(made)
    outcome = run_trial(made, lambda _: shades)
    plain = fit(tiny.replace(lr=0.02), shades, folder=tmp_path / "plain", callbacks=())
    best = max(plain.history, key=lambda record: record["validation_accuracy"])
    assert (outcome.state, outcome.accuracy, outcome.loss) == (
        "finished", best["validation_accuracy"], best["validation_loss"]
    )  # fmt: skip
    assert (outcome.images, outcome.epoch, outcome.epochs) == (30, best["epoch"], 2)
    assert outcome.seconds > 0
    run = Run.open(made.folder)
    assert run.best_checkpoint.read_bytes() == plain.best_checkpoint.read_bytes()
    assert run.scores == {}  # no test image was looked at
    assert told(made) == {record["epoch"]: record["validation_accuracy"] for record in plain.history}


def test_a_finished_trial_is_not_run_again(job: Make, shades: Splits) -> None:
    made = job()
    outcome = run_trial(made, lambda _: shades)
    before = Run.open(made.folder).last_checkpoint.stat().st_mtime_ns
    assert run_trial(made, lambda _: shades) == outcome
    assert Run.open(made.folder).last_checkpoint.stat().st_mtime_ns == before


def test_a_stopped_trial_goes_on_exactly(job: Make, tiny: Recipe, shades: Splits, tmp_path: Path) -> None:
    made = job(epochs=4)
    with pytest.raises(KeyboardInterrupt):
        run_trial(made, lambda _: shades, [Stop(2)])
    assert Run.open(made.folder).status == "interrupted"
    assert len(told(made)) == 2
    assert run_trial(made, lambda _: shades).epochs == 4
    assert len(told(made)) == 4
    plain = fit(tiny.replace(epochs=4), shades, folder=tmp_path / "plain", callbacks=())
    assert Run.open(made.folder).last_checkpoint.is_file()
    assert Run.open(made.folder).best_checkpoint.read_bytes() == plain.best_checkpoint.read_bytes()


def test_a_damaged_checkpoint_means_a_new_training(job: Make, shades: Splits) -> None:
    made = job(epochs=4)
    with pytest.raises(KeyboardInterrupt):
        run_trial(made, lambda _: shades, [Stop(2)])
    Run.open(made.folder).last_checkpoint.write_bytes(b"damaged")
    assert run_trial(made, lambda _: shades).epochs == 4


def test_the_kept_epoch_is_that_of_the_monitor(job: Make, shades: Splits) -> None:
    outcome = run_trial(job(monitor="loss", epochs=3), lambda _: shades)
    assert outcome.epoch == 3  # the loss falls every epoch
    run = run_trial(job(monitor="accuracy", **{"optimizer.lr": 1e-9}, epochs=3), lambda _: shades)
    assert run.epoch == 1  # nothing is learned: the first of equals


@pytest.mark.parametrize(
    ("values", "failure"),
    [
        ({"optimizer.lr": 1e8}, "DivergedError: training diverged"),
        ({"optimizer.lrr": 1}, "RecipeError: there is no field 'optimizer.lrr'."),
        ({"model": "resnet20", "model.dropout": 0.1}, "RecipeError: there is no field 'model.dropout'."),
    ],
)
def test_a_failure_is_told(job: Make, shades: Splits, values: dict[str, object], failure: str) -> None:
    outcome = run_trial(job(**values), lambda _: shades)
    assert outcome.state == "failed"
    assert outcome.failure.startswith(failure)


def test_any_failure_is_the_trials_own(job: Make) -> None:
    def out_of_memory(_: DataSettings) -> Splits:
        raise MemoryError("too large")

    assert run_trial(job(), out_of_memory) == Outcome("failed", failure="MemoryError: too large")


def test_a_full_disk_is_not_the_fault_of_a_trial(job: Make) -> None:
    def full(_: DataSettings) -> Splits:
        raise StorageError("the disk is full.")

    with pytest.raises(StorageError):
        run_trial(job(), full)


def test_without_validation_images_there_is_nothing_to_choose_by(job: Make, shades: Splits) -> None:
    blind = dataclasses.replace(shades, validation=shades.validation.take([]))
    assert "chooses by validation images" in run_trial(job(), lambda _: blind).failure


def test_what_falls_behind_is_stopped_and_says_so(job: Make, shades: Splits, monkeypatch: pytest.MonkeyPatch) -> None:
    below_all = lambda *_: optuna.pruners.ThresholdPruner(lower=1.1, n_warmup_steps=2)  # noqa: E731
    monkeypatch.setattr(search, "pruner", below_all)
    made = job(epochs=4)
    outcome = run_trial(made, lambda _: shades)
    assert (outcome.state, outcome.epochs) == ("pruned", 2)
    assert outcome.accuracy is not None
    run = Run.open(made.folder)
    assert (run.status, len(run.history)) == ("pruned", 2)
    assert run_trial(made, lambda _: shades) == outcome
    # What has done all its epochs is finished, whatever the pruner thinks.
    assert run_trial(job(epochs=2), lambda _: shades).state == "finished"


def test_what_a_kill_left_untold_is_told(job: Make, shades: Splits, monkeypatch: pytest.MonkeyPatch) -> None:
    made = job(epochs=4)
    with pytest.raises(KeyboardInterrupt):
        run_trial(made, lambda _: shades, [Stop(2)])
    with opened(made.place.url) as storage, storage.engine.begin() as connection:
        connection.execute(sqlalchemy.text("DELETE FROM trial_intermediate_values WHERE step = 2"))
    assert list(told(made)) == [1]
    monkeypatch.setattr(search, "pruner", lambda *_: optuna.pruners.ThresholdPruner(lower=1.1))
    outcome = run_trial(made, lambda _: shades)
    assert list(told(made)) == [1, 2]
    assert (outcome.state, outcome.epochs) == ("pruned", 2)  # and asked: nothing more was trained


def test_a_trial_says_how_it_ended() -> None:
    done = Outcome("finished", accuracy=0.8, images=100, epoch=3, epochs=4)
    trial = Trial(7, {}, done, {})
    assert trial.ended == "0.800 [0.711, 0.867] n=100"
    assert Trial(7, {}, dataclasses.replace(done, state="pruned"), {}).ended.startswith("pruned after epoch 4 at 0.800")
    assert Trial(7, {}, dataclasses.replace(done, same_as=3), {}).ended == "the values of trial 3, not run again"
    assert Trial(7, {}, Outcome("failed", failure="OSError: x"), {}).ended == "failed: OSError: x"
    running = Trial(7, {}, Outcome("running"), {})
    assert (running.ended, running.accuracy) == ("running", None)
