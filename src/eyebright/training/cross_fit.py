"""`cross_fit`: what models say of the images of a set, each asked only about images that it was not trained on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold

from eyebright.core.errors import DataError, RunError
from eyebright.core.recipe import Recipe
from eyebright.data.copies import digests
from eyebright.data.image_set import ImageSet, Splits
from eyebright.evaluation.predictions import Predictions
from eyebright.training.callbacks import Callback
from eyebright.training.completion import completed


def cross_fit(
    recipe: Recipe,
    images: ImageSet,
    folder: str | Path,
    *,
    folds: int = 4,
    groups: NDArray[np.int64] | None = None,
    callbacks: Sequence[Callback] | None = None,
) -> Predictions:
    """Divide the images into folds, train on all but one of them, ask about that one; for each fold in turn.

    Images of one group are in one fold, or a model would have seen the answer. The epoch is not chosen, the last
    model is asked, so that the labels that are asked about have decided nothing. A call that was interrupted goes on
    where it was, and one that was finished is read.

    Parameters
    ----------
    recipe : the choices of every training; its data settings are not used.
    images : the images.
    folder : of the runs, `fold-1` to `fold-N`.
    folds : how many trainings; with more of them each has more images.
    groups : (N,) int64, the same number for images that belong together: copies, frames of a film, one patient's;
        default: those of the same pixels. Copies that were changed a little: `DataFindings.pictures`.
    callbacks : watchers of the trainings; default: a progress bar.

    Returns
    -------
    The predictions of all images, in their order.

    Raises
    ------
    DataError : a class has too few groups for so many folds; or the groups are not those of the images.
    RunError : the folder holds runs of another recipe or of other images.
    """
    if groups is None:
        _, groups = np.unique(digests(images), return_inverse=True)
    elif groups.shape != images.labels.shape:
        raise DataError(f"groups of shape {groups.shape} are not those of {images}.", "Give one number an image.")
    fold = _folds(images, groups, folds, recipe.seed)
    logits = np.empty((len(images), len(images.classes)), np.float32)
    views = recipe.training.views
    for number in range(folds):
        asked = np.flatnonzero(fold == number)
        splits = Splits(images.take(fold != number), images.take([]), images.take(asked))
        run = completed(recipe, Path(folder) / f"fold-{number + 1}", _giving(splits), callbacks=callbacks)
        run.check_data(splits)
        said = run.predictions("test")
        if said is None:
            raise RunError(
                f"{run.path} has lost what it said of its images.", f"Ask again: eyebright evaluate {run.path}"
            )
        logits[asked] = said.logits
    return Predictions(logits, images.labels, images.index, images.classes, images.split, images.store.source, views)


def _giving(splits: Splits) -> Callable[[], Splits]:
    return lambda: splits


def _folds(images: ImageSet, groups: NDArray[np.int64], folds: int, seed: int) -> NDArray[np.int64]:
    """(N,) int64, the fold of each image: the same in a group, and stratified by the label of the group's first one."""
    _, first, group = np.unique(groups, return_index=True, return_inverse=True)
    labels = images.labels[first]  # (G,)
    counts = np.bincount(labels, minlength=len(images.classes))
    if folds < 2 or counts.min() < folds:
        rarest = images.classes[int(counts.argmin())]
        raise DataError(
            f"cannot divide {images} into {folds} folds: class {rarest!r} has {counts.min()} different images.",
            "Ask for 2 folds or more, and for no more than the images of the smallest class.",
        )
    fold = np.empty(len(first), np.int64)
    divided = StratifiedKFold(folds, shuffle=True, random_state=seed % 2**32).split(first, labels)
    for number, (_, asked) in enumerate(divided):
        fold[asked] = number
    return fold[group]
