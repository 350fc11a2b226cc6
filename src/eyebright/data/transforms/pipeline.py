"""`Pipeline`: transforms of Albumentations and torchvision, as `augment.pipeline` of a recipe lists them.

An entry names a class by `_target_`, as Hydra does, and gives its arguments, which may hold further transforms; sizes
may be shares of the image's:

    - _target_: albumentations.OneOf
      transforms:
        - _target_: albumentations.HorizontalFlip
        - {_target_: albumentations.CropAndPad, px: 10% of width}

Only transforms of these two libraries are ever made, so that a recipe from a stranger can run no code of its own.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import functools
import json
import logging
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from eyebright.core.errors import RecipeError, nearest
from eyebright.data.transforms.albumentations_library import Albumentations
from eyebright.data.transforms.library import Draws, Library, Transform
from eyebright.data.transforms.torchvision_library import Torchvision

_logger = logging.getLogger("eyebright")

_LIBRARIES: tuple[Library, ...] = (Albumentations(), Torchvision())

# Images that a new pipeline is tried on: what a transform does to every other image goes unseen once in 256 times.
_TRIALS = 8

# Pipelines that are kept built, each for one size of images: a training needs one.
_KEPT = 16

_SHARE = re.compile(r"(\d+(?:\.\d+)?) ?% of (height|width)")

# Arguments of Albumentations' Compose that are about boxes, points and further images.
_TARGETS = ("bbox_params", "keypoint_params", "additional_targets")

Shape = tuple[int, int, int]  # height, width, channels


@dataclasses.dataclass(frozen=True)
class Step:
    """One transform of a pipeline.

    Attributes
    ----------
    name : where it stands in the recipe, and its class.
    library : that it is of.
    transform : itself.
    """

    name: str
    library: Library
    transform: Transform


@final
class Pipeline:
    """Transforms one after the other, image by image; any number of threads may use it at once.

    Parameters
    ----------
    steps : the transforms.
    left_out : classes at the end of the recipe's list whose work the model does.
    """

    def __init__(self, steps: Sequence[Step], left_out: Sequence[str]) -> None:
        self.steps = steps
        self.left_out = left_out
        self._own = threading.local()  # transforms of Albumentations hold their generators

    def __call__(self, pixels: NDArray[np.uint8], seeds: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Transform images.

        Parameters
        ----------
        pixels : (B, H, W, C) uint8, left as they are.
        seeds : (B,), each decides all that is random about its image.

        Raises
        ------
        RecipeError : a transform fails, or the images come out in another size or type; it names the transform.
        """
        made = np.empty_like(pixels)
        with contextlib.ExitStack() as running:
            for library in {step.library for step in self.steps}:
                running.enter_context(library.running())
            for source, target, seed in zip(pixels, made, seeds, strict=True):
                target[:] = self._transformed(source.copy(), Draws(int(seed)))
        return made

    def _transformed(self, image: NDArray[np.uint8], draws: Draws) -> NDArray[np.uint8]:
        wanted, changed_by = _kind(image), None
        current: Any = image
        for step, transform in zip(self.steps, self._transforms(), strict=True):
            before = _kind(current)
            try:
                current = step.library.apply(transform, current, draws)
            except Exception as error:  # whatever a library raises when an image does not suit it
                raise RecipeError(
                    f"{step.name} fails on an image of {before}: {_complaint(error)}",
                    "Change its arguments, or leave it out.",
                ) from error
            if _kind(current) != before:
                changed_by = step
            if not (isinstance(current, np.ndarray) and current.ndim == image.ndim):
                break  # no other transform could go on from that
        if changed_by is not None and _kind(current) != wanted:
            raise RecipeError(
                f"{changed_by.name} gives {_kind(current)}, but the images are {wanted}.",
                "The last transform must give the size, the channels and the uint8 that the first one got: add "
                "a crop to 100% of height and 100% of width; normalising is for the model.",
            )
        return current  # type: ignore[no-any-return]  # it is of the wanted kind

    def _transforms(self) -> list[Transform]:
        """This thread's own copies."""
        if not hasattr(self._own, "transforms"):
            self._own.transforms = copy.deepcopy([step.transform for step in self.steps])
        transforms: list[Transform] = self._own.transforms
        return transforms


def pipeline(entries: Sequence[Mapping[str, Any]], shape: Shape) -> Pipeline:
    """Build `augment.pipeline` for images (H, W, C) of `shape`, and try it.

    A `Compose` in the list stands for what it holds. Classes at the end of the list whose work the model does are
    left out.

    Raises
    ------
    MissingExtraError : a library is not installed.
    RecipeError : an entry names no transform of the libraries, its arguments do not fit, or it fails in the trial.
    """
    return _built(json.dumps(entries), shape)


def check(entries: Sequence[Mapping[str, Any]], shape: Shape) -> None:
    """Before a training: build and try what `pipeline` will, and say what is left out. Raises what `pipeline` does."""
    left_out = pipeline(entries, shape).left_out if entries else ()
    if left_out:
        _logger.info(
            f"augment.pipeline: {' and '.join(left_out)} at its end left out: the model normalises images itself."
        )


@functools.lru_cache(maxsize=_KEPT)
def _built(entries: str, shape: Shape) -> Pipeline:
    found = list(_flat(json.loads(entries), "augment.pipeline"))
    left_out: list[str] = []
    while found and found[-1].chosen.__name__ in found[-1].library.endings:
        left_out.insert(0, found.pop().chosen.__name__)
    made = Pipeline([Step(entry.name, entry.library, entry.transform(shape)) for entry in found], left_out)
    noise = np.random.default_rng(0).integers(0, 256, (1, *shape), dtype=np.uint8)
    for seed in range(_TRIALS):
        made(noise, np.array([seed]))
    return made


def _flat(entries: Sequence[Any], place: str) -> Iterator[_Entry]:
    """The entries of a list, with those that a `Compose` holds in its stead."""
    for position, given in enumerate(entries):
        entry = _Entry.of(given, f"{place}[{position}]")
        inner = entry.arguments.get("transforms")
        # Other arguments, such as a probability, say more than to do one after the other.
        if entry.chosen.__name__ == "Compose" and entry.arguments.keys() == {"transforms"} and isinstance(inner, list):
            yield from _flat(inner, f"{entry.place}.transforms")
        else:
            yield entry


@final
@dataclasses.dataclass(frozen=True)
class _Entry:
    """What a recipe says of one transform: its class, and its arguments as they are written."""

    place: str
    library: Library
    chosen: type
    arguments: Mapping[str, Any]

    @classmethod
    def of(cls, given: Any, place: str) -> _Entry:
        target = given.get("_target_") if isinstance(given, dict) else None
        if not isinstance(target, str):
            raise RecipeError(f"{place} names no transform.", "Write _target_: albumentations.HorizontalFlip, say.")
        library = next((each for each in _LIBRARIES if target.startswith(f"{each.namespace}.")), None)
        if library is None:
            raise RecipeError(
                f"{place}: {target!r} is none of the transforms that a recipe may name.",
                f"They are those of {' and '.join(each.namespace for each in _LIBRARIES)}; no other code is run.",
            )
        path, _, name = target.rpartition(".")
        classes = library.classes()
        chosen = classes.get(name)
        if chosen is None or not f"{chosen.__module__}.".startswith(f"{path}."):
            raise RecipeError(f"{place}: {library.namespace} has no transform {target!r}.", nearest(name, classes))
        return cls(place, library, chosen, {key: value for key, value in given.items() if key != "_target_"})

    @property
    def name(self) -> str:
        return f"{self.place} ({self.library.namespace}.{self.chosen.__name__})"

    def transform(self, shape: Shape) -> Transform:
        if asked := [name for name in _TARGETS if self.arguments.get(name)]:
            raise RecipeError(
                f"{self.name} asks for {asked[0]}, but a classifier's images have nothing beside them.",
                f"Leave {asked[0]} away.",
            )
        arguments = {key: self._argument(value, f"{self.place}.{key}", shape) for key, value in self.arguments.items()}
        try:
            return self.library.build(self.chosen, arguments)
        except Exception as error:  # whatever a library raises about arguments
            raise RecipeError(f"{self.name} cannot be made: {_complaint(error)}", "Mend its arguments.") from error

    def _argument(self, value: Any, place: str, shape: Shape) -> Any:
        """An argument with transforms and shares of the image in their places, at any depth."""
        if isinstance(value, list):
            return [self._argument(each, f"{place}[{position}]", shape) for position, each in enumerate(value)]
        if isinstance(value, dict) and "_target_" in value:
            inner = _Entry.of(value, place)
            if inner.library is not self.library:
                raise RecipeError(f"{inner.name} cannot stand inside {self.name}.", "Put it beside that in the list.")
            return inner.transform(shape)
        if isinstance(value, dict):
            return {key: self._argument(each, f"{place}.{key}", shape) for key, each in value.items()}
        return _pixels(value, place, shape) if isinstance(value, str) and "%" in value else value


def _pixels(share: str, place: str, shape: Shape) -> int:
    """A share of the image's height or width, such as "110% of height", in whole pixels."""
    found = _SHARE.fullmatch(share.strip())
    if found is None:
        raise RecipeError(f"{place}={share!r} is no share of the image.", "Write 110% of height, or 110% of width.")
    side = shape[0] if found[2] == "height" else shape[1]
    return round(float(found[1]) * side / 100)


def _kind(image: Any) -> str:
    if not isinstance(image, np.ndarray):
        return f"a {type(image).__name__}"
    return f"{'x'.join(map(str, image.shape))} {image.dtype}"


def _complaint(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
