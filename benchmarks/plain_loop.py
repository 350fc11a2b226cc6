"""Our training against the loop that people write: torch in fp32, a DataLoader with 2 workers, transforms per image.

    EYEBRIGHT_DATA=... python benchmarks/plain_loop.py [--images 12800] [--rounds 3] [--lightning] [RECIPE ...]
    EYEBRIGHT_DATA=... python benchmarks/plain_loop.py --whole [--seeds 3] [--plain-seeds 1] [--first 0]

For each recipe: one epoch over the same CIFAR-10 images with the same network, batch size, optimiser (Adam, where
the recipe has Muon) and augmentation (flip and crop, where it has them), ours and theirs in turn; images/s of each
epoch, the medians and their ratio. Theirs keeps its workers between epochs and is given one epoch to warm up; ours pays
for its first batch in every round. With `--lightning` (`pip install lightning`) PyTorch Lightning's Trainer takes its
turn too, over the same loader, network and optimiser, once as it comes (fp32) and once with precision="bf16-mixed".

With `--whole`: the same network to the same accuracy. The plain loop trains that of `cifar10/regularized_cnn` for the
recipe's 25 epochs and keeps the last model; it takes minutes a seed. Ours trains it on the same images by
`cifar10/regularized_cnn_fast`. Seconds are of training alone; accuracies are of the test images, with 95 % intervals.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import logging
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

import eyebright as eb
from eyebright.core import torchvision_operators
from eyebright.core.settings.augment import AugmentSettings
from eyebright.data.image_set import ImageSet, Splits
from eyebright.data.statistics import mean_and_deviation
from eyebright.evaluation.intervals import proportion
from eyebright.models.registry import build

WHOLE, FAST = "cifar10/regularized_cnn", "cifar10/regularized_cnn_fast"
_JUDGED = 500  # test images at a time
RECIPES = ["cifar10/simple_cnn", "cifar10/regularized_cnn", "cifar10/ladder_cnn", "cifar10/resnet18"]


class PlainImages(Dataset[tuple[Tensor, int]]):
    """One image at a time through Pillow, as in the tutorials: flip, pad and crop, to tensor, normalise."""

    def __init__(self, images: ImageSet, augment: AugmentSettings) -> None:
        self.images, self.labels = images.images, images.labels
        self.augment = augment
        mean, std = mean_and_deviation(images)
        self.mean, self.std = torch.tensor(mean).view(3, 1, 1), torch.tensor(std).view(3, 1, 1)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, position: int) -> tuple[Tensor, int]:
        image = Image.fromarray(self.images[position])
        if self.augment.flip and random.random() < 0.5:
            image = ImageOps.mirror(image)
        if pad := self.augment.crop:
            left, top = random.randint(0, 2 * pad), random.randint(0, 2 * pad)
            width, height = image.size
            image = ImageOps.expand(image, pad).crop((left, top, left + width, top + height))
        pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8).view(image.height, image.width, 3)
        return (pixels.permute(2, 0, 1).float() / 255 - self.mean) / self.std, int(self.labels[position])


class PlainLoop:
    """The tutorials' training loop around our network, which normalises by the same numbers: here by 0 and 1."""

    def __init__(self, recipe: eb.Recipe, images: ImageSet) -> None:
        height, width, channels = images.shape
        # Pixels arrive normalised, so the model is told that they are: 255 times 1/255 is 1.
        spec = eb.InputSpec(height, width, channels, (0.0,) * 3, (1 / 255,) * 3, images.classes)
        self.model = build(recipe.model, spec)
        kinds = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}
        kind = kinds.get(recipe.optimizer.name)  # people do not write Muon; Adam takes its place, at Adam's rate
        self.optimizer = (
            kind(self.model.parameters(), lr=recipe.optimizer.lr) if kind else torch.optim.Adam(self.model.parameters())
        )
        data = PlainImages(images, recipe.augment)
        self.normalisation = data.mean, data.std
        self.loader = DataLoader(data, recipe.training.batch_size, shuffle=True, num_workers=2, persistent_workers=True)

    def epoch(self) -> float:
        """Train for one epoch; images/s."""
        begin = time.perf_counter()
        self.model.train()
        total = 0.0
        for images, labels in self.loader:
            self.optimizer.zero_grad()
            loss = F.cross_entropy(self.model(images), labels)
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            self.optimizer.step()
            total += loss.item()
        return len(self.loader.dataset) / (time.perf_counter() - begin)  # type: ignore[arg-type]  # it has a length


def lightning_loop(plain: PlainLoop, precision: str) -> Callable[[], float]:
    """Lightning's loop over the loader and the network of a plain one: trains for an epoch and returns images/s."""
    torchvision_operators.ensure()  # Lightning imports torchvision where it is installed
    lightning: Any = importlib.import_module("lightning")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)  # it greets at every epoch

    class Clock(lightning.Callback):  # type: ignore[misc]  # it need not be installed
        def on_train_epoch_start(self, *_: Any) -> None:
            self.begun = time.perf_counter()

        def on_train_epoch_end(self, *_: Any) -> None:
            self.seconds = time.perf_counter() - self.begun

    class Module(lightning.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.model = plain.model

        def training_step(self, batch: tuple[Tensor, Tensor], _number: int) -> Tensor:
            images, labels = batch
            return F.cross_entropy(self.model(images), labels)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return plain.optimizer

    def epoch() -> float:
        clock = Clock()
        trainer = lightning.Trainer(
            max_epochs=1,
            accelerator="cpu",
            precision=precision,
            callbacks=[clock],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(Module(), plain.loader)
        return len(plain.loader.dataset) / clock.seconds  # type: ignore[arg-type]  # it has a length

    return epoch


def whole_plain(recipe: eb.Recipe, splits: Splits) -> tuple[float, eb.Score]:
    """Seconds and test accuracy of the plain loop."""
    torch.manual_seed(recipe.seed)
    loop = PlainLoop(recipe, splits.train)
    begin = time.perf_counter()
    for _ in range(recipe.training.epochs):
        loop.epoch()
    taken = time.perf_counter() - begin
    loop.model.eval()
    test, (mean, std) = splits.test, loop.normalisation
    right = 0
    with torch.no_grad():
        for start in range(0, len(test), _JUDGED):
            part = test.take(range(start, min(start + _JUDGED, len(test))))
            images = (torch.from_numpy(part.images).permute(0, 3, 1, 2).float() / 255 - mean) / std
            right += int((loop.model(images).argmax(1).numpy() == part.labels).sum())
    return taken, proportion(right, len(test))


def whole_ours(recipe: eb.Recipe, splits: Splits) -> tuple[float, eb.Score]:
    """Seconds and test accuracy of ours."""
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        run = eb.fit(recipe, splits, folder=Path(folder) / "run", callbacks=())
        taken = time.perf_counter() - begin
        return taken, eb.evaluate(eb.predict(run.model, splits.test)).accuracy


def whole(seeds: range, plain_seeds: int) -> None:
    """Both to the end, seed by seed in turn; theirs for the first `plain_seeds` of them only."""
    splits = eb.load(eb.recipe(FAST).data)
    theirs, ours = [], []
    for number, seed in enumerate(seeds):
        taken, score = whole_ours(eb.recipe(FAST, seed=seed), splits)
        ours.append(taken)
        print(f"seed {seed}: {FAST} {taken:.0f} s, {score}", flush=True)
        if number < plain_seeds:
            taken, reached = whole_plain(eb.recipe(WHOLE, seed=seed), splits)
            theirs.append(taken)
            print(
                f"seed {seed}: plain loop {taken:.0f} s, {reached}; ours {score.value - reached.value:+.4f}", flush=True
            )
    if theirs:
        medians = statistics.median(theirs), statistics.median(ours)
        print(f"medians {medians[0]:.0f} s and {medians[1]:.0f} s: {medians[0] / medians[1]:.1f} times faster")


def main() -> None:
    """Measure every recipe."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="*", default=RECIPES)
    parser.add_argument("--images", type=int, default=12_800)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--lightning", action="store_true")
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--plain-seeds", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="the first seed, with --whole")
    arguments = parser.parse_args()
    if arguments.whole:
        whole(range(arguments.first, arguments.first + arguments.seeds), arguments.plain_seeds)
        return
    print(
        f"{arguments.images} images an epoch, {arguments.rounds} rounds, {os.cpu_count()} cores; median (all) images/s"
    )
    for name in arguments.recipes:
        recipe = eb.recipe(name, epochs=1, limit=arguments.images)
        splits = eb.load(recipe.data)
        splits = Splits(splits.train, splits.validation.take(range(10)), splits.test)
        peers = _peers(recipe, splits.train, lightning=arguments.lightning)
        for warm_up in peers.values():
            warm_up()
        loops = peers | {"eyebright": functools.partial(_ours, recipe, splits)}
        speeds: dict[str, list[float]] = {loop: [] for loop in loops}
        for _ in range(arguments.rounds):
            for loop, epoch in loops.items():
                speeds[loop].append(epoch())
        print(name)
        ours = statistics.median(speeds["eyebright"])
        for loop, each in speeds.items():
            ratio = "" if loop == "eyebright" else f"   eyebright: {ours / statistics.median(each):.1f} times"
            print(f"  {loop:<24}{_row(each):>28}{ratio}", flush=True)


def _peers(recipe: eb.Recipe, images: ImageSet, *, lightning: bool) -> dict[str, Callable[[], float]]:
    """What trains for an epoch and returns images/s, by name; each with a network of its own."""
    peers = {"plain loop": PlainLoop(recipe, images).epoch}
    if lightning:
        for precision in ("32-true", "bf16-mixed"):
            peers[f"Lightning, {precision}"] = lightning_loop(PlainLoop(recipe, images), precision)
    return peers


def _ours(recipe: eb.Recipe, splits: Splits) -> float:
    with tempfile.TemporaryDirectory() as folder:
        run = eb.fit(recipe, splits, folder=Path(folder) / "run", callbacks=())
        return run.history[0]["images_per_second"]


def _row(values: list[float]) -> str:
    return f"{statistics.median(values):,.0f} ({', '.join(f'{value:,.0f}' for value in values)})"


if __name__ == "__main__":
    main()
