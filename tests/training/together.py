"""What processes do that torchrun starts for `test_distributed`: torchrun together.py WHAT FOLDER."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch.distributed as dist

import eyebright as eb
from eyebright.core.errors import BadImageError
from eyebright.core.recipe import Recipe
from eyebright.data.batches import Batch, Batches
from eyebright.data.image_set import Splits
from eyebright.training.callbacks import Callback, Moment
from eyebright.training.distributed import World, current
from tests.conftest import make_images

# Without batch norm and dropout, so that it does not matter who sees which images. 130 images make 9 batches of 16,
# the last one of 2: too few for two processes.
PLAIN = Recipe.from_dict(
    {
        "name": "test/plain",
        "data": {"source": "shades"},
        "model": {"name": "mlp", "hidden": [8]},
        "augment": {"flip": True, "crop": 1, "mixup": 0.3, "cutout": 3},
        "optimizer": {"name": "sgd", "lr": 0.01},
        "schedule": {"name": "cosine"},
        "training": {"epochs": 3, "batch_size": 16, "checkpoint_seconds": 0, "threads": 1, "device": "cpu"},
    }
).replace(precision="fp32", class_weights="balanced")
ACCUMULATED = PLAIN.replace(accumulate=4)
# Whatever else changes weights or depends on a process: norms, dropout, averages, stages that stop learning, Muon.
BUSY = Recipe.from_dict(
    PLAIN.to_dict()
    | {"model": {"name": "regularized_cnn", "widths": [4, 8], "hidden": 16}, "optimizer": {"name": "muon"}}
).replace(ema=0.9, clip_norm=1.0, accumulate=2, freeze={"stage1": 0.7}, **{"training.precision": "auto"})
MOMENT = (2, 4)  # epoch and batch


def splits() -> Splits:
    """The images of the fixture `shades`."""
    return Splits(make_images(130, "train", 0), make_images(30, "validation", 1), make_images(45, "test", 2))


class Witness(Callback):
    """Counts in a file of its process how often it was called."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def batch_done(self, moment: Moment) -> None:
        with self.path.open("a") as file:
            file.write(f"{moment.epoch} {moment.batch} {moment.images}\n")


def train(world: World, folder: Path) -> None:
    """Several trainings, one after the other, and answers about images."""
    for name, recipe in (("plain", PLAIN), ("accumulated", ACCUMULATED), ("busy", BUSY), ("busy again", BUSY)):
        run = eb.fit(recipe, splits(), folder=folder / name, callbacks=[Witness(folder / f"witness {world.rank}")])
        eb.judge(run, splits())
    for name, recipe in (("stopped", PLAIN), ("stopped busy", BUSY), ("left", PLAIN)):
        with happening(functools.partial(kill, signal.SIGTERM)):
            try:
                eb.fit(recipe, splits(), folder=folder / name, callbacks=())
            except KeyboardInterrupt:
                (folder / f"{name} {world.rank}").write_text("stopped")
        world.wait()
        if name != "left":  # which one process is to finish
            eb.resume(eb.Run.open(folder / name), splits(), callbacks=())
    images, model = splits().test, eb.Run.open(folder / "plain").model
    for count in (1, 45):
        said = world.predict(model, images.take(range(count)), batch_size=20)
        np.savez(folder / f"answers {count} {world.rank}.npz", logits=said.logits, index=said.index)


@contextlib.contextmanager
def happening(what: Callable[[], object]) -> Iterator[None]:
    """Something happens to the second process in the middle of its second epoch."""
    patched: Any = Batches
    whole = patched.epoch

    def epoch(batches: Batches, number: int, start: int = 0) -> Iterator[Batch]:
        for place, batch in enumerate(whole(batches, number, start), start=start + 1):
            if (number + 1, place) == MOMENT and batches.augment and current().rank == 1:
                what()
            yield batch

    patched.epoch = epoch
    try:
        yield
    finally:
        patched.epoch = whole


def kill(number: signal.Signals) -> None:
    """Send this process a signal."""
    os.kill(os.getpid(), number)


def meet_a_bad_image() -> None:
    """As if a file had been damaged since it was checked."""
    raise BadImageError("holiday.jpg cannot be decoded.", "Replace it.")


def fail(how: str, folder: Path) -> None:
    """The command line, whose second process fails."""
    from eyebright.cli.main import main

    sys.argv = ["eyebright", "train", "digits/cnn", "epochs=3", "checkpoint_seconds=0", "--out", str(folder)]
    with happening(meet_a_bad_image if how == "raise" else functools.partial(kill, signal.SIGKILL)):
        main()


if __name__ == "__main__":
    if sys.argv[1] == "train":
        dist.init_process_group("gloo")  # as Ray does: the group is not Eyebright's own
        with eb.joined() as world:
            train(world, Path(sys.argv[2]))
        dist.destroy_process_group()
    else:
        fail(sys.argv[1], Path(sys.argv[2]))
