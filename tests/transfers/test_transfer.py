"""All ways, on shades: a model of three of them is carried over to larger grey images with other names."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eyebright.core.errors import DataError, RunError
from eyebright.core.recipe import Recipe
from eyebright.core.settings.data import DataSettings
from eyebright.core.settings.model import CustomSettings, PretrainedSettings
from eyebright.data.image_set import ImageSet, ImageStore, Splits
from eyebright.training.callbacks import Callback
from eyebright.training.fit import fit
from eyebright.training.run import EpochRecord, Run
from eyebright.transfers.result import FINE_TUNED, FROM_SCRATCH, Transfer
from eyebright.transfers.transfer import transfer

TINY = Recipe.from_dict(
    {
        "name": "test/shades",
        "data": {"source": "shades"},
        "model": {"name": "simple_cnn", "widths": [4, 8], "hidden": 16},
        "training": {"epochs": 4, "batch_size": 16, "threads": 1, "device": "cpu"},
    }
)
NAMED = {"grey": "ash", "light": "snow"}


def other(n: int, split: str, seed: int) -> ImageSet:
    """Grey images of 12x12 pixels: dark, ash, snow, and one that is no shade."""
    random = np.random.default_rng(seed)
    labels = np.arange(n, dtype=np.int64) % 4
    pixels = random.integers(0, 60, size=(n, 12, 12, 1)) + np.array([0, 90, 180, 0])[labels, None, None, None]
    pixels[labels == 3, ::4] = 255  # stripes
    store = ImageStore(pixels.astype(np.uint8), labels, [""] * n, ("dark", "ash", "snow", "stripes"), "other")
    return ImageSet(store, np.arange(n), split)


@pytest.fixture
def target() -> Splits:
    return Splits(other(80, "train", 0), other(40, "validation", 1), other(60, "test", 2))


@pytest.fixture
def run(shades: Splits, tmp_path: Path) -> Run:
    return fit(TINY, shades, folder=tmp_path / "source", callbacks=())


def carried(run: Run, target: Splits, out: Path, *callbacks: Callback) -> Transfer:
    return transfer(run, target, classes=NAMED, budgets=(20, 500), epochs=2, out=out, callbacks=callbacks)


def test_every_way_is_tried_and_written(run: Run, target: Splits, tmp_path: Path) -> None:
    found = carried(run, target, tmp_path / "out")
    assert [(way.name, way.labels) for way in found.ways] == [
        ("as it is", 0),
        ("as it is, among shared classes", 0),
        ("linear probe", 20),
        (FROM_SCRATCH, 20),
        (FINE_TUNED, 20),
        ("linear probe", 80),  # all that there are
        (FROM_SCRATCH, 80),
        (FINE_TUNED, 80),
    ]
    as_it_is, probe = found.ways[0].scores, found.ways[2].scores
    assert as_it_is.n == 45  # of 60, the stripes are none of its classes
    assert as_it_is.accuracy.value > 0.9
    assert probe.accuracy.n == 60
    assert probe.accuracy.value > 0.9
    assert found.classes == {"dark": "dark", "grey": "ash", "light": "snow"}
    assert found.guessing == 0.25
    assert found.ways[2].gain is not None
    assert found.ways[2].gain.value == pytest.approx(probe.accuracy.value - found.ways[3].scores.accuracy.value)
    assert found.ways[3].gain is None
    written = json.loads((tmp_path / "out" / "transfer.json").read_text())
    assert [way["name"] for way in written["ways"]] == [way.name for way in found.ways]
    text = (tmp_path / "out" / "transfer.md").read_text()
    assert "The same in both: dark, grey = ash, light = snow." in text
    assert "20 labels, against training from scratch: linear probe +" in text


def test_the_trainings_are_runs_that_can_be_run_again(run: Run, target: Splits, tmp_path: Path) -> None:
    carried(run, target, tmp_path / "out")
    tuned, scratch = (Run.open(tmp_path / "out" / name) for name in ("fine-tuned-20", "from-scratch-20"))
    assert isinstance(tuned.recipe.model, PretrainedSettings)
    assert tuned.recipe.model.weights == str(run.path)
    assert tuned.recipe.model.body == TINY.model
    assert scratch.recipe.model == TINY.model
    assert {way.data["train"]["n"] for way in (tuned, scratch)} == {20}
    assert {way.data["validation"]["n"] for way in (tuned, scratch)} == {20}  # labels to choose by cost as much
    assert tuned.recipe.data == DataSettings(source="other", size=8, channels=3, classes=target.train.classes)


class StopAfter(Callback):
    """Ends everything after so many epochs."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    def epoch_done(self, record: EpochRecord) -> None:  # noqa: ARG002 (the contract of a callback)
        self.epochs -= 1
        if self.epochs == 0:
            raise InterruptedError


def test_it_goes_on_where_it_was_stopped(run: Run, target: Splits, tmp_path: Path) -> None:
    with pytest.raises(InterruptedError):
        carried(run, target, tmp_path / "out", StopAfter(3))
    found = carried(run, target, tmp_path / "out", StopAfter(6))  # 8 epochs in all, 2 of them done and 1 lost
    assert len(found.ways) == 8
    assert carried(run, target, tmp_path / "out", StopAfter(1)).to_dict() == found.to_dict()


def test_trainings_of_images_that_have_changed_are_refused(run: Run, target: Splits, tmp_path: Path) -> None:
    options: dict[str, Any] = {"budgets": [20], "epochs": 1, "out": tmp_path / "out", "callbacks": ()}
    transfer(run, target, **options)
    fewer = Splits(target.train.take(range(len(target.train) - 1)), target.validation, target.test)
    with pytest.raises(RunError, match="the train images are not those"):
        transfer(run, fewer, **options)


def test_without_a_shared_class_the_model_is_not_asked(run: Run, target: Splits, tmp_path: Path) -> None:
    names = ("w", "x", "y", "z")
    renamed = Splits(
        *(dataclasses.replace(part, store=dataclasses.replace(part.store, classes=names)) for part in target)
    )
    found = transfer(run, renamed, budgets=[20], epochs=1, out=tmp_path / "out", callbacks=())
    assert [way.name for way in found.ways] == ["linear probe", FROM_SCRATCH, FINE_TUNED]
    assert (found.missing[0].what, found.missing[0].remedy[-12:]) == ("the model as it is", "--map dark=w")


def test_what_cannot_be_fine_tuned_is_probed(shades: Splits, target: Splits, tmp_path: Path) -> None:
    custom = CustomSettings(target="eyebright.models.custom:example_body", features=32)
    source = fit(dataclasses.replace(TINY, model=custom), shades, folder=tmp_path / "source", callbacks=())
    found = transfer(source, target, classes=NAMED, budgets=[20], epochs=1, out=tmp_path / "out", callbacks=())
    assert [way.name for way in found.ways][2:] == ["linear probe", FROM_SCRATCH]
    assert [part.what for part in found.missing] == ["fine-tuned, 20 labels"]


def test_a_data_set_by_name_is_loaded_in_the_size_of_the_model(run: Run, tmp_path: Path) -> None:
    found = transfer(run, "digits", budgets=[40], epochs=1, out=tmp_path / "out", callbacks=())
    assert (found.data, found.images) == ("digits", 360)
    assert Run.open(tmp_path / "out" / "fine-tuned-40").model.spec.channels == 3


def test_bad_budgets_and_missing_images_are_told_before_anything_is_trained(
    run: Run, target: Splits, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="3 of the 80 train images of other are too few"):
        transfer(run, target, budgets=[3], out=tmp_path / "out")
    unjudged = Splits(target.train, target.validation.take([]), target.test)
    with pytest.raises(DataError, match="other has no validation images"):
        transfer(run, unjudged, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
