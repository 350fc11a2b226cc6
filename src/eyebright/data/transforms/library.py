"""What Eyebright asks of a library of transforms: its classes, and to run one on one image."""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import functools
import random
from collections.abc import Mapping
from typing import Any, ClassVar, final

import numpy as np
import torch
from numpy.typing import NDArray

# A transform of any library, built. They share no base.
Transform = Any


@final
@dataclasses.dataclass(frozen=True)
class Draws:
    """The random numbers of one image, in every kind that a library asks for; all begin at `seed`."""

    seed: int

    @functools.cached_property
    def numpy(self) -> np.random.Generator:
        return np.random.default_rng(self.seed)

    @functools.cached_property
    def python(self) -> random.Random:
        return random.Random(self.seed)  # noqa: S311 (no secret depends on it)

    @functools.cached_property
    def torch(self) -> torch.Generator:
        return torch.Generator().manual_seed(self.seed)


class Library(abc.ABC):
    """A library of transforms.

    Attributes
    ----------
    namespace : below which its classes are named in a recipe.
    endings : classes that notebooks end with and that the model does itself: normalisation, conversion to a tensor.
    """

    namespace: ClassVar[str]
    endings: ClassVar[frozenset[str]]

    @abc.abstractmethod
    def classes(self) -> Mapping[str, type]:
        """Its transforms by name, the only classes that a recipe can have made.

        Raises
        ------
        MissingExtraError : it is not installed.
        """

    def build(self, chosen: type, arguments: Mapping[str, Any]) -> Transform:
        """One transform; raises whatever the library raises about its arguments."""
        return chosen(**arguments)

    @abc.abstractmethod
    def apply(self, transform: Transform, image: NDArray[Any], draws: Draws) -> Any:
        """What `transform` makes of one image (H, W, C), with no other randomness than `draws`.

        An array (H', W', C'), if all is well: the caller looks. The image may be overwritten.
        """

    def running(self) -> contextlib.AbstractContextManager[None]:
        """A context around many calls of `apply`."""
        return contextlib.nullcontext()
