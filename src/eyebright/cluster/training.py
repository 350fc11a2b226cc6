"""One training by several processes on a cluster. Ray Train starts them, joins them, and starts others for lost ones.

They all must see the run's folder. Where not every machine of the cluster does, all processes go to one machine, work
in a folder of its own, and send the run when it is finished.
"""

from __future__ import annotations

import dataclasses
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, final

from eyebright.cluster.command import named
from eyebright.cluster.conversation import Conversation, Voice
from eyebright.cluster.folder import SharedFolder, marked, packed, seen_by_all, unpack, wait_until_free
from eyebright.cluster.resources import Share, share_of_worker, usual_workers
from eyebright.core.errors import EyebrightError, RunError
from eyebright.core.recipe import Recipe
from eyebright.data.load import load, located
from eyebright.models import registry
from eyebright.training import distributed
from eyebright.training.callbacks import Callback, Moment
from eyebright.training.fit import fit, judge, resume
from eyebright.training.run import EpochRecord, Run
from eyebright.training.tracking import trackers

# How often processes may be lost; one that needs more memory than there is would be lost each time.
_LOSSES = 5
# Seconds between two messages about batches.
_NEWS_EVERY = 5.0


@final
@dataclasses.dataclass(frozen=True)
class _Order:
    """What is to be trained, in words that other machines understand.

    Attributes
    ----------
    recipe : as `Recipe.to_dict` gives it.
    name : of the run's folder.
    folder : that the run's folder is in.
    workers, share : how many processes, and what each takes.
    together : whether all are on one machine.
    command : by which the user asked for it.
    """

    recipe: dict[str, Any]
    name: str
    folder: SharedFolder
    workers: int
    share: Share
    together: bool
    command: tuple[str, ...]


def train(recipe: Recipe, folder: Path, *, workers: int | None = None, callbacks: Sequence[Callback] = ()) -> Run:
    """Train and judge a recipe on the cluster that this process is connected to; or what is left of a run.

    A batch has the size that the recipe says, however many processes share it.

    Parameters
    ----------
    recipe : the choices; its data must be found on the machines of the cluster at the same place.
    folder : of the run. Where it holds one, that one goes on; what it holds is trusted, so it must be one's own. All
        machines must see it then.
    workers : processes; default: one for each GPU of the cluster, or where there are none for each machine.
    callbacks : told of batches, every few seconds, and of epochs.

    Raises
    ------
    ClusterError : the cluster has no room, or loses its processes again and again.
    RunError : the folder holds something else than a run, or a run that the cluster does not see.
    EyebrightError : as `fit`.
    """
    begun = (folder / "run.json").is_file()
    if not begun and folder.exists() and any(folder.iterdir()):
        raise RunError(f"{folder} is not empty.", "Choose another folder.")
    recipe = dataclasses.replace(
        recipe,
        model=registry.resolved(recipe.model),
        data=located(recipe.data),
        tracking=trackers.ready(recipe.tracking),
    )
    with marked(folder.absolute().parent) as parent:
        shared = seen_by_all(parent)
        if begun and not shared:
            raise RunError(
                f"not all machines of the cluster see {folder}, so they cannot go on with it.",
                "Resume it without --on, or copy it to storage that all share.",
            )
        count = workers or usual_workers(recipe)
        share = share_of_worker(recipe, count, together=not shared)
        order = _Order(recipe.to_dict(), folder.name, parent, count, share, not shared, tuple(sys.argv))
        _carry_out(order, folder, callbacks)
    return Run.open(folder, trust=True)  # of the caller's own recipe


def _carry_out(order: _Order, folder: Path, callbacks: Sequence[Callback]) -> None:
    """Have an order done, and hear of it."""
    import ray

    def hear(what: str, said: Any) -> None:
        if what == "failed":
            raise said
        if what == "run":
            unpack(said, folder)
        else:
            for callback in callbacks:
                getattr(callback, what)(said)

    conversation = Conversation(hear)
    # Not in this process: it may be far away from the cluster, and Ray Train would speak into its terminal.
    task = ray.remote(_conduct).options(num_cpus=0, max_retries=_LOSSES).remote(order, conversation.voice)
    conversation.result_of(task)


def _conduct(order: _Order, voice: Voice) -> None:
    """The task that has Ray Train start the processes, and others for those that are lost."""
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    trainer = TorchTrainer(
        _work,
        train_loop_config={"order": order, "voice": voice},
        scaling_config=ScalingConfig(
            num_workers=order.workers,
            use_gpu=order.share.gpus > 0,
            resources_per_worker={"CPU": order.share.cpus, "GPU": order.share.gpus},
            placement_strategy="STRICT_PACK" if order.together else "PACK",
        ),
        # Ray Train's own notes; checkpoints are the run's affair.
        run_config=RunConfig(storage_path=str(order.folder.own), failure_config=FailureConfig(max_failures=_LOSSES)),
    )
    try:
        trainer.fit()
    finally:
        shutil.rmtree(order.folder.own, ignore_errors=True)


def _work(given: dict[str, Any]) -> None:
    """What each process does."""
    order: _Order = given["order"]
    voice: Voice = given["voice"]
    world = distributed.current()
    path = order.folder.here(order.name)
    try:
        with named(order.command):
            _train(Recipe.from_dict(order.recipe), path, [_Reporter(voice)])
    except EyebrightError as error:  # no loss of a process: another would fail by it too
        voice.ask("failed", error)
    if world.first and not order.folder.seen:
        voice.ask("run", packed(path))
        shutil.rmtree(order.folder.own)


def _train(recipe: Recipe, path: Path, callbacks: Sequence[Callback]) -> None:
    """Begin a run or go on with it, and judge it."""
    world = distributed.current()
    with world.first_ahead():
        splits = load(recipe.data)
    if world.first:
        wait_until_free(path)
    if not world.agreed((path / "run.json").is_file()):
        judge(fit(recipe, splits, folder=path, callbacks=callbacks), splits)
        return
    run = Run.open(path, trust=True)  # of the caller's own recipe
    if run.status != "finished":
        resume(run, splits, callbacks=callbacks)
    judge(run, splits)


@final
class _Reporter(Callback):
    """Tells the process that gave the order."""

    def __init__(self, voice: Voice) -> None:
        self.voice = voice
        self.told = 0.0

    def batch_done(self, moment: Moment) -> None:
        now = time.monotonic()
        if now - self.told > _NEWS_EVERY:
            self.told = now
            self.voice.tell("batch_done", moment)

    def epoch_done(self, record: EpochRecord) -> None:
        self.voice.ask("epoch_done", record)
