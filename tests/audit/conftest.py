"""Small trainings, healthy and with a fault planted, and evidence made by hand."""

from __future__ import annotations

import dataclasses
import functools
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from eyebright.core.recipe import Recipe, recipe
from eyebright.data.image_set import Splits
from eyebright.data.load import load
from eyebright.evaluation.metrics import evaluate
from eyebright.evaluation.predictions import Predictions
from eyebright.evaluation.scores import Scores
from eyebright.training.fit import fit, judge
from eyebright.training.run import Run

Trained = tuple[Run, Splits]
Train = Callable[..., Trained]


@pytest.fixture(scope="session")
def train(tmp_path_factory: pytest.TempPathFactory) -> Train:
    """Train and judge a recipe on digits; the images may be tampered with first."""

    def train(name: str, *overrides: str, images: Callable[[Splits], Splits] = lambda splits: splits) -> Trained:
        chosen = recipe(name, [*overrides, "training.precision=fp32", "training.threads=1"])
        splits = images(load(chosen.data))
        run = fit(chosen, splits, folder=tmp_path_factory.mktemp("run") / "run", callbacks=())
        judge(run, splits)
        return run, splits

    return train


@pytest.fixture(scope="session")
def healthy(train: Train) -> Trained:
    """A fully connected network that knows its digits after five epochs."""
    return train("digits/mlp", "epochs=5")


def scored(right: Mapping[str, tuple[int, int]], classes: int = 10) -> dict[str, Scores]:
    """Scores of splits with (right, all) images; the labels go round, and mistakes name the next class."""
    return {split: evaluate(answered(split, *counts, classes), bootstrap=10) for split, counts in right.items()}


def answered(split: str, right: int, n: int, classes: int = 10) -> Predictions:
    """Predictions of which the first `right` of `n` are right."""
    labels = np.arange(n, dtype=np.int64) % classes
    said = np.where(np.arange(n) < right, labels, (labels + 1) % classes)
    logits = np.zeros((n, classes), dtype=np.float32)
    logits[np.arange(n), said] = 2.0
    names = tuple(f"class {number}" for number in range(classes))
    return Predictions(logits, labels, np.arange(n), names, split, "made up")


def epochs(
    losses: Sequence[float],
    train: Sequence[float] | None = None,
    validation: Sequence[float] | None = None,
    validation_losses: Sequence[float] | None = None,
) -> list[dict[str, float]]:
    """A history."""
    records: list[dict[str, float]] = []
    for number, loss in enumerate(losses):
        record = {"epoch": number + 1.0, "train_loss": loss, "train_accuracy": (train or [0.5] * len(losses))[number]}
        if validation is not None:
            record["validation_accuracy"] = validation[number]
            record["validation_loss"] = (validation_losses or losses)[number]
        records.append(record)
    return records


def relabelled(splits: Splits, seed: int = 0) -> Splits:
    """The labels dealt out anew, to images of all splits."""
    store = splits.train.store
    labels = np.random.default_rng(seed).permutation(store.labels)
    other = dataclasses.replace(store, labels=labels)
    return Splits(*(dataclasses.replace(part, store=other) for part in splits))


@functools.cache
def _composed(name: str) -> Recipe:
    return recipe(name)


def plain(name: str = "digits/mlp", **changes: object) -> Recipe:
    """A recipe to give advice on."""
    return _composed(name).replace(**changes)


def copied(run: Run, folder: Path) -> Run:
    """The same run in another folder, to be tampered with."""
    shutil.copytree(run.path, folder)
    return Run.open(folder)
