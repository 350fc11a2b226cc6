from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from eyebright.core.errors import RunError
from eyebright.core.recipe import Recipe
from eyebright.data.image_set import Splits
from eyebright.training.callbacks import Callback, Moment
from eyebright.training.completion import completed, fit_once
from eyebright.training.fit import fit
from eyebright.training.run import Run

TINY = Recipe.from_dict(
    {
        "name": "test/tiny",
        "data": {"source": "shades"},
        "model": {"name": "mlp", "hidden": [8]},
        "training": {"epochs": 2, "batch_size": 16, "threads": 1, "device": "cpu"},
    }
)


class Images:
    """Counts how often they are asked for."""

    def __init__(self, splits: Splits) -> None:
        self.splits = splits
        self.asked = 0

    def __call__(self) -> Splits:
        self.asked += 1
        return self.splits


class StopAt(Callback):
    """Ends the training in the middle of its second epoch, as a crash does."""

    def batch_done(self, moment: Moment) -> None:
        if (moment.epoch, moment.batch) == (2, 3):
            raise InterruptedError


def test_it_is_begun_judged_and_then_only_found(shades: Splits, tmp_path: Path) -> None:
    images = Images(shades)
    run = completed(TINY, tmp_path / "run", images, callbacks=())
    assert run.status == "finished"
    assert run.scores["test"].accuracy.n == 45
    written = {path: path.stat().st_mtime_ns for path in run.path.rglob("*")}
    again = completed(TINY, tmp_path / "run", Images(shades), callbacks=())
    assert again.path == run.path
    assert {path: path.stat().st_mtime_ns for path in run.path.rglob("*")} == written
    images.asked = 0
    completed(TINY, tmp_path / "run", images, callbacks=())
    assert images.asked == 0


def test_what_broke_off_is_continued_to_the_same_bits(shades: Splits, tmp_path: Path) -> None:
    with pytest.raises(InterruptedError):
        completed(TINY, tmp_path / "run", Images(shades), callbacks=[StopAt()])
    assert len(Run.open(tmp_path / "run").history) == 1
    run = completed(TINY, tmp_path / "run", Images(shades), callbacks=())
    whole = fit(TINY, shades, folder=tmp_path / "whole", callbacks=())
    assert run.best_checkpoint.read_bytes() == whole.best_checkpoint.read_bytes()
    assert [record["train_loss"] for record in run.history] == [record["train_loss"] for record in whole.history]


def test_a_run_that_was_not_judged_is_judged(shades: Splits, tmp_path: Path) -> None:
    fit(TINY, shades, folder=tmp_path / "run", callbacks=())
    assert completed(TINY, tmp_path / "run", Images(shades), callbacks=[StopAt()]).scores


def test_the_run_of_another_recipe_is_refused(shades: Splits, tmp_path: Path) -> None:
    completed(TINY, tmp_path / "run", Images(shades), callbacks=())
    with pytest.raises(RunError, match="begun with another recipe than test/tiny is now"):
        completed(TINY.replace(lr=0.5), tmp_path / "run", Images(shades))


def test_the_data_may_have_moved(shades: Splits, tmp_path: Path) -> None:
    completed(TINY, tmp_path / "run", Images(shades), callbacks=())
    moved = dataclasses.replace(TINY, data=dataclasses.replace(TINY.data, root=str(tmp_path)))
    assert completed(moved, tmp_path / "run", Images(shades)).scores


def test_once_means_once(shades: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = fit_once(TINY, shades, callbacks=())
    assert (run.path.parent, run.status, set(run.scores)) == (Path("runs/test/tiny"), "finished", {*run.data} - {"bad"})
    again = fit_once(dataclasses.replace(TINY, description="the same choices"), shades, callbacks=[StopAt()])
    assert again.path == run.path
    assert fit_once(TINY.replace(seed=1), shades, callbacks=()).path != run.path


def test_once_is_for_the_same_images(shades: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fit_once(TINY, shades, callbacks=())
    fewer = dataclasses.replace(shades, train=shades.train.take(range(100)))
    with pytest.raises(RunError, match="the train images are not those"):
        fit_once(TINY, fewer)
