"""What preparing batches costs, as a share of a training step: gather, flip, crop, hand over.

    python benchmarks/loader_share.py [--steps 60]

For each model: seconds to prepare a batch and seconds of forward, backward and optimiser step, in turn on the
same batches of synthetic 32x32 images; medians and the share.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
import torch
import torch.nn.functional as F

from eyebright.core import device
from eyebright.core.input_spec import InputSpec
from eyebright.core.recipe import recipe
from eyebright.data.batches import Batches
from eyebright.data.image_set import ImageSet, ImageStore
from eyebright.models.registry import build
from eyebright.training import optimizers

RECIPES = ("cifar10/simple_cnn", "cifar10/regularized_cnn", "cifar10/ladder_cnn", "cifar10/resnet18")


def main() -> None:
    """Measure every recipe."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=60)
    steps = parser.parse_args().steps
    random = np.random.default_rng(0)
    classes = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    labels = random.integers(0, 10, 50_000)
    pixels = random.integers(0, 256, (50_000, 32, 32, 3), dtype=np.uint8)
    images = ImageSet(ImageStore(pixels, labels, [""] * 50_000, classes, "noise"), np.arange(50_000), "train")
    plan = device.choose()
    print(f"{plan}; medians of {steps} steps")
    print(f"{'recipe':<26}{'batch':>6}{'prepare ms':>12}{'step ms':>10}{'share':>8}")
    for name in RECIPES:
        chosen = recipe(name)
        with plan.applied():
            prepare, step = _measure(chosen, images, plan, steps)
        size = chosen.training.batch_size
        print(f"{name:<26}{size:>6}{1000 * prepare:>12.2f}{1000 * step:>10.1f}{prepare / (prepare + step):>8.1%}")


def _measure(chosen, images: ImageSet, plan: device.Plan, steps: int) -> tuple[float, float]:  # type: ignore[no-untyped-def]
    spec = InputSpec(32, 32, 3, (0.5,) * 3, (0.25,) * 3, images.classes)
    model = build(chosen.model, spec)
    plan.place(model)
    optimizer = optimizers.build(chosen.optimizer, model)
    batches = Batches(
        images,
        chosen.training.batch_size,
        shuffle=True,
        augment=chosen.augment,
        device=plan.device,
        channels_last=plan.channels_last,
    ).epoch(0)
    prepared, stepped = [], []
    for number in range(steps + 5):
        begin = time.perf_counter()
        batch = next(batches)
        middle = time.perf_counter()
        with plan.autocast():
            loss = F.cross_entropy(model(batch.images), batch.targets)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        optimizer.step()
        optimizer.zero_grad()
        if number >= 5:  # the first ones warm up
            prepared.append(middle - begin)
            stepped.append(time.perf_counter() - middle)
    return statistics.median(prepared), statistics.median(stepped)


if __name__ == "__main__":
    torch.manual_seed(0)
    main()
