"""Which recipes suit given images, from the quickest to the one that is best where there is time."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eyebright.core.recipe import Recipe, recipe
from eyebright.data.sources.base import SOURCES
from eyebright.training.suggest import suggest


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A recipe that may be chosen.

    Attributes
    ----------
    recipe : as it is in the book.
    steps : of the optimiser, below which a quicker candidate does better.
    """

    recipe: Recipe
    steps: int = 1


@dataclasses.dataclass(frozen=True)
class _Entry:
    """A candidate before it is composed."""

    recipe: str
    steps: int
    changes: Mapping[str, Any] = dataclasses.field(default_factory=dict)


# The steps are those of a few epochs on the data sets by which the recipes were made: 2 of the quick ones and of
# ladder_cnn by Muon, 8 of the others; 4 of speed94 and emotions/cnn, whose epochs are short of steps.
_SMALL = (_Entry("folder/small_fast", 300), _Entry("folder/small", 1500), _Entry("folder/small_deep", 3500))
_PHOTOS = (
    _Entry("folder/photos", 500, {"data.size": 64, "augment.crop": 8, "augment.cutout": 16}),
    _Entry("folder/photos", 1500),
    _Entry("folder/photos", 3000, {"data.size": 160, "augment.crop": 20, "augment.cutout": 40}),
)
_KNOWN = {
    "digits": (_Entry("digits/cnn", 100),),
    "mnist": (_Entry("mnist/regularized_cnn", 400),),
    "fashion_mnist": (_Entry("fashion_mnist/regularized_cnn", 400),),
    "cifar10": (
        _Entry("cifar10/regularized_cnn_fast", 350),
        _Entry("cifar10/ladder_cnn", 350),
        _Entry("cifar10/speed94", 130),
    ),
    "stl10": (_Entry("stl10/ladder_cnn", 500),),
    "emotions": (_Entry("emotions/mlp", 900), _Entry("emotions/cnn", 180)),
}


def is_images(what: str) -> bool:
    """Whether `what` names images, and not a recipe."""
    return what in SOURCES or Path(what).is_dir() or Path(what).suffix.lower() == ".zip"


def candidates(what: str, overrides: Sequence[str], changes: Mapping[str, Any]) -> tuple[tuple[Candidate, ...], str]:
    """What may be chosen, quick ones first, and the reason as a sentence.

    Parameters
    ----------
    what : images (see `is_images`), or a recipe, which then is the only candidate.
    overrides, changes : of all of them, as in `eyebright.recipe`.

    Raises
    ------
    RecipeError : there is no such recipe or field.
    DataError : there is no image that can be read.
    """
    if not is_images(what):
        return (Candidate(recipe(what, overrides, **changes)),), f"{what} is given; its epochs are to be chosen."
    if what in SOURCES:
        entries, place = _KNOWN.get(what, _SMALL), {"data.source": what}
        reason = f"{what} is known."
    else:
        suggestion = suggest(Path(what))
        entries = _SMALL if suggestion.recipe == "folder/small" else _PHOTOS
        place, reason = {"data.source": str(Path(what).resolve())}, f"{suggestion.seen}."
    found = (
        Candidate(recipe(entry.recipe, overrides, **{**entry.changes, **place, **changes}), entry.steps)
        for entry in entries
    )
    return tuple(found), reason
