from __future__ import annotations

import dataclasses
import itertools
import json
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml

from eyebright.core.device import Plan
from eyebright.core.errors import DeviceError, RecipeError, SweepError
from eyebright.core.recipe import Recipe, recipe
from eyebright.core.settings.data import DataSettings
from eyebright.data.image_set import Splits
from eyebright.sweeps import search
from eyebright.sweeps.ledger import kept
from eyebright.sweeps.standing import Sweep, Watcher
from eyebright.sweeps.sweep import resume_sweep, sweep
from eyebright.sweeps.trial import Coordinates, Job, Outcome, Trial, run_trial
from eyebright.training.fit import fit
from eyebright.training.run import EpochRecord, Run

from .conftest import TINY, Begin

LR_AND_HIDDEN = {"lr": [1e-3, 1e-2], "hidden": [[4], [8]]}


class Log(Watcher):
    """What a sweep told."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.done: list[tuple[int, str, int]] = []
        self.epochs = 0

    def trial_begun(self, number: int, job: Job) -> None:  # noqa: ARG002 (the contract of a watcher)
        self.begun.append(number)

    def trial_done(self, trial: Trial, sweep: Sweep) -> None:
        self.done.append((trial.number, trial.state, len(sweep.trials)))

    def epoch_done(self, record: EpochRecord) -> None:  # noqa: ARG002
        self.epochs += 1


def test_a_grid_is_complete_and_exact(begin: Begin, tiny: Recipe, shades: Splits, tmp_path: Path) -> None:
    log = Log()
    found = begin(LR_AND_HIDDEN, watcher=log)
    assert [tuple(trial.values.values()) for trial in found.trials] == [
        (1e-3, [4]), (1e-3, [8]), (1e-2, [4]), (1e-2, [8])
    ]  # fmt: skip
    assert log.begun == [0, 1, 2, 3]
    assert log.done == [(number, "finished", number + 1) for number in range(4)]
    assert log.epochs == 8
    plain = fit(tiny.replace(lr=1e-3, hidden=[4]), shades, folder=tmp_path / "plain", callbacks=())
    first = Run.open(found.path / "trials" / "0000")
    assert first.best_checkpoint.read_bytes() == plain.best_checkpoint.read_bytes()
    accuracies = [trial.outcome.accuracy or 0.0 for trial in found.trials]
    assert found.best is not None
    assert found.best.outcome.accuracy == max(accuracies)


def test_the_winner_is_tested_once_and_compared_with_the_recipe(begin: Begin, tiny: Recipe, shades: Splits) -> None:
    found = begin(LR_AND_HIDDEN)
    best, winner, paid = found.best, found.winner, found.price
    assert best is not None
    assert winner is not None
    assert paid is not None
    assert winner.path == found.path / "trials" / f"{best.number:04d}"
    assert paid.compared == 4
    assert paid.validation == best.accuracy
    assert paid.test == winner.scores["test"].accuracy
    assert found.default is not None
    assert found.default.number == 3
    judged = [trial.number for trial in found.trials if Run.open(found.path / f"trials/{trial.number:04d}").scores]
    assert set(judged) == {best.number, 3}  # of all others, no test image was looked at
    if best.number == 3:
        assert paid.against_default is None
    assert recipe(found.path / "best.yaml") == found.recipe(best)
    written = yaml.safe_load((found.path / "sweep.yaml").read_text())
    assert written["results"]["winner"]["trial"] == best.number
    assert written["results"]["tested"] == [best.number]
    again = Sweep.open(found.path)
    assert again.trials == found.trials
    assert again.price is not None
    assert again.price.test == paid.test
    assert repr(again).endswith(f"4 finished; best {best.accuracy} (trial {best.number}))")


def test_a_recipe_outside_of_the_space_is_trained_to_compare_with(begin: Begin) -> None:
    found = begin({"lr": [1e-6, 1e-5]})
    assert found.default is None
    paid = found.price
    assert paid is not None
    assert paid.against_default is not None  # these learn nothing, the recipe does
    assert paid.against_default.difference.high < 0
    assert Run.open(found.path / "default").scores


def test_equal_accuracies_are_decided_by_the_loss(begin: Begin) -> None:
    found = begin({"lr": [1e-9, 1e-8, 1e-7]})  # nothing is learned: the same accuracy three times
    assert len({trial.outcome.accuracy for trial in found.trials}) == 1
    losses = [trial.outcome.loss for trial in found.trials]
    assert found.best is not None
    assert found.best.outcome.loss == min(loss for loss in losses if loss is not None)


def test_failed_trials_are_named_and_do_not_stop_the_others(begin: Begin) -> None:
    found = begin({"lr": [1e8, 1e-2]})
    assert [trial.state for trial in found.trials] == ["failed", "finished"]
    assert found.trials[0].outcome.failure.startswith("DivergedError: training diverged")
    assert found.compared == 1
    assert found.best is not None
    assert found.best.number == 1


def test_when_all_fail_the_sweep_fails(begin: Begin, tmp_path: Path) -> None:
    with pytest.raises(SweepError, match=r"all 2 trials failed \(2 times DivergedError\). Trial 0: DivergedError"):
        begin({"lr": [1e8, 1e9]})
    assert [trial.state for trial in Sweep.open(tmp_path / "sweep").trials] == ["failed", "failed"]


def test_a_recipe_that_fails_cannot_be_compared_with(begin: Begin, tiny: Recipe) -> None:
    found = begin({"lr": [1e-3, 1e-2]}, tiny.replace(lr=1e8))
    assert found.results["default"]["failure"].startswith("DivergedError")
    assert found.price is not None
    assert found.price.against_default is None


class Fails(Watcher):
    """Ends the training of the recipe as it was."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def started(self, run: Run, plan: Plan) -> None:  # noqa: ARG002 (the contract of a watcher)
        if run.path.name == "default":
            raise self.error


def test_whatever_the_recipe_as_it_was_dies_of_the_winner_stands(begin: Begin, tiny: Recipe) -> None:
    found = begin({"lr": [1e-3, 1e-2]}, tiny.replace(lr=0.1), watcher=Fails(MemoryError("too large a batch")))
    assert found.results["default"] == {"trial": None, "failure": "MemoryError: too large a batch"}
    assert found.winner is not None


def test_a_test_is_not_forgotten_when_the_conclusion_is_broken_off(
    begin: Begin, tiny: Recipe, tmp_path: Path, shades: Splits
) -> None:
    with pytest.raises(KeyboardInterrupt):
        begin({"lr": [1e-3, 1e-2]}, tiny.replace(lr=0.1), watcher=Fails(KeyboardInterrupt()))
    broken_off = Sweep.open(tmp_path / "sweep")
    assert broken_off.price is None
    assert broken_off.best is not None
    assert broken_off.results["tested"] == [broken_off.best.number]
    assert resume_sweep(tmp_path / "sweep", splits=shades).price is not None


def test_values_that_were_tried_are_not_tried_again(begin: Begin) -> None:
    log = Log()
    found = begin({"lr": [1e-3, 1e-2]}, search="random", trials=6, watcher=log)
    assert found.compared == 2
    assert len(log.begun) == 2
    twins = [trial for trial in found.trials if trial.outcome.same_as is not None]
    assert len(twins) == 4
    for twin in twins:
        assert twin.values == found.trials[twin.outcome.same_as or 0].values
        assert twin.accuracy == found.trials[twin.outcome.same_as or 0].accuracy


def test_a_search_that_finds_nothing_new_ends_before_its_time(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eyebright.sweeps.sweep._IN_VAIN", 5)
    found = begin({"lr": [1e-3, 1e-2]}, search="random", minutes=60)
    assert all(trial.outcome.same_as is not None for trial in found.trials[-5:])
    assert found.price is not None


def test_a_search_can_be_made_longer(begin: Begin, shades: Splits) -> None:
    found = begin({"lr": "tag(log,interval(1e-6,1e-5))"}, search="random", trials=2)
    assert len(found.results["tested"]) == 1
    log = Log()
    longer = resume_sweep(found.path, trials=5, splits=shades, watcher=log)
    assert log.begun == [2, 3, 4]
    assert longer.trials[:2] == found.trials
    assert longer.definition.trials == Sweep.open(found.path).definition.trials == 5
    assert longer.best is not None
    assert longer.results["tested"] == sorted({longer.best.number, *found.results["tested"]})


def test_a_finished_sweep_has_nothing_to_do(begin: Begin, shades: Splits) -> None:
    found = begin({"lr": [1e-3, 1e-2]})
    log = Log()
    again = resume_sweep(found.path, splits=shades, watcher=log)
    assert (log.begun, log.epochs) == ([], 0)
    assert again.results == found.results


def test_the_time_ends_a_search(begin: Begin, tmp_path: Path) -> None:
    found = begin({"lr": "tag(log,interval(1e-4,1e-1))"}, search="random", minutes=1 / 60)
    assert len(found.trials) >= 1
    with pytest.raises(SweepError, match="no trial was finished"):
        begin({"lr": [1e-3, 1e-2]}, minutes=0, name="other")
    with pytest.raises(SweepError, match="no end of its own"):
        resume_sweep(tmp_path / "sweep")


def test_data_is_loaded_once_for_all_trials_that_share_it(tmp_path: Path, tiny: Recipe, shades: Splits) -> None:
    asked: list[int | None] = []

    def load(settings: DataSettings) -> Splits:
        asked.append(settings.limit)
        return shades

    sweep(tiny, {"data.limit": [100, None], "lr": [1e-3, 1e-2]}, folder=tmp_path / "sweep", splits=load)
    assert asked == [None, 100]


def test_fields_of_given_images_cannot_be_swept(begin: Begin) -> None:
    with pytest.raises(SweepError, match=r"data\.limit cannot be swept while the images are given"):
        begin({"data.limit": [100, None]})


@pytest.mark.parametrize(
    ("field", "value", "remedy"),
    [("validation", 0.0, "data.validation=0.2"), ("train_on_validation", True, "data.train_on_validation=false")],
)
def test_without_validation_images_nothing_is_begun(
    tiny: Recipe, tmp_path: Path, field: str, value: float, remedy: str
) -> None:
    with pytest.raises(RecipeError, match="chooses by validation images") as caught:
        sweep(tiny.replace(**{f"data.{field}": value}), {"lr": [1, 2]}, folder=tmp_path / "sweep")
    assert remedy in caught.value.remedy
    assert not (tmp_path / "sweep").exists()


def test_a_folder_that_is_taken(begin: Begin, tmp_path: Path) -> None:
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "thesis.txt").write_text("years of work")
    with pytest.raises(SweepError, match="is not empty"):
        begin({"lr": [1e-3, 1e-2]})


def test_a_study_without_a_database(begin: Begin) -> None:
    with pytest.raises(SweepError, match="--storage URL"):
        begin({"lr": [1e-3, 1e-2]}, study="ours")


def test_a_grid_has_its_length(begin: Begin) -> None:
    found = begin({"lr": [1e-3, 1e-2]})
    with pytest.raises(SweepError, match="as many trials as combinations"):
        resume_sweep(found.path, trials=5)


def test_a_folder_from_a_stranger_is_not_run(begin: Begin) -> None:
    found = begin({"lr": "interval(0.001,0.01)", "dropout": "interval(0,0.5)"}, search="cmaes", trials=2)
    with pytest.raises(SweepError, match="as a pickle"):
        resume_sweep(found.path)
    path = found.path / "sweep.yaml"
    plain = yaml.safe_load(path.read_text())
    plain["recipe"]["model"] = {"name": "custom", "target": "os:abort", "features": 3}
    path.write_text(yaml.safe_dump(plain))
    with pytest.raises(SweepError, match="means to run os:abort"):
        resume_sweep(found.path)


def test_a_password_must_be_given_again(begin: Begin) -> None:
    found = begin({"lr": [1e-3, 1e-2]})
    path = found.path / "sweep.yaml"
    path.write_text(path.read_text().replace("storage: null", "storage: postgresql://ann:***@db.example/sweeps"))
    with pytest.raises(SweepError, match=r"the password of .* is not kept"):
        resume_sweep(found.path)


def test_a_sweep_that_keeps_its_study_needs_no_database(begin: Begin, tmp_path: Path) -> None:
    found = begin({"lr": [1e-3, 1e-2]})
    with pytest.raises(SweepError, match=r"keeps its study itself"):
        resume_sweep(found.path, storage=f"sqlite:///{tmp_path / 'other.db'}")


def test_a_second_machine_joins_in(begin: Begin, tmp_path: Path, shades: Splits) -> None:
    """The first has run all trials but one, when the second comes; its winner may be on the first."""
    where = {"storage": f"sqlite:///{tmp_path / 'shared.db'}", "study": "ours"}
    first = begin({"lr": [1e-2, 1e-3]}, name="first", **where)
    log = Log()
    second = begin({"lr": [1e-2, 1e-3]}, name="second", watcher=log, **where)
    assert log.begun == []
    assert second.trials == first.trials
    assert first.winner is not None
    assert second.winner is not None
    assert second.winner.path == tmp_path / "second" / "anew" / first.winner.path.name
    assert second.winner.best_checkpoint.read_bytes() == first.winner.best_checkpoint.read_bytes()


def test_while_others_run_trials_nothing_is_chosen(begin: Begin, shades: Splits) -> None:
    found = begin({"lr": "interval(0.001,0.01)"}, search="random", trials=2)
    with kept(dataclasses.replace(found.definition, trials=3), found.path) as other:
        claim = other.claim()
        assert claim is not None
        waiting = resume_sweep(found.path, trials=3, splits=shades)
        assert [trial.state for trial in waiting.trials] == ["finished", "finished", "running"]
        claim.release()
    assert resume_sweep(found.path, splits=shades).trials[2].state == "finished"


def test_bits_of_a_pruned_trial_stay(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "pruner", lambda *_: optuna.pruners.PercentilePruner(75.0, n_startup_trials=1))
    found = begin({"lr": [1e-2, 1e-9]}, pruner="median")
    assert [trial.state for trial in found.trials] == ["finished", "pruned"]
    run = Run.open(found.path / "trials" / "0001")
    assert (run.status, len(run.history)) == ("pruned", 1)
    assert found.compared == 2


KILLED = """
    import os, signal, sys
    import numpy as np
    from eyebright.core.recipe import recipe
    from eyebright.sweeps.standing import Watcher
    from eyebright.sweeps.sweep import sweep

    class Bomb(Watcher):
        number = -1

        def trial_begun(self, number, job):
            self.number = number

        def epoch_done(self, record):
            if self.number == 2 and record["epoch"] == 2:
                os.kill(os.getpid(), signal.SIGKILL)

    fields = {"lr": "tag(log,interval(1e-4,1e-1))", "hidden": [[4], [8], [16]]}
    base = recipe("digits/mlp", sys.argv[2:])
    sweep(base, fields, search="tpe", trials=5, folder=sys.argv[1], watcher=Bomb())
"""


@pytest.mark.slow
def test_survives_kill_9_exactly(tmp_path: Path) -> None:
    """A process of its own, since it is killed; it takes some seconds to start."""
    overrides = [*TINY, "epochs=4", "limit=200"]
    killed = [sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path / "killed"), *overrides]
    assert subprocess.run(killed, check=False, capture_output=True).returncode == -9
    before = Sweep.open(tmp_path / "killed")
    assert [trial.state for trial in before.trials] == ["finished", "finished", "running"]
    log = Log()
    resumed = resume_sweep(tmp_path / "killed", watcher=log)
    assert log.begun == [2, 3, 4]
    assert log.epochs == 2 + 4 + 4  # of the killed trial only what was missing

    fields: dict[str, Any] = {"lr": "tag(log,interval(1e-4,1e-1))", "hidden": [[4], [8], [16]]}
    whole = sweep(recipe("digits/mlp", overrides), fields, search="tpe", trials=5, folder=tmp_path / "whole")
    for one, other in zip(resumed.trials, whole.trials, strict=True):
        assert (one.values, one.curve, one.outcome.accuracy) == (other.values, other.curve, other.outcome.accuracy)
        weights = [Run.open(found.path / f"trials/{one.number:04d}").best_checkpoint for found in (resumed, whole)]
        assert weights[0].read_bytes() == weights[1].read_bytes()


def test_ctrl_c_is_resumed(begin: Begin, shades: Splits, tmp_path: Path) -> None:
    class Stop(Watcher):
        def epoch_done(self, record: EpochRecord) -> None:  # noqa: ARG002
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        begin({"lr": [1e-3, 1e-2]}, watcher=Stop())
    log = Log()
    assert [trial.state for trial in resume_sweep(tmp_path / "sweep", splits=shades, watcher=log).trials] == [
        "finished", "finished"
    ]  # fmt: skip
    assert (log.begun, log.epochs) == ([0, 1], 3)


def test_another_executor_gets_jobs_that_can_be_sent(begin: Begin, shades: Splits) -> None:
    """Jobs two at a time, told in the reverse order: as workers elsewhere would."""

    def elsewhere(jobs: Iterator[Job]) -> Iterator[tuple[Job, Outcome]]:
        while pair := [job for _, job in zip(range(2), jobs, strict=False)]:
            for job in reversed(pair):
                sent = json.loads(json.dumps(dataclasses.asdict(job)))
                arrived = Job(**sent | {"place": Coordinates(**sent["place"])})
                outcome = run_trial(arrived, lambda _: shades)
                yield job, Outcome(**json.loads(json.dumps(dataclasses.asdict(outcome))))

    found = begin(LR_AND_HIDDEN, executor=elsewhere)
    assert [trial.state for trial in found.trials] == ["finished"] * 4
    assert found.winner is not None


def test_an_error_of_the_executor_loses_nothing(begin: Begin, tmp_path: Path, shades: Splits) -> None:
    def broken(jobs: Iterator[Job]) -> Iterator[tuple[Job, Outcome]]:
        yield from ((job, run_trial(job, lambda _: shades)) for job in itertools.islice(jobs, 1))
        next(jobs)
        raise DeviceError("the cluster is gone.")

    with pytest.raises(DeviceError):
        begin({"lr": [1e-3, 1e-2]}, executor=broken)
    resumed = resume_sweep(tmp_path / "sweep", splits=shades)
    assert [trial.state for trial in resumed.trials] == ["finished", "finished"]
