"""`Findings`: what a report shows beyond the numbers, gathered from the model and the images.

Each part stands for itself: what cannot be had (a network has no convolution, an optional package is missing) is
named in `Findings.missing` with its cause, and the rest is there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from eyebright.core.errors import EyebrightError, RunError
from eyebright.data.image_set import ImageSet, Splits
from eyebright.data.progress import Progress
from eyebright.evaluation.predictions import Predictions
from eyebright.insight import thumbnails
from eyebright.insight.mistakes import mistakes
from eyebright.insight.parts import Augmented, EmbeddedImages, Missing, NearestTraining, ShownMaps
from eyebright.insight.thumbnails import Thumbnails

if TYPE_CHECKING:
    from eyebright.audit.case import Remark
    from eyebright.insight.inside import Filters, StageActivity
    from eyebright.insight.reliance import Reliance
    from eyebright.training.run import Run

_JUDGED = ("test", "validation", "train")  # the page is about the first of these that was predicted
_FEW = 1_000  # judged images: what takes longest, the map, takes two seconds for so many
_CHECKS = 5_000  # forward passes that the checks of the maps take, however few images there are
_LITTLE = 3e11  # multiply-adds: some seconds of two cores of 2025


@dataclasses.dataclass(frozen=True, eq=False)
class Findings:
    """What a report shows beyond the numbers. Whatever is None or empty was not asked for, or is in `missing`.

    Attributes
    ----------
    fingerprint : of the images that were judged.
    gallery : thumbnails of the judged images, the answers that the model was surest of first.
    maps, nearest, embedding : see their classes.
    reliance : how much each class hangs on what its maps mark, and on the rest of the image.
    filters : the kernels of the first layer.
    activity : a stage of the network each: channels that never answer, size of the answers.
    remarks : what the training doctor says with all this evidence; None where it could not be asked.
    augmented : what the recipe's augmentation makes of training images; the first row shows them as they are.
    missing : what could not be had, and why.
    """

    fingerprint: str = ""
    gallery: Thumbnails | None = None
    maps: ShownMaps | None = None
    nearest: NearestTraining | None = None
    embedding: EmbeddedImages | None = None
    reliance: Reliance | None = None
    filters: Filters | None = None
    activity: tuple[StageActivity, ...] = ()
    remarks: tuple[Remark, ...] | None = None
    augmented: tuple[Augmented, ...] = ()
    missing: tuple[Missing, ...] = ()

    def __repr__(self) -> str:
        fields = [field.name for field in dataclasses.fields(self) if field.name not in {"fingerprint", "missing"}]
        held = [name for name in fields if getattr(self, name) not in (None, ())]
        lacking = f"; missing: {', '.join(part.what for part in self.missing)}" if self.missing else ""
        return f"Findings({', '.join(held) or 'none'}{lacking})"


def findings(run: Run, splits: Splits, *, progress: Progress | None = None) -> Findings:
    """Gather what a report shows beyond the numbers: thumbnails, maps, neighbours, an embedding, filters.

    Parameters
    ----------
    run : whose best model was judged; `eyebright.judge` does that.
    splits : the images that the run began with, from `eyebright.load(run.recipe.data)`.
    progress : told what is being done.

    Raises
    ------
    RunError : the images are others than the run began with, or no split was judged.
    """
    from eyebright.insight import study  # torch is needed here, and not to read what was found

    splits = run.select(splits)
    run.check_data(splits)
    images, predictions = _judged(run, splits)
    gallery = shown_images(predictions)
    parts: dict[str, tuple[str, Callable[[], Any]]] = {
        "gallery": ("the images", lambda: thumbnails.shrink(images, gallery)),
        "augmented": ("the augmentation", lambda: study.augmented(splits.train, run.recipe.augment, run.recipe.seed)),
    }
    found, missing = _gathered(parts, progress)
    try:
        model = run.model
    except EyebrightError as error:
        missing.append(Missing.of("what needs the model", error))
    else:
        studied = study.Study(model, images, splits.train, predictions, gallery, progress)
        of_model, not_of_model = _gathered(studied.parts(), progress)
        doctor = {"remarks": ("the training doctor", lambda: _remarks(run, splits, of_model))}
        asked, unasked = _gathered(doctor, progress)
        found, missing = found | of_model | asked, missing + not_of_model + unasked
    return Findings(fingerprint=images.fingerprint, missing=tuple(missing), **found)


def affordable(run: Run, splits: Splits) -> bool:
    """Whether `findings` takes some seconds only, so that a training can end with them unasked."""
    from eyebright.models.profile import profile

    judged, images = len(splits.test) or len(splits.validation), sum(map(len, splits))
    return judged <= _FEW and (images + _CHECKS) * profile(run.model).multiply_adds <= _LITTLE


def _judged(run: Run, splits: Splits) -> tuple[ImageSet, Predictions]:
    """The split that a report is about, and what the model said of it."""
    parts = {part.split: part for part in splits}
    for split in _JUDGED:
        predictions = run.predictions(split)
        if predictions is not None and len(predictions):
            return parts[split][predictions.index], predictions  # of training images only a sample was judged
    raise RunError(f"{run.path} has no predictions yet.", f"Make them: eyebright evaluate {run.path}")


def _remarks(run: Run, splits: Splits, found: Mapping[str, Any]) -> tuple[Remark, ...]:
    from eyebright.audit.training_doctor import examine

    return examine(run, splits, activity=found.get("activity", ()))


def _gathered(
    parts: Mapping[str, tuple[str, Callable[[], Any]]], progress: Progress | None
) -> tuple[dict[str, Any], list[Missing]]:
    """Each part by its name, as far as it can be had; what cannot, with its cause."""
    found, missing = {}, []
    for name, (what, gather) in parts.items():
        if progress is not None:
            progress(what, 0, 1)
        try:
            found[name] = gather()
        except EyebrightError as error:
            missing.append(Missing.of(what, error))
        if progress is not None:
            progress(what, 1, 1)
    return found, missing


def shown_images(predictions: Predictions) -> NDArray[np.int64]:
    """Positions of the images on the page, the answers that the model was surest of first.

    All of them, if they have room; else the surest mistakes, and right answers of every confidence.
    """
    listed = mistakes(predictions)
    order = np.argsort(-listed.confidence, kind="stable")  # (N,)
    most = thumbnails.most()
    if len(order) <= most:
        return order
    right = predictions.correct[order]
    wrong = order[~right][: most // 2]
    rest = most - len(wrong)
    chosen = np.zeros(len(order), dtype=np.bool_)
    chosen[wrong] = True
    chosen[thumbnails.evenly(order[right], rest)] = True
    return order[chosen[order]]
