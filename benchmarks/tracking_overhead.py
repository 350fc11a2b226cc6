"""What tracking costs: the same training with and without it, in turn.

    python benchmarks/tracking_overhead.py [--recipe cifar10/simple_cnn] [--images 12800] [--epochs 5] [--rounds 5]
    python benchmarks/tracking_overhead.py --uri http://127.0.0.1:5000

Synthetic images, so that nothing is downloaded. Each round trains once without a tracker, once with MLflow (a database
in a new folder, or the server named), once with TensorBoard, in an order that changes from round to round. A time is
that of the whole `fit`, the wait for the last copy included. What a process pays once is shown by itself: importing
MLflow, and making the tables of a new database.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from eyebright.core.device import choose
from eyebright.core.recipe import Recipe, recipe
from eyebright.core.settings.tracking import (
    MLflowSettings,
    NoTrackingSettings,
    TensorBoardSettings,
    TrackingSettings,
)
from eyebright.data.image_set import ImageSet, ImageStore, Splits
from eyebright.training.fit import fit
from eyebright.training.tracking.trackers import ready


def main() -> None:
    """Measure every tracker."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="cifar10/simple_cnn")
    parser.add_argument("--images", type=int, default=12_800)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--uri", help="an MLflow server; default: a database in a new folder")
    given = parser.parse_args()
    chosen = recipe(given.recipe, epochs=given.epochs)
    splits = Splits(_noise(given.images, "train", 0), _noise(1_000, "validation", 1), _noise(1_000, "test", 2))
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # where a database of its own goes
        trackers: dict[str, TrackingSettings] = {
            "none": NoTrackingSettings(),
            "mlflow": MLflowSettings(uri=given.uri),
            "tensorboard": TensorBoardSettings(),
        }
        print(f"{choose()}; {given.recipe}, {given.images} images, {given.epochs} epochs, {given.rounds} rounds")
        for name, tracking in trackers.items():
            print(f"{name:<12} once a process, import: {_seconds(functools.partial(ready, tracking)):.2f} s")
        warm = {name: _trained(chosen, splits, tracking, "warm") for name, tracking in trackers.items()}
        print(f"mlflow       first training, with a new database: {warm['mlflow'] - warm['none']:+.2f} s")
        times = _rounds(chosen, splits, trackers, given.rounds)
    plain = times["none"]
    print(f"{'tracker':<12}{'median s':>10}{'lowest':>9}{'highest':>9}{'overhead':>10}{'of each round':>40}")
    for name, found in times.items():
        shares = [with_it / without - 1 for with_it, without in zip(found, plain, strict=True)]
        each = " ".join(f"{share:+.1%}" for share in shares)
        middle = statistics.median(found)
        print(
            f"{name:<12}{middle:>10.2f}{min(found):>9.2f}{max(found):>9.2f}{statistics.median(shares):>+10.2%}{each:>40}"
        )


def _rounds(
    chosen: Recipe, splits: Splits, trackers: dict[str, TrackingSettings], rounds: int
) -> dict[str, list[float]]:
    """Seconds of each training, by tracker."""
    times: dict[str, list[float]] = {name: [] for name in trackers}
    names = list(trackers)
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            times[name].append(_trained(chosen, splits, trackers[name], f"{name}-{number}"))
    return times


def _trained(chosen: Recipe, splits: Splits, tracking: TrackingSettings, name: str) -> float:
    tracked = dataclasses.replace(chosen, tracking=tracking)
    folder = Path("runs") / name / tracking.name
    return _seconds(lambda: fit(tracked, splits, folder=folder, callbacks=[]))


def _seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def _noise(n: int, split: str, seed: int) -> ImageSet:
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)
    classes = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    store = ImageStore(pixels, random.integers(0, 10, n), [""] * n, classes, "noise")
    return ImageSet(store, np.arange(n), split)


if __name__ == "__main__":
    main()
