"""`completed` and `fit_once`: the judged run of a recipe, whatever part of it is already there."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from eyebright.core.errors import EyebrightError, RunError
from eyebright.core.recipe import Recipe
from eyebright.data.image_set import Splits
from eyebright.data.load import located
from eyebright.models import registry
from eyebright.training.callbacks import Callback
from eyebright.training.fit import fit, judge, resume
from eyebright.training.run import Run


def completed(
    recipe: Recipe, folder: Path, images: Callable[[], Splits], *, callbacks: Sequence[Callback] | None = None
) -> Run:
    """The finished and judged run of `recipe` in `folder`: found there, continued exactly, or begun.

    After a crash or kill -9 the same call goes on where the last one stopped, and does nothing twice.

    Parameters
    ----------
    recipe : the choices.
    folder : of the run.
    images : gives the recipe's images; it is asked only when something is left to do.
    callbacks : watchers of the training; default: a progress bar.

    Raises
    ------
    RunError : the folder holds the run of another recipe, or the images are others than it began with.
    ModelError, DivergedError, KeyboardInterrupt : as `fit`.
    """
    if (folder / "run.json").is_file():
        run = Run.open(folder, trust=True)  # the code that a custom model names is the caller's own
        _refuse_other_recipe(run, recipe)
        if run.status != "finished":
            resume(run, images(), callbacks=callbacks)
    else:
        run = fit(recipe, images(), folder=folder, callbacks=callbacks)
    if not run.scores:
        judge(run, images())
    return run


def known(recipe: Recipe, folder: Path) -> Run | None:
    """The finished and judged run of `recipe` in `folder`; None where there is none, or one of another recipe."""
    if not (folder / "run.json").is_file():
        return None
    try:
        run = Run.open(folder, trust=True)
        _refuse_other_recipe(run, recipe)
    except EyebrightError:
        return None
    return run if run.status == "finished" and run.scores else None


def fit_once(recipe: Recipe, splits: Splits, *, callbacks: Sequence[Callback] | None = None) -> Run:
    """`fit` and `judge` where that was not done yet: the same choices lead to the same run, below the current folder.

    The folder is `runs/NAME/once-CHOICES`, whose last part is a hash of all that the result depends on.

    Parameters
    ----------
    recipe : the choices.
    splits : the images, from `eyebright.load`.
    callbacks : watchers of the training; default: a progress bar.

    Raises
    ------
    RunError : the run was begun with other images.
    ModelError, DivergedError, KeyboardInterrupt : as `fit`.
    """
    choices = json.dumps(_choices(recipe), sort_keys=True).encode()
    folder = Path("runs") / recipe.name / f"once-{hashlib.blake2b(choices, digest_size=4).hexdigest()}"
    run = completed(recipe, folder, lambda: splits, callbacks=callbacks)
    run.check_data(splits)
    return run


def _refuse_other_recipe(run: Run, recipe: Recipe) -> None:
    # As `fit` has it; the run itself needs the files of pretrained weights no more.
    begun_now = dataclasses.replace(recipe, model=registry.resolved(recipe.model))
    if _choices(run.recipe) != _choices(begun_now):
        raise RunError(
            f"{run.path} was begun with another recipe than {recipe.name} is now.",
            "Choose another folder, or remove this one to run it anew.",
        )


def _choices(recipe: Recipe) -> dict[str, Any]:
    """Without the place of the data: it may be another now, and their fingerprint says whether they are the same."""
    return dataclasses.replace(recipe, data=dataclasses.replace(located(recipe.data), root=None)).choices
