"""The parts of `Findings`, each with the positions of its images in the predictions."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from eyebright.core.errors import EyebrightError
from eyebright.insight.thumbnails import Thumbnails

if TYPE_CHECKING:
    from eyebright.insight.activation_maps import ActivationMaps
    from eyebright.insight.embedding import Embedding


@dataclasses.dataclass(frozen=True)
class Missing:
    """A part that a report cannot show.

    Attributes
    ----------
    what : the part, such as "the images".
    cause, remedy : as of the error that kept it away.
    """

    what: str
    cause: str
    remedy: str

    @classmethod
    def of(cls, what: str, error: EyebrightError) -> Missing:
        """A part that an error kept away."""
        return cls(what, error.cause, error.remedy)


@dataclasses.dataclass(frozen=True, eq=False)
class ShownMaps:
    """Where the model looked, for the images that a reader will open first.

    Attributes
    ----------
    position : (n,) int64, positions in the predictions.
    images : (n, h, w) uint8, the maps at the resolution that they have; they are stretched over the image.
    classes : (n,) int64, the class that is explained: the predicted one.
    checked : maps of a fair sample of all images, made in the same way, with what the checks say of them.
    """

    position: NDArray[np.int64]
    images: NDArray[np.uint8]
    classes: NDArray[np.int64]
    checked: ActivationMaps


@dataclasses.dataclass(frozen=True, eq=False)
class NearestTraining:
    """The training images that the model finds most alike, for the same images.

    Attributes
    ----------
    position : (n,) int64, positions in the predictions.
    neighbour : (n, k) int64, positions in `thumbnails`, the nearest first.
    similarity : (n, k) float32, cosine of the features, -1..1.
    thumbnails : every training image that is among the nearest of some image, once.
    labels : (m,) int64, their classes.
    searched, of : training images that were compared, and how many there are.
    """

    position: NDArray[np.int64]
    neighbour: NDArray[np.int64]
    similarity: NDArray[np.float32]
    thumbnails: Thumbnails
    labels: NDArray[np.int64]
    searched: int
    of: int


@dataclasses.dataclass(frozen=True, eq=False)
class EmbeddedImages:
    """A map on which images lie close that the model finds alike.

    Attributes
    ----------
    position : (n,) int64, positions in the predictions.
    embedding : the points (n, 2) and how they were found.
    """

    position: NDArray[np.int64]
    embedding: Embedding


@dataclasses.dataclass(frozen=True, eq=False)
class Augmented:
    """The same few training images after one augmentation.

    Attributes
    ----------
    label : which, such as "flip" or "all of them".
    images : (n, h, w, C) uint8.
    """

    label: str
    images: NDArray[np.uint8]
