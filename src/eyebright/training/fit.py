"""`fit`, `resume`, `judge` and `build`: from a recipe and splits to a run that says how good it is."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import secrets
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from eyebright.core import device
from eyebright.core.device import Plan
from eyebright.core.errors import CheckpointError, ModelError, RecipeError, StorageError
from eyebright.core.input_spec import InputSpec
from eyebright.core.randomness import stream, torch_seed
from eyebright.core.recipe import Recipe
from eyebright.core.settings.model import ModelSettings, PretrainedSettings
from eyebright.data.batches import Batches
from eyebright.data.image_set import ImageSet, Splits
from eyebright.data.load import located
from eyebright.data.statistics import mean_and_deviation
from eyebright.data.transforms import pipeline
from eyebright.evaluation.metrics import evaluate
from eyebright.evaluation.scores import Scores
from eyebright.models import pretrained, registry
from eyebright.models.classifier import Classifier
from eyebright.training import checkpoint, distributed, environment, feature_cache, freezing, optimizers, progressive
from eyebright.training.callbacks import Callback, Pruned
from eyebright.training.checkpoint import Position, Trained
from eyebright.training.ema import MovingAverage
from eyebright.training.interrupt import Interrupt
from eyebright.training.loop import Job, train
from eyebright.training.progress import ProgressBar
from eyebright.training.run import Run
from eyebright.training.tracking import trackers

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

    Several processes train together where they are joined, see `eyebright.training.distributed`; each gives the same
    splits, and the first one alone writes and calls the watchers.

    Parameters
    ----------
    recipe : the choices.
    splits : the images, from `eyebright.load`.
    folder : of the run; default: `runs/NAME/TIME`.
    callbacks : watchers; default: a progress bar.

    Raises
    ------
    ModelError : the model does not fit the images or the batches; then no folder is made.
    RecipeError : a transform of `augment.pipeline` cannot be made, or not of these images; then no folder is made.
    MissingExtraError : the recipe names a tracker or transforms that are not installed; then no folder is made.
    ProcessError : torchrun started several processes, which were not joined.
    DivergedError : the loss is no longer finite.
    KeyboardInterrupt : the user stopped it; the run can be resumed.
    """
    distributed.refuse_strangers()
    world, plan = distributed.current(), plan_of(recipe)
    # It will be resumed from any folder, and without the files that pretrained weights come from.
    recipe = dataclasses.replace(recipe, model=registry.resolved(recipe.model))
    recipe = dataclasses.replace(recipe, data=located(recipe.data), tracking=trackers.ready(recipe.tracking))
    trained = _trained(recipe, splits.train, plan)
    if world.size > 1:
        _ = [part.fingerprint for part in splits]  # all processes compute them at the same time
    run = world.once(
        lambda: Run.create(
            Path(folder) if folder else new_folder(recipe), recipe, splits, environment.describe(plan, world.size)
        )
    )
    if world.size > 1:
        run.check_data(splits)
    return _train(run, splits, plan, trained, callbacks)


def new_folder(recipe: Recipe) -> Path:
    """Where a run goes by default: sorts by time, and two runs begun in the same second differ."""
    now = datetime.datetime.now(datetime.UTC)
    return Path("runs") / recipe.name / f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def resume(run: Run, splits: Splits, *, callbacks: Sequence[Callback] | None = None) -> Run:
    """Continue a run to its end, bit for bit as if it had never stopped (same machine, same versions).

    With another number of processes it goes on as well, up to rounding and the draws of dropout.

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
    distributed.refuse_strangers()
    splits = run.select(splits)
    run.check_data(splits)
    run.check_trust()
    plan = plan_of(run.recipe)
    trained = _trained(run.recipe, splits.train, plan, resumed=run.last_checkpoint.is_file())
    return _train(run, splits, plan, trained, callbacks)


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
    model, world = run.model, distributed.current()
    settings = run.recipe.training
    plan = device.choose(world.device(settings.device), "fp32", settings.threads)
    scores: dict[str, Scores] = {}
    for part in splits:
        if len(part):
            sample = judged_images(part, run.recipe)
            batch_size = 2 * settings.batch_size
            predictions = world.predict(model, sample, batch_size=batch_size, views=settings.views, plan=plan)
            if world.first:
                run.save_predictions(predictions)
            scores[part.split] = evaluate(predictions)
    if world.first:
        run.save_scores({split: score.to_dict() for split, score in scores.items()})
    return scores


def _train(run: Run, splits: Splits, plan: Plan, trained: Trained, callbacks: Sequence[Callback] | None) -> Run:
    world, watchers = distributed.current(), list[Callback]()
    if world.first:
        watchers += [ProgressBar()] if callbacks is None else callbacks
        watchers += trackers.watchers(run.recipe.tracking)
    with (
        run.locked() if world.first else contextlib.nullcontext(),
        plan.applied(),
        torch.random.fork_rng(_random_devices(plan)),
        Interrupt() as interrupt,
    ):
        job = _job(run, splits, plan, watchers, interrupt)
        if run.last_checkpoint.is_file():
            checkpoint.restore(trained, run.last_checkpoint)
            if world.first:
                run.save_history(trained.position.history)  # a kill may have come between the two files
        elif run.history:
            raise CheckpointError(
                f"{run.last_checkpoint} is missing, so {run.path} cannot go on where it stopped.",
                "Begin a new run; the best model of this one still serves for prediction.",
            )
        world.align(trained.model)
        with _watched(run, plan, watchers), _status(run) if world.first else contextlib.nullcontext():
            train(_with_features(job, trained, splits.train), trained)
    world.wait()  # until the first process has written all
    return run


def _with_features(job: Job, trained: Trained, images: ImageSet) -> Job:
    """The same training on the features of its images, where the body that makes them never learns."""
    if trained.position.epoch == job.recipe.training.epochs:
        return job  # nothing is left to train
    batches = training_batches(job.recipe, images, job.plan)
    made = feature_cache.prepare(trained.model, job.recipe, batches, job.validation, job.plan, job.interrupt)
    return dataclasses.replace(job, batches=made.train, features=made) if made else job


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
        world=distributed.current(),
    )


def plan_of(recipe: Recipe) -> Plan:
    """How `fit` would compute the recipe here."""
    settings = recipe.training
    where = distributed.current().device(settings.device)
    return device.choose(where, settings.precision, settings.threads, settings.deterministic)


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
        share=distributed.current().share,
    )


def build(recipe: Recipe, images: ImageSet) -> Classifier:
    """The recipe's model as `fit` begins with it: weights drawn from the seed, or pretrained ones.

    Parameters
    ----------
    recipe : the choices.
    images : to train on; they say size, channels, classes and how to normalise.

    Raises
    ------
    ModelError, CheckpointError : the model does not fit the images, or its weights are not here.
    """
    return _initial(dataclasses.replace(recipe, model=registry.resolved(recipe.model)), images, registry.build)


def _initial(recipe: Recipe, images: ImageSet, make: Callable[..., Classifier]) -> Classifier:
    model = make(recipe.model, _spec(recipe.model, images), seed=torch_seed("initial weights", recipe.seed))
    if model.wants_images:
        model.prepare(torch.from_numpy(_some(images).images).permute(0, 3, 1, 2))  # (N, H, W, C) -> (N, C, H, W)
    return model


def _trained(recipe: Recipe, images: ImageSet, plan: Plan, *, resumed: bool = False) -> Trained:
    """Freshly initialised model, optimiser and the rest; where a checkpoint will overwrite them, of any weights."""
    settings = recipe.training
    model = _initial(recipe, images, registry.skeleton if resumed else registry.build)
    _refuse_batches_of_one(model, min(settings.batch_size, len(images)))
    _refuse_empty_shares(settings.batch_size)
    if settings.sync_batch_norm:
        model = distributed.current().synchronised(model, plan)
    pipeline.check(recipe.augment.pipeline, images.shape)
    progressive.check(model, settings.progressive)
    freezing.check(model, settings)
    plan.place(model)
    return Trained(
        model=model,
        optimizer=optimizers.build(recipe.optimizer, model, settings),
        average=MovingAverage(model, settings.ema) if settings.ema else None,
        scaler=torch.amp.GradScaler(plan.device.type, enabled=plan.dtype == torch.float16),
        position=Position(),
    )


def _spec(settings: ModelSettings, images: ImageSet) -> InputSpec:
    """What is to be known of the pixels: pretrained weights say how to normalise them, else the images do."""
    height, width, channels = images.shape
    brought = pretrained.normalisation(settings, channels) if isinstance(settings, PretrainedSettings) else None
    mean, std = brought or distributed.current().once(lambda: mean_and_deviation(images))
    licence = settings.licence if isinstance(settings, PretrainedSettings) else None
    store = images.store
    return InputSpec(
        height, width, channels, mean, std, images.classes, store.resize, store.interpolation, licence or ""
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


def _refuse_empty_shares(batch_size: int) -> None:
    processes = distributed.current().size
    if processes > 1 and batch_size < 2 * processes:
        raise RecipeError(
            f"a batch of {batch_size} images cannot be divided among {processes} processes: each needs two.",
            f"Use training.batch_size={2 * processes} or more, or fewer processes.",
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
    except Pruned:
        run.set_status("pruned")
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
