"""The training loop, on one screen: `train` and `_step`. The rest of the module is what they call."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from eyebright.core.device import Plan
from eyebright.core.errors import DivergedError
from eyebright.core.randomness import torch_seed
from eyebright.core.recipe import Recipe
from eyebright.core.settings.optimizer import learning_rates
from eyebright.data.batches import Batch, Batches
from eyebright.data.image_set import ImageSet
from eyebright.models import weights
from eyebright.training import checkpoint, freezing, progressive, schedules
from eyebright.training.callbacks import Callback, Moment
from eyebright.training.checkpoint import Trained
from eyebright.training.distributed import ALONE, World
from eyebright.training.feature_cache import CachedFeatures, FeatureBatches
from eyebright.training.interrupt import Interrupt
from eyebright.training.run import EpochRecord, Run

# A loss this many times that of guessing does not come back.
_DIVERGED = 100.0
# Batches whose losses stay on an accelerator before they are fetched; a fetch waits for all its work.
_FETCH_EVERY = 20


@dataclasses.dataclass(frozen=True)
class Job:
    """What a training works with and does not change.

    Attributes
    ----------
    recipe, run, plan : the choices, the folder, the machine.
    batches : of the training images.
    validation : judged after every epoch; may be empty.
    class_weights : (K,) float32, or None.
    callbacks : watchers.
    interrupt : whether the user asked to stop.
    features : of a body that never learns, where they were computed once; then `batches` holds them too.
    world : the processes that train together.
    """

    recipe: Recipe
    run: Run
    plan: Plan
    batches: Batches | FeatureBatches
    validation: ImageSet
    class_weights: Tensor | None
    callbacks: Sequence[Callback]
    interrupt: Interrupt
    features: CachedFeatures | None = None
    world: World = ALONE


def train(job: Job, trained: Trained) -> None:
    """Train from where `trained.position` stands to the end.

    Raises
    ------
    KeyboardInterrupt : the user asked to stop; the checkpoint is written.
    DivergedError : the loss is no longer finite; the last checkpoint before it is kept.
    """
    position, settings = trained.position, job.recipe.training
    tally = _Tally(job, position)
    for epoch in range(position.epoch, settings.epochs):
        if settings.patience and epoch - position.best_epoch >= settings.patience:
            return
        trained.model.train()
        for batch in job.batches.epoch(epoch, start=position.batch):
            loss, correct = _step(job, trained, batch)
            tally.count(loss, correct, batch.counted)
            whole_step = position.batch % settings.accumulate == 0
            if whole_step and position.batch < len(job.batches) and tally.checkpoint_due():
                tally.fetch()
                if job.world.first:
                    checkpoint.save(trained, job.run.last_checkpoint)
                if tally.stopping:
                    raise KeyboardInterrupt
        tally.fetch()
        record = _judge(job, trained, tally)
        position.begin_epoch()
        position.epoch += 1
        position.history.append(record)
        if job.world.first:
            job.run.save_history(position.history)
            checkpoint.save(trained, job.run.last_checkpoint)
        for callback in job.callbacks:
            callback.epoch_done(record)
        if job.world.any(job.interrupt.requested) and position.epoch < settings.epochs:
            raise KeyboardInterrupt


def _step(job: Job, trained: Trained, batch: Batch) -> tuple[Tensor, Tensor]:
    """Forward, backward, and an optimiser step when enough batches are accumulated.

    Returns the mean cross-entropy () with the given labels, without the smoothing, weights and mixing of the loss
    that is minimised, so that it compares with that of the validation images; and the number of correct images ().
    Both are still on the device.
    """
    position, settings = trained.position, job.recipe.training
    number, accumulate = position.batch, settings.accumulate
    steps_per_epoch = math.ceil(len(job.batches) / accumulate)
    step, steps = position.epoch * steps_per_epoch + number // accumulate, settings.epochs * steps_per_epoch
    torch.manual_seed(torch_seed("dropout", job.recipe.seed, position.epoch, number, *job.world.draws))
    done = step / steps
    freezing.freeze(trained.model, settings, done)
    if freezing.changes(settings, (step - 1) / steps, done):
        # A frozen stage normalises by its running statistics, which were each process's own.
        job.world.align(trained.model)
    scale = progressive.scale_at(settings.progressive, done)
    images = progressive.shrunk(batch.images, scale, job.plan.memory_format)
    with job.plan.autocast():
        logits = trained.model(images, any_size=scale < 1)  # (B, K)
        losses = F.cross_entropy(
            logits,
            batch.targets,
            weight=job.class_weights,
            label_smoothing=settings.label_smoothing,
            reduction="none",  # torch's weighted mean would divide by the weights of the batch and undo them
        )
        loss = losses.mean()
    scaled = trained.scaler.scale(loss * _share(job, number, batch.counted))
    scaled.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    position.batch += 1
    if position.batch % accumulate == 0 or position.batch == len(job.batches):
        lr_factor = schedules.factor(job.recipe.schedule, step, steps, steps_per_epoch)
        for group in trained.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * lr_factor
        job.world.sum_gradients(trained.model)
        if settings.clip_norm:
            trained.scaler.unscale_(trained.optimizer)
            torch.nn.utils.clip_grad_norm_(trained.model.parameters(), settings.clip_norm)
        trained.scaler.step(trained.optimizer)
        trained.scaler.update()
        trained.optimizer.zero_grad()
        if trained.average:
            trained.average.update(trained.model, step)
    with torch.no_grad():
        return F.cross_entropy(logits, batch.labels), (logits.argmax(dim=1) == batch.labels).sum()


def _share(job: Job, number: int, images: int) -> float:
    """The weight of images of a batch among those that make one step, in all processes; together they weigh 1."""
    accumulate = job.recipe.training.accumulate
    first = number // accumulate * accumulate
    last = min(first + accumulate, len(job.batches)) - 1
    return images / (job.batches.bounds(last)[1] - job.batches.bounds(first)[0])


def _judge(job: Job, trained: Trained, tally: _Tally) -> EpochRecord:
    """Validate, keep the model if it is the best, and describe the epoch."""
    position = trained.position
    record: EpochRecord = {
        "epoch": position.epoch + 1,
        "train_loss": position.loss_sum / position.seen,
        "train_accuracy": position.correct / position.seen,
        "lr": trained.optimizer.param_groups[0]["lr"],
        "images_per_second": position.seen / position.epoch_seconds,
    }
    score = float(position.epoch)  # without validation images the last model is the one to keep
    if len(job.validation):
        job.world.align(trained.judged)  # running statistics of norms are each process's own
        ask = job.features.predict if job.features else job.world.predict
        said = ask(trained.judged, job.validation, batch_size=2 * job.recipe.training.batch_size, plan=job.plan)
        losses = F.cross_entropy(torch.from_numpy(said.logits), torch.from_numpy(said.labels))
        if not math.isfinite(losses):
            raise tally.diverged(float(losses), "on the validation images")
        record["validation_loss"] = float(losses)
        record["validation_accuracy"] = float(said.correct.mean())
        monitored = record[f"validation_{job.recipe.training.monitor}"]
        score = -monitored if job.recipe.training.monitor == "loss" else monitored
    tally.stop()
    record["seconds"] = position.epoch_seconds
    score = job.world.agreed(score)  # other threads may sum in another order
    if position.best_score is None or score > position.best_score:
        position.best_score, position.best_epoch = score, position.epoch + 1
        if job.world.first:
            weights.save(trained.judged, job.run.best_checkpoint, {"epoch": str(position.epoch + 1)})
    return record


class _Tally:
    """Counts losses and time into the position, and says when a checkpoint is due."""

    def __init__(self, job: Job, position: checkpoint.Position) -> None:
        self.job = job
        self.position = position
        self.pending: list[tuple[Tensor, Tensor, int]] = []
        self.every = 1 if job.plan.device.type == "cpu" else _FETCH_EVERY
        self.begun = self.lap = self.saved = time.perf_counter()
        self.images = 0
        self.due = self.stopping = False

    def count(self, loss: Tensor, correct: Tensor, images: int) -> None:
        """Take note of a batch."""
        self.pending.append((loss, correct, images))
        if len(self.pending) >= self.every:
            self.fetch()

    def fetch(self) -> None:
        """Bring the counts to the CPU, refuse a diverged loss, tell the watchers."""
        position = self.position
        first = position.batch - len(self.pending) + 1
        for number, (loss_sum, correct, images) in enumerate(self._counts(), start=first):
            loss = loss_sum / images
            if not loss <= _DIVERGED * math.log(max(2, len(self.job.batches.image_set.classes))):
                raise self.diverged(loss, f"batch {number}")
            position.loss_sum += loss_sum
            position.correct += int(correct)
            position.seen += int(images)
            self.images += int(images)
        if not self.pending:
            return
        self.pending.clear()
        self.stop()
        moment = Moment(
            epoch=position.epoch + 1,
            epochs=self.job.recipe.training.epochs,
            batch=position.batch,
            batches=len(self.job.batches),
            loss=position.loss_sum / position.seen,
            accuracy=position.correct / position.seen,
            images=self.images,
            seconds=self.lap - self.begun,
        )
        for callback in self.job.callbacks:
            callback.batch_done(moment)

    def stop(self) -> None:
        """Add the time since the last call to the epoch."""
        now = time.perf_counter()
        self.position.epoch_seconds += now - self.lap
        self.lap = now

    def checkpoint_due(self) -> bool:
        """Whether the last checkpoint is old enough, or the user wants to stop; of several processes, at the fetch."""
        if self.job.world.size == 1:
            self._look()
        if self.due:
            self.saved = time.perf_counter()
        return self.due

    def _look(self) -> None:
        self.stopping = self.job.interrupt.requested
        late = time.perf_counter() - self.saved >= self.job.recipe.training.checkpoint_seconds
        self.due = self.stopping or late

    def _counts(self) -> list[list[float]]:
        """Sum of the losses, correct images and images of each pending batch, over all processes.

        The same message tells these what each of them has seen: the time, or a wish to stop.
        """
        counts = [
            [loss.item() * images, correct.item(), images] if images else [0.0, 0, 0]
            for loss, correct, images in self.pending
        ]
        self._look()
        if self.job.world.size == 1:
            return counts
        *counts, (due, stopping, _) = self.job.world.sums([*counts, [self.due, self.stopping, 0]])
        self.due, self.stopping = due > 0, stopping > 0
        return counts

    def diverged(self, loss: float, place: str) -> DivergedError:
        """The error for a loss from which training does not come back."""
        optimizer = self.job.recipe.optimizer
        lower = " ".join(f"optimizer.{name}={rate / 10:g}" for name, rate in learning_rates(optimizer).items())
        return DivergedError(
            f"training diverged: loss {loss:g} at epoch {self.position.epoch + 1}, {place} "
            f"(learning rate {optimizer.lr:g}, {self.job.plan}).",
            f"Try {lower}, or training.clip_norm=1, or training.precision=fp32. "
            f"The checkpoints in {self.job.run.path} are from before it.",
        )
