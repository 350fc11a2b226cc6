"""Rules on the images: seen before, prepared otherwise, or of another kind."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

from eyebright.audit.case import Case, ImageEvidence, Remark, Severity, interval, percent
from eyebright.audit.pixel_statistics import PixelStatistics
from eyebright.audit.remedies import Remedy
from eyebright.core.input_spec import InputSpec
from eyebright.core.recipe import Recipe
from eyebright.core.settings.model import PretrainedSettings

_SHIFT = 0.25  # deviations between means of pixels; between the splits of CIFAR-10 and Emotions it is below 0.015
_SCALE = 1.25  # ratio between deviations of pixels; there it is below 1.01
_SURE = 4.0  # standard errors: a false alarm in 16,000, as there are many channels and splits
_ANOTHER_KIND = 0.03  # between the accuracies of validation and test, beyond their intervals
_RECORDED = 0.02  # share of the images whose answer a precision of 8 bits may change
_RECORDED_IMAGES = 3  # and at least so many: in a small split a single image is more than that share


def remarks(case: Case) -> Iterator[Remark]:
    """What the images show, and what the scores show of them."""
    if case.images is not None:
        yield from _leakage(case, case.images)
        yield from _unlike_spec(case, case.images)
    yield from _other_kind(case)
    yield from _unlike_recorded(case)


def _leakage(case: Case, images: ImageEvidence) -> Iterator[Remark]:
    """Images that were seen before they were asked about."""
    for leak in images.leaks:
        scores = case.scores.get(leak.split)
        # More copies than the interval is wide on one side: they alone can carry the accuracy out of it.
        margin = (scores.accuracy.high - scores.accuracy.low) / 2 if scores else 0.0
        severity: Severity = "warning" if leak.share > margin else "note"
        relabelled = int(leak.relabelled.sum())
        other = f", {relabelled} of them under another label" if relabelled else ""
        evidence = (
            f"{len(leak):,} {leak.split} images ({percent(leak.share)}) are in {leak.seen} too, pixel by pixel{other}; "
            f"the first is row {leak.index[0]}."
        )
        remedy = Remedy("Leave out what a later split holds.", ("data.leave_out_copies=true",))
        yield Remark.of("leakage", severity, evidence, remedy)


def _unlike_spec(case: Case, images: ImageEvidence) -> Iterator[Remark]:
    """Pixels that are not those which the model's normalisation was made for."""
    spec = _norm(case, images)
    for split, found in images.pixels.items():
        differences = list(_differences(spec, found))
        if not differences:
            continue
        evidence = (
            f"The pixels of the {split} images are not those that the model normalises: {'; '.join(differences)}."
        )
        yield Remark.of("preprocessing_mismatch", "warning", evidence, _pixel_remedy(case.recipe, split))


def _norm(case: Case, images: ImageEvidence) -> InputSpec:
    """What the pixels should be like: pretrained weights normalise by those of other images, so ask the training's."""
    train = images.pixels.get("train")
    if not isinstance(case.recipe.model, PretrainedSettings) or train is None:
        return images.spec
    return dataclasses.replace(images.spec, mean=train.mean, std=train.deviation)


def _differences(spec: InputSpec, found: PixelStatistics) -> Iterator[str]:
    """What differs beyond chance, a phrase a channel."""
    for channel, (mean, std) in enumerate(zip(spec.mean, spec.std, strict=True)):
        shift, error = found.mean[channel] - mean, found.mean_error[channel]
        if abs(shift) >= _SHIFT * std and abs(shift) >= _SURE * error:
            yield f"channel {channel} has a mean of {found.mean[channel]:.3f} instead of {mean:.3f}"
        deviation, error = found.deviation[channel], found.deviation_error[channel]
        ratio = max(deviation / std, std / deviation) if deviation else math.inf
        if ratio >= _SCALE and abs(deviation - std) >= _SURE * error:
            yield f"channel {channel} has a deviation of {deviation:.3f} instead of {std:.3f}"


def _pixel_remedy(recipe: Recipe, split: str) -> Remedy:
    if split == "train":
        change = "Train anew: a training measures its images as they are now, and its model normalises by that."
        return Remedy(change, (f"seed={recipe.seed}",))
    change = "Prepare these images as the training images were. Where they cannot be had, train for other light:"
    if recipe.augment.brightness == 0:
        return Remedy(f"{change} vary the brightness.", ("augment.brightness=0.4",))
    return Remedy(f"{change} vary the contrast.", (f"augment.contrast={0.4 if recipe.augment.contrast == 0 else 0.8}",))


def _other_kind(case: Case) -> Iterator[Remark]:
    """Validation and test images that are not of one kind."""
    validation, test = case.scores.get("validation"), case.scores.get("test")
    if validation is None or test is None:
        return
    first, second = validation.accuracy, test.accuracy
    apart = first.low > second.high or second.low > first.high
    if not apart or abs(first.value - second.value) < _ANOTHER_KIND:
        return
    evidence = (
        f"The validation accuracy is {interval(first)} and the test accuracy {interval(second)}: farther apart than "
        "chance brings two samples of one kind of images."
    )
    change = (
        "Compare how both were made, sized and stored. Then divide anew: if another validation set agrees with the "
        "test, only the first was odd."
    )
    remedy = Remedy(change, (f"data.split_seed={case.recipe.data.split_seed + 1}",))
    yield Remark.of("preprocessing_mismatch", "warning", evidence, remedy)


def _unlike_recorded(case: Case) -> Iterator[Remark]:
    """The kept model answers the validation images worse now than in training."""
    validation = case.scores.get("validation")
    if validation is None or case.kept is None or "validation_accuracy" not in case.kept:
        return
    then, now = case.kept["validation_accuracy"], validation.accuracy.value
    if then - now < max(_RECORDED, _RECORDED_IMAGES / validation.n):
        return
    evidence = (
        f"In training, epoch {case.kept['epoch']:.0f} had {percent(then)} on the validation images; the same model on "
        f"the same images now has {percent(now)}."
    )
    if "fp32" in case.environment.get("plan", ""):
        change = "The pixels do not reach the model as they did. Train anew; it measures and keeps what they are now."
        remedy = Remedy(change, (f"seed={case.recipe.seed}",))
    else:
        change = "Train in fp32, in which models are judged and exported. If that changes nothing, the pixels do."
        remedy = Remedy(change, ("training.precision=fp32",))
    yield Remark.of("preprocessing_mismatch", "serious", evidence, remedy)
