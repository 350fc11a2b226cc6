"""Whole tables, run on digits."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from eyebright.core.errors import RecipeError, RunError
from eyebright.core.settings.data import DataSettings
from eyebright.core.settings.model import PretrainedSettings
from eyebright.data.image_set import Splits
from eyebright.data.load import load
from eyebright.tables import reproduce as module
from eyebright.tables.reproduce import reproduce
from eyebright.training.callbacks import Callback
from eyebright.training.run import EpochRecord, Run

QUICK = ["training.epochs=2", "data.limit=200", "training.device=cpu", "model=mlp"]


class StopAfter(Callback):
    """Ends everything after so many epochs."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    def epoch_done(self, record: EpochRecord) -> None:  # noqa: ARG002 (the contract of a callback)
        self.epochs -= 1
        if self.epochs == 0:
            raise InterruptedError


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What was loaded from the disk."""
    found: list[object] = []

    def noted(settings: DataSettings) -> Splits:
        found.append(settings)
        return load(settings)

    monkeypatch.setattr(module, "load", noted)
    return found


def test_a_table_goes_on_where_it_was_stopped(table_file: Path, tmp_path: Path, loaded: list[object]) -> None:
    told: list[tuple[str, int, int]] = []
    out = tmp_path / "out"
    with pytest.raises(InterruptedError):
        reproduce(table_file, QUICK, seeds=2, out=out, callbacks=[StopAfter(5)], progress=lambda *a: told.append(a))
    assert told == [("mlp, seed 0", 0, 4), ("cnn, seed 0", 1, 4), ("mlp, seed 1", 2, 4)]
    assert len(loaded) == 1  # all rows and seeds share it
    partial = json.loads((out / "table.json").read_text())
    assert [list(row["runs"]) for row in partial["rows"]] == [["0"], ["0"]]
    first = (out / "mlp" / "seed-0" / "checkpoints" / "best.safetensors").stat().st_mtime_ns
    made = reproduce(table_file, QUICK, seeds=2, out=out, callbacks=())
    assert (out / "mlp" / "seed-0" / "checkpoints" / "best.safetensors").stat().st_mtime_ns == first
    assert [sorted(result.runs) for result in made.rows] == [[0, 1], [0, 1]]
    assert made.rows[0].lines[0].verdict in {"better", "unclear"}
    assert made.orders[0].seeds_used == (0, 1)
    assert [Run.open(out / "mlp" / f"seed-{seed}").recipe.seed for seed in range(2)] == [0, 1]
    assert "A CNN" in (out / "table.md").read_text()

    loaded.clear()
    again = reproduce(table_file, QUICK, seeds=2, out=out, callbacks=())
    assert again.to_dict() == made.to_dict()
    assert loaded == []  # nothing was left to do


def test_only_some_rows(table_file: Path, tmp_path: Path) -> None:
    made = reproduce(table_file, QUICK, seeds=1, rows=["cnn"], out=tmp_path / "out", callbacks=())
    assert [result.row.name for result in made.rows] == ["cnn"]
    assert made.orders == ()


def test_rows_that_are_done_stay_in_the_table(table_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    reproduce(table_file, QUICK, seeds=1, rows=["mlp"], out=out, callbacks=())
    made = reproduce(table_file, QUICK, seeds=1, rows=["cnn"], out=out, callbacks=())
    assert [(result.row.name, list(result.runs)) for result in made.rows] == [("mlp", [0]), ("cnn", [0])]
    assert made.orders[0].seeds_used == (0,)
    other = reproduce(table_file, [*QUICK, "lr=0.5"], seeds=1, rows=["cnn"], out=tmp_path / "other", callbacks=())
    assert [result.row.name for result in other.rows] == ["cnn"]


def test_a_run_of_the_same_recipe_in_a_table_beside_is_not_trained_again(
    table_file: Path, tmp_path: Path, loaded: list[object]
) -> None:
    def weights(name: str, *overrides: str) -> bytes:
        out = tmp_path / "tables" / name
        reproduce(table_file, [*QUICK, *overrides], seeds=1, rows=["mlp"], out=out, callbacks=())
        return Run.open(out / "mlp" / "seed-0").best_checkpoint.read_bytes()

    first = weights("one")
    assert weights("two") == first
    assert len(loaded) == 1
    shutil.rmtree(tmp_path / "tables" / "one")
    assert weights("two") == first  # it is a copy
    assert len(loaded) == 1
    assert weights("three", "optimizer.lr=1e-4") != first
    assert len(loaded) == 2


def test_changes_need_to_fit_the_chosen_rows_only(table_file: Path, tmp_path: Path) -> None:
    changes = [*QUICK[:3], "model.widths=[2,2]"]  # an MLP has none
    made = reproduce(table_file, changes, seeds=1, rows=["cnn"], out=tmp_path / "out", callbacks=())
    assert [result.row.name for result in made.rows] == ["cnn"]


def test_a_row_that_is_to_fail_is_examined(table_file: Path, tmp_path: Path) -> None:
    table_file.write_text(table_file.read_text().replace("changed: Nothing.", "fails: learning_rate_too_low"))
    overrides = [*QUICK, "optimizer.lr=1e-7"]
    (failed,) = reproduce(table_file, overrides, seeds=1, rows=["mlp"], out=tmp_path / "out", callbacks=()).rows
    assert failed.failed
    assert "The training doctor on seed 0: serious: learning rate too low." in (tmp_path / "out/table.md").read_text()


def test_a_row_that_diverges_does_not_stop_the_others(table_file: Path, tmp_path: Path) -> None:
    table_file.write_text(table_file.read_text().replace("changed: Nothing.", "overrides: [optimizer.lr=1e20]"))
    made = reproduce(table_file, QUICK, seeds=1, out=tmp_path / "out", callbacks=())
    assert "training diverged" in made.rows[0].failures[0]
    assert made.rows[0].lines == ()
    assert made.rows[1].lines


def test_a_row_can_begin_with_the_weights_of_another(table_file: Path, tmp_path: Path) -> None:
    added = "overrides: [model=pretrained], weights_of: mlp, protocol: One batch."
    table_file.write_text(table_file.read_text().replace("protocol: One batch.", added))
    made = reproduce(table_file, QUICK[:3], seeds=2, out=tmp_path / "out", callbacks=())
    assert [sorted(result.runs) for result in made.rows] == [[0, 1], [0, 1]]
    model = Run.open(tmp_path / "out" / "cnn" / "seed-1").recipe.model
    assert isinstance(model, PretrainedSettings)
    assert model.weights == str(tmp_path / "out" / "mlp" / "seed-1")
    alone = reproduce(table_file, QUICK[:3], seeds=1, rows=["cnn"], out=tmp_path / "alone", callbacks=())
    assert "there is no file or folder" in alone.rows[0].failures[0]


def test_mistakes_are_told_before_anything_is_run(table_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(RecipeError, match="no row 'cmn'"):
        reproduce(table_file, rows=["cmn"], out=out)
    with pytest.raises(RecipeError, match="seeds=0 runs nothing"):
        reproduce(table_file, seeds=0, out=out)
    with pytest.raises(RecipeError, match="Did you mean 'epochs'"):
        reproduce(table_file, ["epcohs=1"], out=out)
    assert not out.exists()


def test_a_folder_of_another_table_is_refused(table_file: Path, tmp_path: Path) -> None:
    reproduce(table_file, QUICK, seeds=1, rows=["mlp"], out=tmp_path / "out", callbacks=())
    with pytest.raises(RunError, match="begun with another recipe"):
        reproduce(table_file, [*QUICK, "lr=0.5"], seeds=1, rows=["mlp"], out=tmp_path / "out", callbacks=())
