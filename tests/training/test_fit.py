"""Training: it learns, it repeats, it resumes to the bit, it stops cleanly, and it writes what it promises."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from eyebright.core.errors import CheckpointError, DivergedError, ModelError, RecipeError, RunError
from eyebright.core.input_spec import InputSpec
from eyebright.core.recipe import Recipe
from eyebright.data.image_set import ImageSet, Splits
from eyebright.evaluation.predictions import Predictions
from eyebright.models.classifier import Classifier
from eyebright.training import checkpoint
from eyebright.training.callbacks import Callback, Moment, Pruned
from eyebright.training.fit import build, fit, judge, resume
from eyebright.training.run import EpochRecord, Run, runs
from tests.conftest import make_images

# A CNN with batch norm and dropout, so that running statistics and random masks count too.
TINY = Recipe.from_dict(
    {
        "name": "test/tiny",
        "data": {"source": "shades"},
        "model": {"name": "regularized_cnn", "widths": [4, 8], "hidden": 16},
        "augment": {"flip": True, "crop": 1},
        "optimizer": {"name": "adam", "lr": 0.01},
        "schedule": {"name": "cosine"},
        "training": {"epochs": 4, "batch_size": 16, "checkpoint_seconds": 0, "threads": 1, "device": "cpu"},
    }
)
# 130 images make 9 batches of 16, the last one of 2.
BATCHES = 9


class CrashError(Exception):
    """Stands for a kill: nothing catches it."""


class CrashAt(Callback):
    """Crash after a batch, in the middle of the epoch."""

    def __init__(self, epoch: int, batch: int) -> None:
        self.place = (epoch, batch)

    def batch_done(self, moment: Moment) -> None:
        if (moment.epoch, moment.batch) == self.place:
            raise CrashError


class SignalAt(CrashAt):
    """Send this process a signal, as Ctrl-C or a scheduler does."""

    def __init__(self, epoch: int, batch: int, number: signal.Signals) -> None:
        super().__init__(epoch, batch)
        self.number = number

    def batch_done(self, moment: Moment) -> None:
        if (moment.epoch, moment.batch) == self.place:
            os.kill(os.getpid(), self.number)


def train(recipe: Recipe, splits: Splits, folder: Path, *callbacks: Callback) -> Run:
    return fit(recipe, splits, folder=folder, callbacks=callbacks)


def all_weights(run: Run) -> dict[str, Tensor]:
    """Everything in both checkpoints: weights, averages, momenta."""
    files = {"last": run.last_checkpoint, "best": run.best_checkpoint}
    return {f"{file} {name}": value for file, path in files.items() for name, value in load_file(path).items()}


def results(run: Run) -> list[EpochRecord]:
    """The history without the times."""
    return [
        {name: value for name, value in record.items() if name not in {"seconds", "images_per_second"}}
        for record in run.history
    ]


def assert_same_bits(run: Run, other: Run) -> None:
    mine, theirs = all_weights(run), all_weights(other)
    assert mine.keys() == theirs.keys()
    assert [name for name in mine if not torch.equal(mine[name], theirs[name])] == []
    assert results(run) == results(other)


def test_it_learns_three_shades(shades: Splits, tmp_path: Path) -> None:
    run = train(TINY, shades, tmp_path / "run")
    scores = judge(run, shades)
    assert scores["test"].accuracy.value > 0.9
    assert run.status == "finished"
    assert [record["epoch"] for record in run.history] == [1, 2, 3, 4]
    assert run.history[-1]["train_loss"] < run.history[0]["train_loss"]


def test_the_run_holds_all_that_it_promises(shades: Splits, tmp_path: Path) -> None:
    run = train(TINY, shades, tmp_path / "run")
    judge(run, shades)
    again = Run.open(run.path)
    assert again.recipe == TINY
    assert again.data["train"] == {"n": 130, "fingerprint": shades.train.fingerprint}
    assert again.data["bad"] == []
    assert "torch" in again.environment
    predictions = again.predictions("test")
    assert predictions is not None
    assert np.array_equal(predictions.index, shades.test.index)
    assert again.scores["test"].accuracy.n == 45
    assert again.model.spec.classes == ("dark", "grey", "light")
    assert [found.path for found in runs(tmp_path)] == [run.path]


def test_the_best_epoch_is_kept_by_validation(shades: Splits, tmp_path: Path) -> None:
    run = train(TINY.replace(epochs=6, monitor="loss"), shades, tmp_path / "run")
    best = min(run.history, key=lambda record: record["validation_loss"])
    from eyebright.models.weights import read_header

    assert int(read_header(run.best_checkpoint).extra["epoch"]) == best["epoch"]


def test_what_is_built_is_what_training_begins_with(shades: Splits, tmp_path: Path) -> None:
    still = TINY.replace(optimizer={"name": "sgd", "lr": 1e-12}, epochs=1)
    trained = dict(train(still, shades, tmp_path / "run").model.named_parameters())
    model = build(still, shades.train)
    built = dict(model.named_parameters())
    assert model.spec == Run.open(tmp_path / "run").model.spec
    assert all(torch.allclose(value, trained[name], atol=1e-6) for name, value in built.items())
    other = dict(build(still.replace(seed=1), shades.train).named_parameters())
    assert not torch.allclose(other["head.weight"], built["head.weight"], atol=1e-6)


def test_fit_never_looks_at_test_images(shades: Splits, tmp_path: Path) -> None:
    other_test = Splits(shades.train, shades.validation, make_images(45, "test", 99))
    assert_same_bits(train(TINY, shades, tmp_path / "a"), train(TINY, other_test, tmp_path / "b"))


def test_the_same_seed_gives_the_same_bits_and_another_does_not(shades: Splits, tmp_path: Path) -> None:
    first = train(TINY, shades, tmp_path / "a")
    torch.rand(7)  # whatever the caller does with the global generator
    assert_same_bits(first, train(TINY, shades, tmp_path / "b"))
    other = train(TINY.replace(seed=1), shades, tmp_path / "c")
    assert results(other) != results(first)


def test_the_callers_random_state_is_left_alone(shades: Splits, tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train(TINY.replace(epochs=1), shades, tmp_path / "run")
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"optimizer": "sgd", "lr": 0.05},
        {"optimizer": "adamw", "ema": 0.9, "clip_norm": 1.0},
        {"accumulate": 2, "mixup": 0.3, "label_smoothing": 0.1},
        {"precision": "bf16", "class_weights": "balanced", "workers": 2},
    ],
    ids=lambda changes: ",".join(changes) or "plain",
)
@pytest.mark.parametrize("place", [(1, 1), (2, 4), (2, BATCHES), (4, 8)], ids=str)
def test_a_crash_changes_nothing(
    shades: Splits, tmp_path: Path, changes: Mapping[str, Any], place: tuple[int, int]
) -> None:
    recipe = TINY.replace(**changes) if "optimizer" not in changes else _with_optimizer(changes)
    whole = train(recipe, shades, tmp_path / "whole")
    with pytest.raises(CrashError):
        train(recipe, shades, tmp_path / "crashed", CrashAt(*place))
    crashed = Run.open(tmp_path / "crashed")
    assert crashed.status == "failed"
    assert_same_bits(resume(crashed, shades, callbacks=()), whole)


def _with_optimizer(changes: Mapping[str, Any]) -> Recipe:
    tree = TINY.to_dict() | {"optimizer": {"name": changes["optimizer"]}}
    return Recipe.from_dict(tree).replace(**{name: value for name, value in changes.items() if name != "optimizer"})


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("place", [(2, 4), (2, BATCHES)])
def test_a_signal_stops_between_steps_and_resume_goes_on(
    shades: Splits, tmp_path: Path, number: signal.Signals, place: tuple[int, int]
) -> None:
    handler = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt):
        train(TINY, shades, tmp_path / "stopped", SignalAt(*place, number))
    assert signal.getsignal(number) is handler
    stopped = Run.open(tmp_path / "stopped")
    assert stopped.status == "interrupted"
    assert_same_bits(resume(stopped, shades, callbacks=()), train(TINY, shades, tmp_path / "whole"))


def test_resuming_a_finished_run_changes_nothing(shades: Splits, tmp_path: Path) -> None:
    run = train(TINY.replace(patience=1, epochs=8), shades, tmp_path / "run")
    before = run.last_checkpoint.read_bytes()
    assert resume(run, shades, callbacks=()).last_checkpoint.read_bytes() == before


def test_patience_ends_a_training_that_no_longer_improves(shades: Splits, tmp_path: Path) -> None:
    run = train(TINY.replace(patience=2, epochs=50, lr=1e-9), shades, tmp_path / "run")
    best = max(run.history, key=lambda record: record["validation_accuracy"])  # the first of equals
    assert len(run.history) == best["epoch"] + 2
    assert run.status == "finished"


def test_accumulated_batches_make_the_step_of_one_large_batch(shades: Splits, tmp_path: Path) -> None:
    """Without batch norm and dropout, 4 batches of 16 weigh as one of 64, the short last one included."""
    tree = TINY.to_dict() | {"model": {"name": "mlp", "hidden": [8]}, "augment": {}, "optimizer": {"name": "sgd"}}
    plain = Recipe.from_dict(tree).replace(lr=0.01, precision="fp32", epochs=2)
    small = train(plain.replace(accumulate=4), shades, tmp_path / "small")
    large = train(plain.replace(batch_size=64), shades, tmp_path / "large")
    for name, value in small.model.state_dict().items():
        torch.testing.assert_close(value, large.model.state_dict()[name], rtol=1e-4, atol=1e-5)


def test_a_last_batch_of_one_image_joins_the_one_before(shades: Splits, tmp_path: Path) -> None:
    """Batch norm cannot train on a single image: 129 images in batches of 16 leave one over."""
    splits = Splits(shades.train.take(range(129)), shades.validation, shades.test)
    recipe = TINY.replace(epochs=1, model={"name": "ladder_cnn", "widths": [4], "hidden": 8})
    run = train(recipe, splits, tmp_path / "run")
    assert run.history[0]["train_loss"] > 0


def test_without_validation_images_the_last_model_is_kept(shades: Splits, tmp_path: Path) -> None:
    splits = Splits(shades.train, shades.validation.take([]), shades.test)
    run = train(TINY, splits, tmp_path / "run")
    assert "validation_loss" not in run.history[-1]
    best, last = load_file(run.best_checkpoint), load_file(run.last_checkpoint)
    assert all(torch.equal(value, last[f"model.{name}"]) for name, value in best.items())
    assert set(judge(run, splits)) == {"train", "test"}


def test_a_diverging_loss_stops_and_names_place_and_remedy(shades: Splits, tmp_path: Path) -> None:
    recipe = TINY.replace(lr=1e20, model={"name": "mlp"})
    with pytest.raises(DivergedError, match=r"epoch 1, batch \d+.*learning rate 1e\+20") as caught:
        train(recipe, shades, tmp_path / "run")
    assert "optimizer.lr=1e+19" in caught.value.remedy
    assert Run.open(tmp_path / "run").status == "failed"


def test_other_images_are_refused_on_resume(shades: Splits, tmp_path: Path) -> None:
    run = train(TINY.replace(epochs=1), shades, tmp_path / "run")
    others = Splits(make_images(130, "train", 7), shades.validation, shades.test)
    with pytest.raises(RunError, match="the train images are not those"):
        resume(run, others, callbacks=())


@pytest.mark.parametrize("cut", [0, 100, -1])
def test_a_damaged_checkpoint_is_refused(shades: Splits, tmp_path: Path, cut: int) -> None:
    run = train(TINY.replace(epochs=1), shades, tmp_path / "run")
    run.last_checkpoint.write_bytes(run.last_checkpoint.read_bytes()[:cut])
    with pytest.raises(CheckpointError, match=r"last\.safetensors is not a whole"):
        resume(run, shades, callbacks=())


def test_a_checkpoint_of_another_model_is_refused(shades: Splits, tmp_path: Path) -> None:
    run = train(TINY.replace(epochs=1), shades, tmp_path / "run")
    other = train(TINY.replace(epochs=1, hidden=8), shades, tmp_path / "other")
    run.last_checkpoint.write_bytes(other.last_checkpoint.read_bytes())
    with pytest.raises(CheckpointError, match="another model"):
        resume(run, shades, callbacks=())


def test_a_folder_in_use_is_left_alone(shades: Splits, tmp_path: Path) -> None:
    run = train(TINY.replace(epochs=1), shades, tmp_path / "run")
    with run.locked(), pytest.raises(RunError, match="trained by another process"):
        resume(run, shades, callbacks=())
    with pytest.raises(RunError, match="is not empty"):
        train(TINY, shades, tmp_path / "run")


def test_a_run_killed_before_it_began_may_be_begun_again(shades: Splits, tmp_path: Path) -> None:
    run = train(TINY.replace(epochs=1), shades, tmp_path / "whole")
    killed = tmp_path / "killed"
    killed.mkdir()
    (killed / "recipe.yaml").write_bytes((run.path / "recipe.yaml").read_bytes())
    (killed / ".run.json.x.tmp").write_text("{")
    assert_same_bits(train(TINY.replace(epochs=1), shades, killed), run)


def test_a_run_that_is_none_names_the_nearest(shades: Splits, tmp_path: Path) -> None:
    train(TINY.replace(epochs=1), shades, tmp_path / "first-run")
    with pytest.raises(RunError, match=r"(?s)not a run.*'first-run'"):
        Run.open(tmp_path / "first-rum")


def test_a_full_disk_leaves_the_last_checkpoint(
    shades: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The write of the second epoch's checkpoint fails; what was there is whole, and resume goes on from it."""
    run = train(TINY.replace(checkpoint_seconds=1e9), shades, tmp_path / "whole")
    save = checkpoint.save

    def refuse(trained: checkpoint.Trained, path: Path) -> None:
        if trained.position.epoch == 2:
            raise OSError("as on a full disk")
        save(trained, path)

    monkeypatch.setattr(checkpoint, "save", refuse)
    with pytest.raises(OSError, match="full disk"):
        train(TINY.replace(checkpoint_seconds=1e9), shades, tmp_path / "full")
    monkeypatch.undo()
    assert_same_bits(resume(Run.open(tmp_path / "full"), shades, callbacks=()), run)


def body(spec: InputSpec, width: int) -> torch.nn.Module:
    """A custom body with a weight that it uses twice."""
    shared = torch.nn.Linear(width, width)
    size = spec.height * spec.width * spec.channels
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(size, width), shared, torch.nn.ReLU(), shared)


def test_a_custom_model_trains_resumes_and_asks_for_trust(shades: Splits, tmp_path: Path) -> None:
    target = {"name": "custom", "target": f"{__name__}:body", "features": 6, "options": {"width": 6}}
    recipe = TINY.replace(model=target, epochs=2)
    whole = train(recipe, shades, tmp_path / "whole")
    with pytest.raises(CrashError):
        train(recipe, shades, tmp_path / "crashed", CrashAt(2, 3))
    assert_same_bits(resume(Run.open(tmp_path / "crashed", trust=True), shades, callbacks=()), whole)
    assert whole.model.spec.classes == shades.test.classes  # its maker trusts it
    stranger = Run.open(whole.path)
    with pytest.raises(RunError, match=r"custom model: to use it means to run .*body"):
        _ = stranger.model
    with pytest.raises(RunError, match="custom model"):
        resume(stranger, shades, callbacks=())


def test_judge_refuses_other_images_and_keeps_the_scores(shades: Splits, tmp_path: Path) -> None:
    run = train(TINY.replace(epochs=1), shades, tmp_path / "run")
    judge(run, shades)
    before = (run.path / "scores.json").read_bytes()
    with pytest.raises(RunError, match="the test images are not those"):
        judge(run, Splits(shades.train, shades.validation, make_images(45, "test", 50)))
    assert (run.path / "scores.json").read_bytes() == before


def test_two_halves_of_one_set_are_two_splits(shades: Splits, tmp_path: Path) -> None:
    splits = Splits(shades.train.take(range(90)), shades.train.take(range(90, 130)), shades.test)
    run = train(TINY.replace(epochs=1), splits, tmp_path / "run")
    assert (run.data["train"]["n"], run.data["validation"]["n"]) == (90, 40)
    assert np.array_equal(run.select(splits).validation.index, np.arange(90, 130))


def test_a_run_without_its_last_checkpoint_is_not_begun_anew(shades: Splits, tmp_path: Path) -> None:
    run = train(TINY.replace(epochs=1), shades, tmp_path / "run")
    run.last_checkpoint.unlink()
    with pytest.raises(CheckpointError, match="is missing"):
        resume(run, shades, callbacks=())


@pytest.mark.parametrize("fault", ["bit", "position", "optimizer"])
def test_a_checkpoint_that_is_not_as_it_was_written_is_refused(shades: Splits, tmp_path: Path, fault: str) -> None:
    run = train(TINY.replace(epochs=1), shades, tmp_path / "run")
    content = bytearray(run.last_checkpoint.read_bytes())
    if fault == "bit":
        content[-1] ^= 1
    elif fault == "position":
        content = bytearray(bytes(content).replace(b"best_epoch", b"best_epocH"))
    else:
        recipe = (run.path / "recipe.yaml").read_text()
        (run.path / "recipe.yaml").write_text(recipe.replace("name: adam\n", "name: adamw\n"))
    run.last_checkpoint.write_bytes(content)
    with pytest.raises(CheckpointError):
        resume(Run.open(run.path), shades, callbacks=())


def test_class_weights_do_not_depend_on_the_batch(shades: Splits, tmp_path: Path) -> None:
    """They average 1 over all images, so accumulated batches still make the step of one large batch."""
    rare = [position for position in range(130) if position % 3 != 1 or position < 30]
    unequal = Splits(shades.train.take(rare), shades.validation, shades.test)
    tree = TINY.to_dict() | {"model": {"name": "mlp", "hidden": [8]}, "augment": {}, "optimizer": {"name": "sgd"}}
    plain = Recipe.from_dict(tree).replace(lr=0.01, precision="fp32", epochs=2, class_weights="balanced")
    small = train(plain.replace(accumulate=4), unequal, tmp_path / "small")
    large = train(plain.replace(batch_size=64), unequal, tmp_path / "large")
    without = train(plain.replace(batch_size=64, class_weights=None), unequal, tmp_path / "without")
    weights = [run.model.state_dict()["head.weight"] for run in (small, large, without)]
    torch.testing.assert_close(weights[0], weights[1], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(weights[1], weights[2], rtol=1e-3)


def test_the_training_loss_is_that_of_the_given_labels(shades: Splits, tmp_path: Path) -> None:
    """Smoothing raises the loss that is minimised, not the curve that stands beside the validation's."""
    frozen = TINY.replace(epochs=1, lr=1e-12, precision="fp32")
    plain = train(frozen, shades, tmp_path / "plain").history[0]["train_loss"]
    smoothed = train(frozen.replace(label_smoothing=0.5), shades, tmp_path / "smoothed").history[0]["train_loss"]
    assert smoothed == pytest.approx(plain, rel=1e-5)


def test_watchers_hear_of_every_batch_and_epoch(shades: Splits, tmp_path: Path) -> None:
    class Notes(Callback):
        def __init__(self) -> None:
            self.batches: list[tuple[int, int]] = []
            self.epochs: list[float] = []
            self.others: list[str] = []

        def started(self, run: Run, plan: object) -> None:
            self.others.append(f"started {run.status} on {plan}")

        def batch_done(self, moment: Moment) -> None:
            self.batches.append((moment.epoch, moment.batch))

        def epoch_done(self, record: EpochRecord) -> None:
            self.epochs.append(record["epoch"])

        def stopped(self, run: Run) -> None:
            self.others.append(f"stopped {run.status}")

    notes = Notes()
    train(TINY.replace(epochs=2, precision="fp32"), shades, tmp_path / "run", notes)
    assert notes.batches == [(epoch, batch) for epoch in (1, 2) for batch in range(1, BATCHES + 1)]
    assert notes.epochs == [1, 2]
    assert notes.others == ["started running on cpu, fp32, channels_last, 1 thread", "stopped finished"]


def test_a_watcher_may_end_a_training_that_is_not_worth_its_time(shades: Splits, tmp_path: Path) -> None:
    class Impatient(Callback):
        def epoch_done(self, record: EpochRecord) -> None:
            if record["epoch"] == 2:
                raise Pruned

    with pytest.raises(Pruned):
        fit(TINY, shades, folder=tmp_path / "run", callbacks=[Impatient()])
    run = Run.open(tmp_path / "run")
    assert (run.status, len(run.history)) == ("pruned", 2)
    assert len(resume(run, shades, callbacks=()).history) == 4


def test_a_run_may_be_resumed_from_another_folder(
    shades: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    recipe = TINY.replace(epochs=1, **{"data.source": "photos", "data.root": "root"})
    data = train(recipe, shades, tmp_path / "run").recipe.data
    assert (data.source, data.root) == (str(tmp_path / "photos"), str(tmp_path / "root"))


def test_a_model_that_does_not_fit_leaves_no_folder(shades: Splits, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="pixels are too few"):
        train(TINY.replace(model={"name": "ladder_cnn", "widths": [2] * 9}), shades, tmp_path / "run")
    with pytest.raises(ModelError, match="batch of one image"):
        train(TINY.replace(model={"name": "regularized_cnn"}, batch_size=1), shades, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_loss_that_only_the_validation_images_show_stops_too(
    shades: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the very last step of an epoch went too far."""

    def overflow(model: Classifier, images: ImageSet, **_: object) -> Predictions:
        logits = np.full((len(images), len(images.classes)), np.nan, np.float32)
        return Predictions(logits, images.labels, images.index, images.classes, images.split, "shades")

    monkeypatch.setattr("eyebright.training.distributed.predict", overflow)
    with pytest.raises(DivergedError, match="loss nan at epoch 1, on the validation images"):
        train(TINY, shades, tmp_path / "run")
    run = Run.open(tmp_path / "run")
    assert run.status == "failed"
    assert not run.best_checkpoint.exists()
    assert run.history == []


def test_missing_images_are_refused_like_changed_ones(shades: Splits, tmp_path: Path) -> None:
    run = train(TINY.replace(epochs=1), shades, tmp_path / "run")
    fewer = Splits(make_images(3, "train", 1), shades.validation, shades.test)
    with pytest.raises(RunError, match="the train images are not those"):
        run.select(fewer)


def test_splits_of_something_else_are_refused(shades: Splits, tmp_path: Path) -> None:
    run = train(TINY.replace(epochs=1), shades, tmp_path / "run")
    (run.path / "splits.safetensors").write_bytes(run.best_checkpoint.read_bytes())
    with pytest.raises(RunError, match="does not say which images are for train"):
        run.select(shades)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff\xfe", b'{"status": "fini'])
def test_a_damaged_record_is_refused_and_hides_no_other_run(shades: Splits, tmp_path: Path, content: bytes) -> None:
    whole = train(TINY.replace(epochs=1), shades, tmp_path / "whole")
    run = train(TINY.replace(epochs=1), shades, tmp_path / "damaged")
    (run.path / "run.json").write_bytes(content)
    with pytest.raises(RunError, match=r"run\.json"):
        run.data  # noqa: B018 (reading it is the test)
    assert [found.path for found in runs(str(tmp_path))] == [run.path, whole.path]


@pytest.mark.parametrize("content", [b'{"epoch": 1, "train_lo', b"7\n", b"\xff\n"])
def test_a_damaged_history_is_refused_and_resuming_mends_it(shades: Splits, tmp_path: Path, content: bytes) -> None:
    run = train(TINY.replace(epochs=1), shades, tmp_path / "run")
    history = run.history
    (run.path / "history.jsonl").write_bytes(content)
    with pytest.raises(RunError, match=r"history\.jsonl is damaged") as caught:
        run.history  # noqa: B018 (reading it is the test)
    assert "--resume" in caught.value.remedy
    assert resume(run, shades, callbacks=()).history == history


@pytest.mark.parametrize("content", [b"", b"[1]"])
def test_damaged_scores_are_refused(shades: Splits, tmp_path: Path, content: bytes) -> None:
    run = train(TINY.replace(epochs=1), shades, tmp_path / "run")
    (run.path / "scores.json").write_bytes(content)
    with pytest.raises(RunError, match=r"scores\.json") as caught:
        run.scores  # noqa: B018 (reading it is the test)
    assert "evaluate" in caught.value.remedy


def test_transforms_of_other_libraries_resume_to_the_bit(shades: Splits, tmp_path: Path) -> None:
    """The model has dropout, whose masks the threads that transform must not touch."""
    erasing = {"_target_": "torchvision.transforms.v2.RandomErasing", "value": "random"}
    entries = [{"_target_": "albumentations.Rotate", "limit": 15}, erasing]
    recipe = TINY.replace(**{"augment.pipeline": entries}, epochs=2, workers=2)
    whole = train(recipe, shades, tmp_path / "whole")
    with pytest.raises(CrashError):
        train(recipe, shades, tmp_path / "crashed", CrashAt(2, 4))
    assert_same_bits(resume(Run.open(tmp_path / "crashed"), shades, callbacks=()), whole)
    assert_same_bits(train(recipe.replace(workers=0), shades, tmp_path / "alone"), whole)


def test_a_pipeline_that_cannot_be_made_leaves_no_folder(shades: Splits, tmp_path: Path) -> None:
    recipe = TINY.replace(**{"augment.pipeline": [{"_target_": "albumentations.RandomCrop", "height": 9, "width": 9}]})
    with pytest.raises(RecipeError, match=r"augment\.pipeline\[0\] \(albumentations\.RandomCrop\) fails"):
        train(recipe, shades, tmp_path / "run")
    assert not (tmp_path / "run").exists()
