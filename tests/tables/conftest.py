"""A table that nobody published, and judged runs that nobody trained."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from eyebright.core.recipe import recipe
from eyebright.data.image_set import ImageSet, ImageStore, Splits
from eyebright.evaluation.metrics import evaluate
from eyebright.evaluation.predictions import Predictions
from eyebright.tables.table import PublishedTable, table
from eyebright.training.run import Run

CLASSES = ("cat", "frog")

TABLE = """
title: Two networks on digits
source: a page that does not exist
protocol: digits
asks: [accuracy, F1]
rows:
  - {name: mlp, title: An MLP, recipe: digits/mlp, theirs: {accuracy: 50}, changed: Nothing.}
  - {name: cnn, title: A CNN, recipe: digits/cnn, theirs: {accuracy: [99, 100]}, protocol: One batch.}
claims:
  - {better: cnn, than: mlp}
notes: [Nothing more.]
"""


@pytest.fixture
def table_file(tmp_path: Path) -> Path:
    path = tmp_path / "example.yaml"
    path.write_text(TABLE)
    return path


@pytest.fixture
def example(table_file: Path) -> PublishedTable:
    return table(table_file)


def judged(folder: Path, correct: Sequence[bool], *, train: Sequence[bool] = (True,) * 10) -> Run:
    """A run whose model is right or wrong on each test image; cats have even numbers, frogs odd ones."""
    n = max(len(correct), len(train))
    labels = np.arange(n) % 2
    store = ImageStore(np.zeros((n, 4, 4, 1), np.uint8), labels, [""] * n, CLASSES, "pond")
    parts = {"train": train, "validation": (), "test": correct}
    splits = Splits(*(ImageSet(store, np.arange(len(right)), split) for split, right in parts.items()))
    chosen = recipe("digits/mlp")
    run = Run.create(folder, chosen, splits, {"started": folder.name})
    run.save_history(
        [
            {"epoch": 1, "train_loss": 1.0, "train_accuracy": 0.5, "seconds": 60.0},
            {"epoch": 2, "train_loss": 1.0, "train_accuracy": 0.8, "seconds": 30.0},
        ]
    )
    scores = {}
    for split, right in parts.items():
        if len(right):
            given = labels[: len(right)]
            said = np.where(np.array(right), given, 1 - given)
            logits = np.eye(2, dtype=np.float32)[said]
            made = Predictions(logits, given, np.arange(len(right)), CLASSES, split, "pond")
            run.save_predictions(made)
            scores[split] = evaluate(made)
    run.save_scores({split: score.to_dict() for split, score in scores.items()})
    return dataclasses.replace(run)


def first_right(count: int, n: int = 100) -> list[bool]:
    """The first `count` of `n` images are right."""
    return [number < count for number in range(n)]
