"""What is made of a model and its images for a report: maps, neighbours, an embedding, what is inside.

How much is looked at follows from what the model costs, so that a large network does not take an hour where a small
one takes seconds.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray

from eyebright.core.device import choose
from eyebright.core.settings.augment import AugmentSettings
from eyebright.data.augment import augment
from eyebright.data.image_set import ImageSet
from eyebright.data.operations.portion import Portion
from eyebright.data.progress import Progress
from eyebright.evaluation.predictions import Predictions
from eyebright.insight import thumbnails
from eyebright.insight.activation_maps import ActivationMaps, activation_maps
from eyebright.insight.embedding import embed
from eyebright.insight.inside import StageActivity, activity, first_filters
from eyebright.insight.layers import spatial_layers
from eyebright.insight.mistakes import mistakes
from eyebright.insight.neighbours import features, nearest
from eyebright.insight.parts import Augmented, EmbeddedImages, NearestTraining, ShownMaps
from eyebright.insight.reliance import Reliance, reliance
from eyebright.insight.subject import studied
from eyebright.models.classifier import Classifier
from eyebright.models.profile import profile

_WORK = 2.4e12  # multiply-adds of one part: some ten seconds of two cores of 2025
_MAP_COST = 4  # forward passes that one map takes
_WITH_LAYER, _WITHOUT_LAYER = "grad_cam", "integrated_gradients"
_CHECK_COST = 10  # with its share of the checks, and of those of what a class hangs on
_MAP_PIXELS = 20_000_000  # of maps in memory at a time: their order takes some tens of bytes a pixel
_SAMPLED = (100, 1_000)  # images of the fair sample: fewest and most
_EXPLAINED = (64, 800)  # images with a map and neighbours: fewest and most; a reader opens some dozens
_RIGHT_SHARE = 5  # one in so many of them is a right answer
_SEARCHED = (2_000, 100_000)  # training images among which the nearest are sought: fewest and most
_EMBEDDED = 2_000  # images on the map: more take t-SNE minutes and cover each other
_WATCHED = 1_000  # images over which a channel must be silent to be called dead
_NEIGHBOURS = 4
_NEIGHBOUR_PIXELS = 4_000_000  # of all their thumbnails
_MAP_EDGE = 16  # pixels of a map on the page; those of the usual methods have no finer detail
_AUGMENTED, _AUGMENTED_EDGE = 8, 96  # images a row, pixels


@final
@dataclasses.dataclass(frozen=True, eq=False)
class Study:
    """One model and its judged images, from which the parts of a report are made.

    Attributes
    ----------
    model : whose findings they are.
    images, predictions : that were judged.
    train : that it learned from.
    gallery : (n,) positions of the images on the page.
    progress : told what is being done.
    """

    model: Classifier
    images: ImageSet
    train: ImageSet
    predictions: Predictions
    gallery: NDArray[np.int64]
    progress: Progress | None

    def parts(self) -> dict[str, tuple[str, Callable[[], Any]]]:
        """Name of each part in `Findings`, what it is called, and how it is made."""
        return {
            "maps": ("where the model looked", self._maps),
            "reliance": ("what each class hangs on", self._reliance),
            "nearest": ("the nearest training images", self._nearest),
            "embedding": ("the map of the images", self._embedding),
            "filters": ("the filters of the first layer", lambda: first_filters(self.model)),
            "activity": ("the activity of the stages", self._activity),
        }

    @functools.cached_property
    def _forwards(self) -> int:
        """Images that one part may send through the model."""
        return int(_WORK / max(1, profile(self.model).multiply_adds))

    @functools.cached_property
    def _explained(self) -> NDArray[np.int64]:
        """Positions of the images that get a map and neighbours."""
        height, width, _ = self.images.shape
        most = min(self._forwards // _MAP_COST, _MAP_PIXELS // (height * width))
        return telling(self.predictions, self.gallery, _within(most, _EXPLAINED))

    @functools.cached_property
    def _checked(self) -> ActivationMaps:
        """Maps of a fair sample of all images: most of the explained ones are mistakes, which would bias a check."""
        height, width, _ = self.images.shape
        most = min(self._forwards // _CHECK_COST, _MAP_PIXELS // (height * width))
        sample = self.images.take(thumbnails.evenly(np.arange(len(self.images)), _within(most, _SAMPLED)))
        with studied(self.model, choose(precision="fp32")) as subject:
            has_layers = bool(spatial_layers(subject))
        # An MLP has no layer that gives a map: the page names the method that needs none.
        method = _WITH_LAYER if has_layers else _WITHOUT_LAYER
        return activation_maps(self.model, sample, method=method)

    def _maps(self) -> ShownMaps:
        layer = None if self._checked.layer == "input" else self._checked.layer
        images, predicted = self.images.take(self._explained), self.predictions.predicted[self._explained]
        made = activation_maps(
            self.model, images, method=self._checked.method, classes=predicted, layer=layer, check=False
        )
        whole = np.rint(255 * made.maps).astype(np.uint8)[..., None]  # (n, H, W, 1)
        size = (min(_MAP_EDGE, whole.shape[1]), min(_MAP_EDGE, whole.shape[2]))
        return ShownMaps(self._explained, thumbnails.resized(whole, size)[..., 0], predicted, self._checked)

    def _reliance(self) -> Reliance:
        return reliance(self.model, self._checked.images, self._checked)

    def _nearest(self) -> NearestTraining:
        searched = thumbnails.evenly(np.arange(len(self.train)), _within(self._forwards, _SEARCHED))
        reference = self.train.take(searched)
        query = features(self.model, self.images.take(self._explained), progress=self.progress)
        known = features(self.model, reference, progress=self.progress)
        found = nearest(query, known, min(_NEIGHBOURS, len(reference)))
        shown, place = np.unique(found.position, return_inverse=True)
        return NearestTraining(
            position=self._explained,
            neighbour=place.reshape(found.position.shape),
            similarity=found.similarity,
            thumbnails=thumbnails.shrink(reference, shown, pixels=_NEIGHBOUR_PIXELS),
            labels=reference.labels[shown],
            searched=len(reference),
            of=len(self.train),
        )

    def _embedding(self) -> EmbeddedImages:
        position = thumbnails.evenly(np.sort(self.gallery), _EMBEDDED)
        found = features(self.model, self.images.take(position), progress=self.progress)
        return EmbeddedImages(position, embed(found, "tsne"))

    def _activity(self) -> tuple[StageActivity, ...]:
        watched = thumbnails.evenly(np.arange(len(self.images)), _WATCHED)
        return activity(self.model, self.images.take(watched), progress=self.progress)


def telling(predictions: Predictions, among: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Positions (n,), rising, of `count` images at most that a reader will want to understand.

    Four in five are mistakes: the surest of each kind (class, and class that it was taken for) first, then the second
    surest of each, and so on, so that rare kinds are there too. The others are right answers, the least sure of each
    class first. Where there are too few of one, the other fills up.

    Parameters
    ----------
    predictions : what the model said.
    among : (m,) positions to choose from.
    count : how many.
    """
    confidence = mistakes(predictions).confidence[among]
    kind = predictions.labels[among] * len(predictions.classes) + predictions.predicted[among]
    right = predictions.correct[among]
    wrong_order = _in_turn(among[~right], kind[~right], -confidence[~right])
    right_order = _in_turn(among[right], kind[right], confidence[right])
    rights = min(len(right_order), max(count // _RIGHT_SHARE, count - len(wrong_order)))
    return np.sort(np.concatenate([wrong_order[: count - rights], right_order[:rights]]))


def _in_turn(position: NDArray[np.int64], kind: NDArray[np.int64], key: NDArray[np.float64]) -> NDArray[np.int64]:
    """`position` (n,) with the first of each kind (n,) by its key (n,) in front, then the second of each, and so on."""
    by_kind = np.lexsort((key, kind))  # the last key sorts first
    _, starts, sizes = np.unique(kind[by_kind], return_index=True, return_counts=True)
    turn = np.arange(len(kind)) - np.repeat(starts, sizes)  # which of its kind each is
    return position[by_kind[np.lexsort((key[by_kind], turn))]]


def augmented(train: ImageSet, settings: AugmentSettings, seed: int) -> tuple[Augmented, ...]:
    """A row an operation that is on, by itself, and one with all of them; empty where there is none."""
    on = {field: value for field, value in dataclasses.asdict(settings).items() if value}
    if not on or not len(train):
        return ()
    images = train.take(thumbnails.evenly(np.arange(len(train)), _AUGMENTED))
    rows = [(_operation(field, value), AugmentSettings(**{field: value})) for field, value in on.items()]
    if len(on) > 1:
        rows.append(("all of them", settings))
    pixels = torch.tensor(images.images).permute(0, 3, 1, 2)  # (n, C, H, W)
    labels, which = torch.from_numpy(images.labels), Portion(rows=images.index)
    shown = [Augmented("as they are", _small(pixels))]
    for label, chosen in rows:
        made, _ = augment(pixels, labels, chosen, classes=len(train.classes), place=(seed, 0, 0), portion=which)
        shown.append(Augmented(label, _small(made)))
    return tuple(shown)


def _operation(field: str, value: Any) -> str:
    """An augmentation in words: "flip", "crop 4", "coarse dropout 8"."""
    name = field.replace("_", " ")
    if value is True or field == "pipeline":
        return name
    return f"{name} {value:g}" if isinstance(value, int | float) else f"{name} {value}"


def _small(images: torch.Tensor) -> NDArray[np.uint8]:
    """Images (n, C, H, W) as thumbnails (n, h, w, C) uint8."""
    whole = images.round().to(torch.uint8).permute(0, 2, 3, 1).numpy()  # (n, H, W, C)
    factor = min(1.0, _AUGMENTED_EDGE / max(whole.shape[1:3]))
    return thumbnails.resized(whole, (max(1, round(whole.shape[1] * factor)), max(1, round(whole.shape[2] * factor))))


def _within(wanted: int, limits: tuple[int, int]) -> int:
    return min(max(wanted, limits[0]), limits[1])
