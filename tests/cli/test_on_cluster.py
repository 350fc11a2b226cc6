"""What the option --on hands to the cluster."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eyebright.cluster import prediction, session, training, trials
from eyebright.core.recipe import Recipe
from eyebright.data.load import load
from eyebright.exporting.bulk import Summary
from eyebright.sweeps.executor import Executor, here
from eyebright.training.fit import fit, judge
from eyebright.training.run import Run
from tests.serving.bundles import write_bundle

from .conftest import Command

CHANGES = ("epochs=1", "batch_size=64", "model.hidden=[4]", "threads=1", "device=cpu", "precision=fp32")


@pytest.fixture(autouse=True)
def addresses(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Of clusters that were connected to; none of them is there."""
    asked: list[str] = []

    @contextlib.contextmanager
    def connected(address: str) -> Iterator[None]:
        asked.append(address)
        yield

    monkeypatch.setattr(session, "connected", connected)
    return asked


def test_train(command: Command, addresses: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given: list[int | None] = []

    def train(recipe: Recipe, folder: Path, *, workers: int | None, callbacks: Any) -> Run:
        given.append(workers)
        splits = load(recipe.data)
        run = fit(recipe, splits, folder=folder, callbacks=callbacks)
        judge(run, splits)
        return run

    monkeypatch.setattr(training, "train", train)
    place = ("--on", "ray://far:10001", "--workers", 3, "--out", tmp_path / "run")
    done = command("train", "digits/mlp", *CHANGES, *place)
    assert done.code == 0, done.err
    assert addresses == ["ray://far:10001"]
    assert given == [3]
    assert "digits test: 360 images" in done.out
    assert f"images, maps and neighbours: eyebright report {tmp_path / 'run'}" in done.out
    assert "epoch   1  train: loss" in done.err


def test_a_stopped_training_says_how_to_go_on(
    command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def train(recipe: Recipe, folder: Path, **_: Any) -> Run:
        fit(recipe, load(recipe.data), folder=folder, callbacks=())
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "train", train)
    done = command("train", "digits/mlp", *CHANGES, "--on", "ray", "--out", tmp_path / "run")
    assert done.code == 130
    assert f"Continue exactly with: eyebright train --resume {tmp_path / 'run'}" in done.err

    def go_on(recipe: Recipe, folder: Path, **_: Any) -> Run:
        run = Run.open(folder)
        judge(run, load(recipe.data))
        return run

    monkeypatch.setattr(training, "train", go_on)
    assert command("train", "--resume", tmp_path / "run", "--on", "ray").code == 0


def test_sweep(command: Command, addresses: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given: list[int | None] = []

    def executor(*, workers: int | None) -> Executor:
        given.append(workers)
        return here(load)

    monkeypatch.setattr(trials, "executor", executor)
    values = "optimizer.lr=1e-3,1e-2"
    done = command("sweep", "digits/mlp", values, *CHANGES, "--on", "ray", "--workers", 2, "--out", tmp_path / "sweep")
    assert done.code == 0, done.err
    assert (addresses, given) == (["ray"], [2])
    assert "2 trials: 2 finished" in done.out


def test_predict(command: Command, addresses: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given: dict[str, Any] = {}

    def predict_files(bundle: Path, paths: list[str], out: Path, **options: Any) -> Summary:
        given.update(options, bundle=bundle, paths=paths, out=out)
        return Summary(5, 2, 1, ("none.png is no image.",))

    monkeypatch.setattr(prediction, "predict_files", predict_files)
    bundle = write_bundle(tmp_path / "shades")
    done = command("predict", bundle, "album", "--on", "ray", "--out", "answers", "--top", 2)
    assert done.code == 0, done.err
    assert addresses == ["ray"]
    assert given.pop("progress") is not None
    assert given == {
        "bundle": bundle, "paths": ["album"], "out": Path("answers"), "top": 2, "on_bad_image": "skip", "workers": None
    }  # fmt: skip
    assert done.out == "answers: answers (5 images, 2 of them by an earlier call; 1 skipped)\n"
    assert "skipped none.png" in done.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "digits/mlp", "--workers", "2"], "--workers is for a cluster."),
        (["train", "digits/mlp", "--minutes", "2", "--on", "ray"], "--minutes plans for this machine."),
        (["train", "--on", "ray"], "nothing to train."),
        (["sweep", "digits/mlp", "optimizer.lr=1e-3,1e-2", "--workers", "2"], "--workers is for a cluster."),
        (["predict", "run", "album", "--on", "ray", "--out", "answers"], "--on is for bundles, and run is none."),
        (["predict", "model.onnx", "album", "--on", "ray"], "a cluster writes its answers into a folder."),
        (["predict", "model.onnx", "album", "--out", "answers", "--workers", "2"], "--workers is for a cluster."),
    ],
)
def test_what_makes_no_sense_is_refused(
    command: Command, addresses: list[str], arguments: list[str], message: str
) -> None:
    done = command(*arguments)
    assert done.code == 2
    assert f"error: {message}" in done.err
    assert addresses == []
