"""Event files for TensorBoard, read back by TensorBoard."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from eyebright.core.errors import MissingExtraError
from eyebright.core.recipe import Recipe
from eyebright.data.image_set import Splits
from eyebright.training.callbacks import Callback
from eyebright.training.fit import fit, judge, resume
from eyebright.training.run import EpochRecord, Run
from eyebright.training.tracking import tensorboard_tracking
from eyebright.training.tracking.trackers import publish


class CrashError(Exception):
    """Stands for a kill: nothing catches it."""


class CrashAfter(Callback):
    """Crash when an epoch is over."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def epoch_done(self, record: EpochRecord) -> None:
        if record["epoch"] == self.epoch:
            raise CrashError


@pytest.fixture
def watched(tiny: Recipe) -> Recipe:
    return tiny.replace(tracking="tensorboard")


def test_every_epoch_is_there_as_it_was(watched: Recipe, shades: Splits, tmp_path: Path) -> None:
    run = fit(watched, shades, folder=tmp_path / "run", callbacks=[])
    events = _read(run)
    for name, tag in (("train_loss", "loss/train"), ("validation_accuracy", "accuracy/validation"), ("lr", "lr")):
        found = [(event.step, event.value) for event in events.Scalars(tag)]
        assert found == [(record["epoch"], pytest.approx(record[name], rel=1e-6)) for record in run.history]
    (text,) = events.Tensors("recipe/text_summary")
    assert b"epochs: 3" in text.tensor_proto.string_val[0]


def test_a_resumed_training_writes_no_epoch_twice(watched: Recipe, shades: Splits, tmp_path: Path) -> None:
    with pytest.raises(CrashError):
        fit(watched, shades, folder=tmp_path / "run", callbacks=[CrashAfter(2)])
    run = Run.open(tmp_path / "run")
    resume(run, shades, callbacks=[])
    assert [event.step for event in _read(run).Scalars("loss/train")] == [1, 2, 3]


def test_publish_adds_scores_and_figures(watched: Recipe, shades: Splits, tmp_path: Path) -> None:
    run = fit(watched, shades, folder=tmp_path / "run", callbacks=[])
    judge(run, shades)
    drawn = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
    Image.fromarray(drawn).save(run.path / "curves.png")
    for _ in range(2):
        assert publish(run) == f"tensorboard --logdir {run.path / 'tensorboard'}"
        events = _read(run)
        (picture,) = events.Images("curves")
        assert (picture.height, picture.width) == (4, 5)
        (score,) = events.Scalars("final/test_accuracy")
        assert score.value == pytest.approx(run.scores["test"].accuracy.value, rel=1e-6)
        assert [event.step for event in events.Scalars("loss/train")] == [1, 2, 3]


def test_a_fault_of_the_writer_does_not_reach_the_training(
    watched: Recipe, shades: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tensorboard_tracking, "_begun", full)
    run = fit(watched, shades, folder=tmp_path / "run", callbacks=[])
    assert run.status == "finished"
    assert len([line for line in caplog.messages if "The training goes on" in line]) == 1


def test_without_tensorboard_the_extra_is_named(
    watched: Recipe, shades: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(MissingExtraError, match=r"eyebright\[tracking\]"):
        fit(watched, shades, folder=tmp_path / "run", callbacks=[])
    assert not (tmp_path / "run").exists()


def _read(run: Run) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        events = EventAccumulator(str(run.path / "tensorboard"))
        events.Reload()
    return events
