"""What weights from other images are worth: seven classes of CIFAR-10 are learnt, then three others, then faces.

    EYEBRIGHT_DATA=... python benchmarks/transfer.py [--seeds 3] [--budgets 50 250 1000] [--folder runs/transfer]

A ResNet-20 is pretrained on seven classes. Its run is then the source of `model.weights` for two other tasks, the three
classes that it has never seen, and five emotions (EYEBRIGHT_DATA/emotions.zip, at 32x32 pixels), with so many labelled
images a class as `--budgets` says:

    frozen   the body stays as it is, a new head learns
    partly   the last of its three stages learns too
    full     everything learns on
    scratch  the same network from random weights

All arms of a seed see the same labelled images, for as many epochs, and answer the same test images; a seed draws the
labelled images, the weights of the head and the batches. Learning rates were set beforehand and not tuned; no arm
chooses its epoch. The difference to scratch is the mean over the seeds, with the interval of Student's t over them.
On two quiet cores it takes some ten minutes.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import eyebright as eb
from eyebright.core.randomness import stream
from eyebright.core.recipe import Recipe
from eyebright.core.settings.data import DataSettings
from eyebright.data.image_set import ImageSet, Splits
from eyebright.tables.reproduction import over_seeds
from eyebright.training.completion import completed
from eyebright.training.run import Run

OTHERS = ("cat", "dog", "horse")
LEARNT = ("airplane", "automobile", "bird", "deer", "frog", "ship", "truck")

ARMS: dict[str, dict[str, Any]] = {
    "frozen": {"unfreeze": [], "lr": 1e-2, "crop": 0},  # mirroring alone: the body sees each image twice
    "partly": {"unfreeze": ["stage3"], "lr": 1e-3},
    "full": {"lr": 1e-3},
    "scratch": {"lr": 3e-3},
}
# Epochs by labelled images a class, at least: the more images, the fewer passes does a network need.
EPOCHS = {1000: 4, 250: 10, 0: 30}


def main() -> None:
    """Pretrain, then run every arm of every task."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--budgets", type=int, nargs="+", default=[50, 250, 1000])
    parser.add_argument("--epochs", type=int, default=5, help="of the pretraining")
    parser.add_argument("--images", type=int, default=5000, help="a class, in the pretraining")
    parser.add_argument("--tests", type=int, default=None, help="test images of a task; default: all")
    parser.add_argument("--folder", type=Path, default=None, help="keeps the runs; default: they are thrown away")
    options = parser.parse_args()
    begun = time.perf_counter()
    with _folder(options.folder) as folder:
        source = _pretrained(folder / "source", options.epochs, options.images)
        print(f"\n{'task':<16}{'a class':>8}  {'arm':<8} {'accuracy (seeds)':<30} difference to scratch, points")
        for name, splits in _tasks(options.tests).items():
            for budget in options.budgets:
                _compare(name, splits, budget, source, folder, options.seeds)
    print(f"\n{time.perf_counter() - begun:.0f} s in all")


@contextlib.contextmanager
def _folder(chosen: Path | None) -> Iterator[Path]:
    if chosen is not None:
        yield chosen
        return
    with tempfile.TemporaryDirectory(prefix="eyebright-") as temporary:
        yield Path(temporary)


def _pretrained(folder: Path, epochs: int, images: int) -> Run:
    """The run whose body is taken over; an earlier one, or the rest of it, if the folder holds it."""
    begun = time.perf_counter()
    recipe = eb.recipe("cifar10/resnet20", epochs=epochs, **{"data.classes": LEARNT, "data.validation": 0})
    splits = eb.load(recipe.data)
    few = Splits(_labelled(splits.train, images, seed=0), splits.validation, splits.test)
    run = completed(recipe, folder, lambda: few, callbacks=())
    accuracy, seconds = run.scores["test"].accuracy, time.perf_counter() - begun
    print(
        f"pretrained on {len(few.train):,} images of {len(LEARNT)} classes: test accuracy {accuracy}, {seconds:.0f} s"
    )
    return run


def _tasks(tests: int | None) -> dict[str, Splits]:
    sources = {
        "three classes": DataSettings(source="cifar10", classes=OTHERS, validation=0),
        "emotions": DataSettings(source="emotions", size=32, channels=3, leave_out_copies=True),
    }
    found = {}
    for name, settings in sources.items():
        splits = eb.load(settings)
        test = splits.test.take(range(min(len(splits.test), tests or len(splits.test))))
        found[name] = Splits(splits.train, splits.validation.take([]), test)  # no arm chooses its epoch
    return found


def _labelled(images: ImageSet, budget: int, *, seed: int) -> ImageSet:
    """As many images of each class."""
    random, labels = stream("labelled images", seed), images.labels
    drawn = [random.permutation(np.flatnonzero(labels == label))[:budget] for label in np.unique(labels)]
    return images.take(np.sort(np.concatenate(drawn)))


def _compare(name: str, splits: Splits, budget: int, source: Run, folder: Path, seeds: int) -> None:
    right: dict[str, list[float]] = {arm: [] for arm in ARMS}
    for seed in range(seeds):
        few = Splits(_labelled(splits.train, budget, seed=seed), splits.validation, splits.test)
        for arm in ARMS:
            place = folder / name.replace(" ", "_") / f"{budget}-{arm}-{seed}"
            right[arm].append(_accuracy(_recipe(arm, source, budget, seed), place, few))
    for arm, values in right.items():
        shown = f"{statistics.mean(values):5.1f} ({', '.join(f'{value:.1f}' for value in values)})"
        gains = [one - other for one, other in zip(values, right["scratch"], strict=True)]
        print(
            f"{name:<16}{budget:>8,}  {arm:<8} {shown:<30} {'' if arm == 'scratch' else _interval(gains)}", flush=True
        )


def _accuracy(recipe: Recipe, folder: Path, splits: Splits) -> float:
    """On the test images, in percent."""
    return 100 * completed(recipe, folder, lambda: splits, callbacks=()).scores["test"].accuracy.value


def _recipe(arm: str, source: Run, budget: int, seed: int) -> Recipe:
    model = {"name": "resnet20"} if arm == "scratch" else {"name": "pretrained", "weights": str(source.path)}
    epochs = next(epochs for images, epochs in EPOCHS.items() if budget >= images)
    plain = {
        "name": f"transfer/{arm}",
        "data": {"source": "cifar10"},  # the images are given to `fit`
        "model": model,
        "augment": {"flip": True, "crop": 4},
        "optimizer": {"name": "adamw"},
        "schedule": {"name": "one_cycle"},
        "training": {"epochs": epochs, "batch_size": 64},
        "seed": seed,
    }
    return Recipe.from_dict(plain).replace(**ARMS[arm])


def _interval(gains: Sequence[float]) -> str:
    """Mean and 95 % interval of Student's t over the seeds."""
    ends = over_seeds(gains, (-100.0, 100.0))
    return f"{statistics.mean(gains):+.1f}" + (f" [{ends[0]:+.1f}, {ends[1]:+.1f}]" if ends else "")


if __name__ == "__main__":
    main()
