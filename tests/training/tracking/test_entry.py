"""What is copied, read from the folder of a run."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from eyebright.core.errors import TrackingError
from eyebright.core.recipe import Recipe
from eyebright.data.image_set import Splits
from eyebright.training.fit import fit, judge
from eyebright.training.tracking.entry import Entry, entry_of, epochs, flattened
from eyebright.training.tracking.ledger import Ledger, opened
from eyebright.training.tracking.reading import Reading


def test_epochs_are_timed_by_the_training_alone() -> None:
    """So that the same epoch is the same reading, whenever it is sent."""
    history = [
        {"epoch": 1.0, "train_loss": 2.0, "seconds": 1.5},
        {"epoch": 2.0, "train_loss": 1.0, "seconds": 0.25},
    ]
    assert epochs(1_000, history) == [
        Reading(1, 2_500, {"train_loss": 2.0, "seconds": 1.5}),
        Reading(2, 2_750, {"train_loss": 1.0, "seconds": 0.25}),
    ]


def test_an_entry_ends_with_its_last_reading_and_that_of_a_sweep_with_its_scores() -> None:
    scores = Reading(0, 9, {"test_accuracy": 0.5})
    assert Entry(name="run", started=5, readings=[Reading(1, 7, {})], scores=scores).ended == 7
    assert Entry(name="sweep", started=5, scores=scores).ended == 9
    assert Entry(name="sweep", started=5).ended == 5


def test_parameters_are_flat_text() -> None:
    tree = {"seed": 3, "model": {"name": "mlp", "hidden": [8, 4], "dropout": None}, "options": {}}
    assert flattened(tree) == {
        "seed": "3",
        "model.name": "mlp",
        "model.hidden": "[8, 4]",
        "model.dropout": "null",
        "options": "{}",
    }


def test_entry_of_a_finished_run(tiny: Recipe, shades: Splits, tmp_path: Path) -> None:
    run = fit(tiny, shades, folder=tmp_path / "run", callbacks=[])
    entry = entry_of(run)
    assert entry.name == "test/tiny run"
    assert entry.status == "finished"
    assert entry.parameters["optimizer.lr"] == "0.001"
    assert not any(name.startswith(("tracking", "name", "description")) for name in entry.parameters)
    assert [(images.split, images.n) for images in entry.images] == [("train", 130), ("validation", 30), ("test", 45)]
    assert [reading.step for reading in entry.readings] == [1, 2, 3]
    assert entry.scores is None
    assert "checkpoints/best.safetensors" in entry.files
    judge(run, shades)
    scores = entry_of(run).scores
    accuracy = run.scores["test"].accuracy
    assert scores is not None
    assert scores.values["final/test_accuracy"] == accuracy.value
    assert scores.values["final/test_accuracy_low"] == accuracy.low
    assert scores.values["final/test_n"] == 45


def test_a_running_training_offers_no_files(tiny: Recipe, shades: Splits, tmp_path: Path) -> None:
    run = fit(tiny, shades, folder=tmp_path / "run", callbacks=[])
    run.set_status("running")
    assert entry_of(run).files == []


def test_the_ledger_remembers(tmp_path: Path) -> None:
    with opened(tmp_path) as book:
        book.copied("here").readings = 7
        book.copied("here").files["a"] = "digest"
        book.save()
    again = Ledger(tmp_path)
    assert again.id == book.id
    assert again.copied("here") == dataclasses.replace(book.copied("here"))
    assert again.copied("there").readings == 0


def test_a_damaged_ledger_is_named(tmp_path: Path) -> None:
    (tmp_path / "tracking.json").write_text('{"id": 3', encoding="utf-8")
    with pytest.raises(TrackingError, match=r"tracking\.json is damaged"):
        Ledger(tmp_path)
