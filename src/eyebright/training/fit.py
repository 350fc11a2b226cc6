"""`fit`, `resume` and `judge`: from a recipe and splits to a run that says how good it is."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from eyebright.core import device
from eyebright.core.device import Plan
from eyebright.core.errors import CheckpointError, ModelError, StorageError
from eyebright.core.input_spec import InputSpec
from eyebright.core.randomness import stream, torch_seed
from eyebright.core.recipe import Recipe
from eyebright.data.batches import Batches
from eyebright.data.image_set import ImageSet, Splits
from eyebright.data.load import located
from eyebright.data.statistics import mean_and_deviation
from eyebright.evaluation.metrics import evaluate
from eyebright.evaluation.predict import predict
from eyebright.evaluation.scores import Scores
from eyebright.models.classifier import Classifier
from eyebright.models.registry import build
from eyebright.training import checkpoint, environment, freezing, optimizers, progressive
from eyebright.training.callbacks import Callback
from eyebright.training.checkpoint import Position, Trained
from eyebright.training.ema import MovingAverage
from eyebright.training.interrupt import Interrupt
from eyebright.training.loop import Job, train
from eyebright.training.progress import ProgressBar
from eyebright.training.run import Run

# Training images that `judge` asks the model about: enough for an interval of +-1 %.
_TRAIN_SAMPLE = 10_000

# Pixels of training images from which first stages are computed: the table of their patches takes some 250 MB.
_PREPARED_FROM = 5_000 * 32 * 32


def fit(
    recipe: Recipe,
    splits: Splits,
    *,
    folder: str | Path | None = None,
    callbacks: Sequence[Callback] | None = None,
) -> Run:
    """Train the recipe's model. Sees the training and validation images only.

    Parameters
    ----------
    recipe : the choices.
    splits : the images, from `eyebright.load`.
    folder : of the run; default: `runs/NAME/TIME`.
    callbacks : watchers; default: a progress bar.

    Raises
    ------
    ModelError : the model does not fit the images or the batches; then no folder is made.
    DivergedError : the loss is no longer finite.
    KeyboardInterrupt : the user stopped it; the run can be resumed.
    """
    plan = plan_of(recipe)
    recipe = dataclasses.replace(recipe, data=located(recipe.data))  # it will be resumed from any folder
    trained = _trained(recipe, splits.train, plan)
    run = Run.create(Path(folder) if folder else new_folder(recipe), recipe, splits, environment.describe(plan))
    return _train(run, splits, plan, trained, callbacks)


def new_folder(recipe: Recipe) -> Path:
    """Where a run goes by default: sorts by time, and two runs begun in the same second differ."""
    now = datetime.datetime.now(datetime.UTC)
    return Path("runs") / recipe.name / f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def resume(run: Run, splits: Splits, *, callbacks: Sequence[Callback] | None = None) -> Run:
    """Continue a run to its end, bit for bit as if it had never stopped (same machine, same versions).

    Parameters
    ----------
    run : interrupted, killed or finished (then nothing is left to do).
    splits : the images that the run began with, from `eyebright.load(run.recipe.data)`.
    callbacks : watchers; default: a progress bar.

    Raises
    ------
    RunError : the images are others than the run began with.
    CheckpointError : the checkpoint is damaged.
    """
    splits = run.select(splits)
    run.check_data(splits)
    run.check_trust()
    plan = plan_of(run.recipe)
    return _train(run, splits, plan, _trained(run.recipe, splits.train, plan), callbacks)


def judge(run: Run, splits: Splits) -> dict[str, Scores]:
    """Ask the best model about training (a sample), validation and test images; keep and score the answers.

    Predictions are made in fp32, as an exported model makes them; averaged over `training.views`, where an exported
    model sees one.

    Raises
    ------
    RunError : the images are others than the run began with; its scores stay as they are.
    """
    splits = run.select(splits)
    run.check_data(splits)
    model = run.model
    settings = run.recipe.training
    plan = device.choose(settings.device, "fp32", settings.threads)
    scores: dict[str, Scores] = {}
    for part in splits:
        if len(part):
            sample = judged_images(part, run.recipe)
            predictions = predict(model, sample, batch_size=2 * settings.batch_size, views=settings.views, plan=plan)
            run.save_predictions(predictions)
            scores[part.split] = evaluate(predictions)
    run.save_scores({split: score.to_dict() for split, score in scores.items()})
    return scores


def _train(run: Run, splits: Splits, plan: Plan, trained: Trained, callbacks: Sequence[Callback] | None) -> Run:
    watchers = [ProgressBar()] if callbacks is None else list(callbacks)
    with run.locked(), plan.applied(), torch.random.fork_rng(_random_devices(plan)), Interrupt() as interrupt:
        job = _job(run, splits, plan, watchers, interrupt)
        if run.last_checkpoint.is_file():
            checkpoint.restore(trained, run.last_checkpoint)
            run.save_history(trained.position.history)  # a kill may have come between the two files
        elif run.history:
            raise CheckpointError(
                f"{run.last_checkpoint} is missing, so {run.path} cannot go on where it stopped.",
                "Begin a new run; the best model of this one still serves for prediction.",
            )
        with _watched(run, plan, watchers), _status(run):
            train(job, trained)
    return run


def _random_devices(plan: Plan) -> list[torch.device]:
    """Devices, besides the CPU, whose random state training uses."""
    return [plan.device] if plan.device.type == "cuda" else []


def _job(run: Run, splits: Splits, plan: Plan, callbacks: Sequence[Callback], interrupt: Interrupt) -> Job:
    recipe, settings = run.recipe, run.recipe.training
    class_weights = None
    if settings.class_weights == "balanced":
        counts = np.bincount(splits.train.labels, minlength=len(splits.train.classes))
        balanced = counts.sum() / (len(counts) * np.maximum(counts, 1))
        class_weights = torch.tensor(balanced, dtype=torch.float32, device=plan.device)
    return Job(
        recipe,
        run,
        plan,
        training_batches(recipe, splits.train, plan),
        splits.validation,
        class_weights,
        callbacks,
        interrupt,
    )


def plan_of(recipe: Recipe) -> Plan:
    """How `fit` would compute the recipe here."""
    settings = recipe.training
    return device.choose(settings.device, settings.precision, settings.threads, settings.deterministic)


def training_batches(recipe: Recipe, images: ImageSet, plan: Plan) -> Batches:
    """The training images as the recipe cuts, shuffles and augments them."""
    settings = recipe.training
    return Batches(
        images,
        settings.batch_size,
        seed=recipe.seed,
        shuffle=True,
        augment=recipe.augment,
        workers=settings.workers,
        device=plan.device,
        channels_last=plan.channels_last,
    )


def _trained(recipe: Recipe, images: ImageSet, plan: Plan) -> Trained:
    """Freshly initialised model, optimiser and the rest."""
    settings = recipe.training
    height, width, channels = images.shape
    mean, std = mean_and_deviation(images)
    spec = InputSpec(
        height, width, channels, mean, std, images.classes, images.store.resize, images.store.interpolation
    )
    model = build(recipe.model, spec, seed=torch_seed("initial weights", recipe.seed))
    _refuse_batches_of_one(model, min(settings.batch_size, len(images)))
    if model.wants_images:
        model.prepare(torch.from_numpy(_some(images).images).permute(0, 3, 1, 2))
    progressive.check(model, settings.progressive)
    freezing.check(model, settings.freeze)
    plan.place(model)
    return Trained(
        model=model,
        optimizer=optimizers.build(recipe.optimizer, model),
        average=MovingAverage(model, settings.ema) if settings.ema else None,
        scaler=torch.amp.GradScaler(plan.device.type, enabled=plan.dtype == torch.float16),
        position=Position(),
    )


def _some(images: ImageSet) -> ImageSet:
    """A sample for stages that are computed from images, the same in every training on them."""
    height, width, _ = images.shape
    count = max(1, _PREPARED_FROM // (height * width))
    return images.take(np.sort(stream("prepared from", 0).permutation(len(images))[:count]))


def _refuse_batches_of_one(model: Classifier, smallest: int) -> None:
    if smallest == 1 and any(isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) for module in model.modules()):
        raise ModelError(
            f"{model.settings.name} has batch normalisation, which has nothing to normalise in a batch of one image.",
            "Use training.batch_size=2 or more and two training images at least, or a model without it.",
        )


@contextlib.contextmanager
def _status(run: Run) -> Iterator[None]:
    """Keep run.json true, however the training ends."""
    run.set_status("running")
    try:
        yield
    except KeyboardInterrupt:
        run.set_status("interrupted")
        raise
    except BaseException:
        with contextlib.suppress(StorageError):  # a full disk may be what failed: the first cause is to be shown
            run.set_status("failed")
        raise
    run.set_status("finished")


@contextlib.contextmanager
def _watched(run: Run, plan: Plan, callbacks: Sequence[Callback]) -> Iterator[None]:
    with contextlib.ExitStack() as begun:
        for callback in callbacks:
            begun.callback(callback.stopped, run)
            callback.started(run, plan)
        yield


def judged_images(images: ImageSet, recipe: Recipe) -> ImageSet:
    """The images of a split that `judge` asks about: a sample of the training images, all of any other."""
    if images.split != "train" or len(images) <= _TRAIN_SAMPLE:
        return images
    random = stream("judged training images", recipe.seed)
    positions = np.sort(random.choice(len(images), _TRAIN_SAMPLE, replace=False))
    return images.take(positions)
