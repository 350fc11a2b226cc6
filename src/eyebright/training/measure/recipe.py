"""What a recipe reaches on this machine: images/s of its parts, its share of the peak, the time that it will take."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import statistics
import tempfile
from collections.abc import Generator
from pathlib import Path

import numpy as np
import torch

from eyebright.core.device import Plan
from eyebright.core.errors import DataError
from eyebright.core.input_spec import InputSpec
from eyebright.core.randomness import stream
from eyebright.core.recipe import Recipe
from eyebright.core.settings.training import Views
from eyebright.data.batches import Batch
from eyebright.data.image_set import ImageSet, Splits
from eyebright.data.progress import Progress
from eyebright.evaluation.predict import predict
from eyebright.models.classifier import Classifier
from eyebright.models.profile import profile
from eyebright.models.registry import resolved, skeleton
from eyebright.training import feature_cache
from eyebright.training.callbacks import Callback, Moment
from eyebright.training.fit import fit, plan_of, training_batches
from eyebright.training.measure.duration import Costs, Duration, remaining
from eyebright.training.measure.machine import BOTH, FORWARD, Machine, dtype_name
from eyebright.training.measure.pace import Pace
from eyebright.training.measure.phases import Phase, only, phases, training_flops
from eyebright.training.measure.timing import Effort, Measurement, rate, seconds

# The steps of one phase, the loader and each way of predicting: together some twenty seconds.
_EFFORT = Effort(seconds=4, fewest=3)

# A trial trains on as many images as the loader brings in this time: reading more would take longer than the trial.
_TRIAL_LOADING_SECONDS = 4.0
_TRIAL_BATCHES = 8  # at least
_ENDLESS = 1_000_000  # epochs of a trial, which ends by itself

# Predictions are timed on so many images that they take this long, or on four batches.
_SHORTEST_PREDICTION = 0.1
_FIRST_PREDICTED, _PREDICTED_BATCHES = 8, 4


@dataclasses.dataclass(frozen=True)
class PhaseSpeed:
    """The steps of training in one phase.

    Attributes
    ----------
    phase : size of the images, frozen stages.
    share : of the training that it takes.
    flops : forward and backward of one image, in convolutions and matrix products.
    images_per_second : of whole steps, with the loading of their batches and the optimiser.
    """

    phase: Phase
    share: float
    flops: int
    images_per_second: Measurement


@dataclasses.dataclass(frozen=True)
class RecipeSpeed:
    """What a recipe reaches.

    Attributes
    ----------
    recipe, source, plan : names of recipe and data set, and how it computes; `plan` as it prints itself.
    dtype : of convolutions and matrix products, as torch calls it.
    batch_size, shape : images of a batch, and (H, W, C) of one.
    loader : images/s of preparing batches and doing nothing else.
    phases : of training; one, unless the recipe resizes or freezes.
    inference_flops : forward of one image.
    inference : images/s, as in the validation after an epoch.
    judging : images/s of the final predictions: in float32, averaged over the recipe's views.
    duration : of the whole training. Patience may end it earlier.
    """

    recipe: str
    source: str
    plan: str
    dtype: str
    batch_size: int
    shape: tuple[int, int, int]
    loader: Measurement
    phases: tuple[PhaseSpeed, ...]
    inference_flops: int
    inference: Measurement
    judging: Measurement
    duration: Duration

    def training_share(self, machine: Machine, speed: PhaseSpeed) -> float:
        """The share of the peak of convolutions, forward and backward, that a step reaches.

        Only the arithmetic that the model needs counts as reached, as in "model FLOPs utilisation" (Chowdhery et al.
        2022, "PaLM", appendix B); norms, activations, the optimiser and waiting for data are what is missing from 1.
        """
        return speed.flops * speed.images_per_second.median / _peak(machine, BOTH, self.dtype)

    def inference_share(self, machine: Machine) -> float:
        """The share of the peak of convolutions forward that validation reaches."""
        return self.inference_flops * self.inference.median / _peak(machine, FORWARD, self.dtype)


def measure_recipe(
    recipe: Recipe, splits: Splits, *, effort: Effort = _EFFORT, progress: Progress | None = None
) -> RecipeSpeed:
    """Train a few batches of the recipe with the real engine, predict, and say how long all of it will take.

    Nothing is left behind: no run, no model, no change of the random state. Images that lie on the disk may come from
    the system's cache, which is faster than a first reading.

    Parameters
    ----------
    recipe : what to measure, on the device and in the precision that it chooses.
    splits : its images.
    effort : for each rate.
    progress : told what is being measured, and how much was; default: silence.

    Raises
    ------
    DataError : there are no training images.
    ModelError, RecipeError, DivergedError : as `fit`.
    """
    if not len(splits.train):
        raise DataError(f"{splits.train.store.source} has no training images.", "Measure with images to train on.")
    shares = phases(recipe.training)
    total = len(shares) + 3

    def tell(what: str, done: int) -> None:
        if progress is not None:
            progress(what, done, total)

    recipe = dataclasses.replace(recipe, model=resolved(recipe.model))
    plan, images = plan_of(recipe), splits.train
    passes = feature_cache.passes(recipe) / recipe.training.epochs  # an epoch, through the whole model
    tell("data loader", 0)
    loader = _loader_speed(recipe, images, plan, effort)
    trial = _trial_splits(recipe, splits, loader)
    paces = {}
    for number, phase in enumerate(shares, start=1):
        tell(f"training {phase}".strip(), number)
        paces[phase] = _trial(only(recipe, phase), trial, effort)
    model = untrained(recipe, images)
    tell("inference", total - 2)
    inference = prediction_speed(recipe, model, images, plan, "one", effort)
    tell("judging", total - 1)
    judging = prediction_speed(recipe, model, images, in_float32(plan), recipe.training.views, effort)
    costs = Costs(
        image=lambda phase: passes / paces[phase].images_per_second().median,
        epoch_end=statistics.mean(pace.end_seconds(0.0) for pace in paces.values())
        + min(1.0, passes) * len(splits.validation) / inference.median,
        judged_image=1 / judging.median,
    )
    return RecipeSpeed(
        recipe=recipe.name,
        source=images.store.source,
        plan=str(plan),
        dtype=dtype_name(plan.dtype),
        batch_size=recipe.training.batch_size,
        shape=images.shape,
        loader=loader,
        phases=tuple(
            PhaseSpeed(phase, share, training_flops(model, phase), paces[phase].images_per_second())
            for phase, share in shares.items()
        ),
        inference_flops=2 * profile(model).multiply_adds,
        inference=inference,
        judging=judging,
        duration=remaining(recipe, splits, costs),
    )


def in_float32(plan: Plan) -> Plan:
    """The plan in which `judge` predicts."""
    return dataclasses.replace(plan, dtype=torch.float32)


def untrained(recipe: Recipe, images: ImageSet) -> Classifier:
    """A model of the recipe, which must be resolved, for `images`: as fast as a trained one."""
    height, width, channels = images.shape
    spec = InputSpec(height, width, channels, (0.5,) * channels, (0.25,) * channels, images.classes)
    return skeleton(recipe.model, spec)


def prediction_speed(
    recipe: Recipe, model: Classifier, images: ImageSet, plan: Plan, views: Views, effort: Effort
) -> Measurement:
    """Images/s of `predict`, in batches as the engine makes them, on some of `images`."""
    batch_size = 2 * recipe.training.batch_size  # as the loop and `judge` do
    plan.place(model)
    most = min(len(images), _PREDICTED_BATCHES * batch_size)
    number = min(_FIRST_PREDICTED, most)

    def answer() -> None:
        predict(model, images.take(range(number)), batch_size=batch_size, views=views, plan=plan)

    answer()  # the first call for a number of images compiles kernels for it
    while seconds(answer, plan.device) < _SHORTEST_PREDICTION and number < most:
        number = min(2 * number, most)
        answer()
    return rate(answer, number, plan.device, effort)


def _loader_speed(recipe: Recipe, images: ImageSet, plan: Plan, effort: Effort) -> Measurement:
    batches = training_batches(recipe, images, plan)

    def endless() -> Generator[Batch]:
        for epoch in itertools.count():
            yield from batches.epoch(epoch)

    with plan.applied(), contextlib.closing(endless()) as prepared:
        return rate(lambda: next(prepared), len(images) / len(batches), plan.device, effort)


def _trial_splits(recipe: Recipe, splits: Splits, loader: Measurement) -> Splits:
    """Some training images, no others: predictions are measured for themselves."""
    images = splits.train
    wanted = max(_TRIAL_BATCHES * recipe.training.batch_size, int(_TRIAL_LOADING_SECONDS * loader.median))
    if wanted < len(images):
        random = stream("images of a trial", recipe.seed)
        images = images.take(np.sort(random.choice(len(images), wanted, replace=False)))
    return Splits(images, splits.validation.take([]), splits.test.take([]))


def _trial(recipe: Recipe, splits: Splits, effort: Effort) -> Pace:
    """Train until the pace is known, in a folder that vanishes."""
    endless = recipe.replace(epochs=_ENDLESS, patience=None, cache_features=False)
    watch = _Stopwatch(effort)
    with tempfile.TemporaryDirectory(prefix="eyebright-") as folder, contextlib.suppress(_EnoughError):
        fit(endless, splits, folder=Path(folder) / "trial", callbacks=[watch])
    return watch.pace


class _EnoughError(Exception):
    """Ends a trial."""


class _Stopwatch(Callback):
    """Ends the training when its pace is known."""

    def __init__(self, effort: Effort) -> None:
        self.pace = Pace()
        self.effort = effort

    def batch_done(self, moment: Moment) -> None:
        """Listen."""
        self.pace.note(moment)
        if self.pace.enough(self.effort):
            raise _EnoughError


def _peak(machine: Machine, operation: str, dtype: str) -> float:
    return machine.peak(operation, dtype).flops_per_second.median
