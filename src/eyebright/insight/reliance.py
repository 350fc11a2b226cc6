"""`reliance`: how much of the accuracy hangs on a region of the images, so that "it looks at the blue" is a number.

The region is the most salient part of activation maps, or one that the caller marks, such as the background. It is
replaced by the mean colour of the data, and the accuracy falls. Whatever is hidden makes it fall, so the same regions
moved to random places are hidden too (see `salience`), and what counts is how much more the region costs than they do.

All falls are paired differences of proportions, see `eyebright.evaluation.intervals`.
"""

from __future__ import annotations

import dataclasses
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray

from eyebright.core.device import Plan, choose
from eyebright.core.errors import DataError, EyebrightError
from eyebright.core.randomness import stream
from eyebright.data.image_set import ImageSet
from eyebright.evaluation.intervals import paired_difference, proportion
from eyebright.evaluation.predict import predict
from eyebright.evaluation.score import Score
from eyebright.insight import salience
from eyebright.insight.activation_maps import ActivationMaps
from eyebright.insight.subject import Subject, studied
from eyebright.models.classifier import Classifier

_NAME_WIDTH = 20  # characters of a class name in the printed table


@final
@dataclasses.dataclass(frozen=True)
class ClassReliance:
    """What masking does to the images of one class, or to all.

    Attributes
    ----------
    name : of the class.
    n : images of it.
    accuracy : of the images as they are.
    most, least, random : with the most salient pixels masked, the least salient ones, and as many as the most
        salient ones and of their shape elsewhere.
    most_drop, least_drop, random_drop : how far those are below `accuracy`.
    excess : how much more masking the most salient pixels costs than masking elsewhere, `most_drop - random_drop`.
    """

    name: str
    n: int
    accuracy: Score
    most: Score
    least: Score
    random: Score
    most_drop: Score
    least_drop: Score
    random_drop: Score
    excess: Score


@final
@dataclasses.dataclass(frozen=True)
class Reliance:
    """How much accuracy hangs on a region.

    Attributes
    ----------
    region : what the maps are: "grad_cam at body.stage4", or "the given maps".
    share : of the pixels that is masked, 0..1.
    trusted : whether the maps passed their checks; None where they were not checked.
    overall : of all images.
    per_class : of each class that has images.
    """

    region: str
    share: float
    trusted: bool | None
    overall: ClassReliance
    per_class: tuple[ClassReliance, ...]

    def __repr__(self) -> str:
        doubt = {True: "", None: ", unchecked", False: ", NOT TO BE TRUSTED"}[self.trusted]
        width = min(_NAME_WIDTH, max(len(row.name) for row in (self.overall, *self.per_class)))
        lines = [
            f"What masking {self.share:.0%} of the pixels takes off the accuracy, by {self.region}{doubt}",
            f"  {'':<{width}}  accuracy  {'most salient':<22}  {'least salient':<22}  {'moved at random':<22}  images",
        ]
        for row in (self.overall, *self.per_class):
            cells = "  ".join(f"{_text(score):<22}" for score in (row.most_drop, row.least_drop, row.random_drop))
            lines.append(f"  {row.name[:width]:<{width}}  {row.accuracy.value:>8.3f}  {cells}  {row.n:>6}")
        lines.append(f"  more than elsewhere: {self.overall.excess}")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """A dictionary that JSON can hold."""
        return dataclasses.asdict(self)


def reliance(  # noqa: PLR0913 - each has a default that serves
    model: Classifier,
    images: ImageSet,
    maps: ActivationMaps | NDArray[Any],
    *,
    share: float = 0.2,
    seed: int = 0,
    batch_size: int = 256,
    plan: Plan | None = None,
) -> Reliance:
    """Mask the most and the least salient pixels, and as many elsewhere, and measure the accuracy again.

    Parameters
    ----------
    model : given back as it was.
    images : with their labels.
    maps : of these images, in their order; or any (N, H, W), such as 1 on the background and 0 elsewhere.
    share : of the pixels of each image to mask, 0..1.
    seed : decides where the random regions lie.
    batch_size : images at a time; changes speed and memory, not the result (beyond rounding).
    plan : how to compute; default: this machine's, in fp32.

    Raises
    ------
    DataError : there are no images, or the maps are not theirs.
    EyebrightError : the share masks nothing or everything.
    """
    values = _values(maps, images)
    pixels = images.shape[0] * images.shape[1]
    masked = round(share * pixels)
    if not 0 < masked < pixels:
        raise EyebrightError(
            f"share={share} of {pixels} pixels masks {'nothing' if masked <= 0 else 'everything'}.",
            "Choose a share between 0 and 1, such as 0.2.",
        )
    plan = plan or choose(precision="fp32")
    predictions = predict(model, images, batch_size=batch_size, plan=plan)  # refuses images that do not fit
    places, elsewhere = salience.orders(values, stream("moved masks", seed))
    masks = {"most": places < masked, "least": places >= pixels - masked, "random": elsewhere < masked}
    with studied(model, plan) as subject:
        right = {kind: _right(subject, images, mask, batch_size) for kind, mask in masks.items()}  # (N,) each
    right["accuracy"] = predictions.correct
    labels = images.labels
    every = np.ones(len(images), dtype=np.bool_)
    return Reliance(
        region=f"{maps.method} at {maps.layer}" if isinstance(maps, ActivationMaps) else "the given maps",
        share=share,
        trusted=maps.trusted if isinstance(maps, ActivationMaps) else None,
        overall=_row("all", right, every),
        per_class=tuple(
            _row(name, right, labels == position)
            for position, name in enumerate(images.classes)
            if np.any(labels == position)
        ),
    )


def _values(maps: ActivationMaps | NDArray[Any], images: ImageSet) -> NDArray[np.float32]:
    """(N, H, W) float32."""
    if isinstance(maps, ActivationMaps) and not np.array_equal(maps.index, images.index):
        raise DataError("the maps are of other images.", "Pass the images that activation_maps explained.")
    values = np.asarray(maps.maps if isinstance(maps, ActivationMaps) else maps, dtype=np.float32)
    height, width, _ = images.shape
    if values.shape != (len(images), height, width) or not np.all(np.isfinite(values)):
        raise DataError(
            f"maps {values.shape} do not fit {len(images)} images of {height}x{width} pixels, or are not finite.",
            f"Give one number a pixel: ({len(images)}, {height}, {width}).",
        )
    return values


def _right(subject: Subject, images: ImageSet, masks: NDArray[np.bool_], batch_size: int) -> NDArray[np.bool_]:
    """(N,) whether each image is still recognised when its mask (N, H, W) has become the mean colour."""
    said = np.empty(len(images), dtype=np.int64)
    for part, x in subject.batches(images, batch_size):
        hidden = torch.from_numpy(masks[part]).to(x.device)[:, None]  # (B, 1, H, W)
        said[part] = subject.logits(x.masked_fill(hidden, 0)).argmax(dim=1).cpu().numpy()
    right: NDArray[np.bool_] = said == images.labels
    return right


def _row(name: str, right: dict[str, NDArray[np.bool_]], chosen: NDArray[np.bool_]) -> ClassReliance:
    own = {kind: values[chosen] for kind, values in right.items()}
    n = int(chosen.sum())
    return ClassReliance(
        name=name,
        n=n,
        **{kind: proportion(int(values.sum()), n) for kind, values in own.items()},
        **{f"{kind}_drop": drop(own["accuracy"], own[kind]) for kind in ("most", "least", "random")},
        excess=drop(own["random"], own["most"]),
    )


def drop(before: NDArray[np.bool_], after: NDArray[np.bool_]) -> Score:
    """How far the share of True fell from `before` to `after`, (N,) each, of the same images."""
    return paired_difference(int((before & ~after).sum()), int((~before & after).sum()), len(before))


def _text(score: Score) -> str:
    return f"{score.value:+.3f} [{score.low:+.3f}, {score.high:+.3f}]"
