"""What a model takes to be alike: the training images whose features are nearest to those of an image.

A mistake is often explained by its neighbours: "wrong because it looks like these three". The idea is that of deep
k-nearest neighbours (Papernot and McDaniel 2018, arXiv:1803.04765), at the last layer only, by cosine similarity.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eyebright.core.device import Plan, choose
from eyebright.core.errors import DataError
from eyebright.data.batches import Batches
from eyebright.data.image_set import ImageSet
from eyebright.data.progress import Progress
from eyebright.evaluation.predict import lent
from eyebright.models.classifier import Classifier

# Rows that are compared at a time: 1024 x 4096 similarities are 32 MB. Of the feature matrices only these rows are
# ever held in float64, so memory does not grow with the number of images.
_QUERIES, _REFERENCES = 1024, 4096

# Similarities are counted in steps of 1e-9, those that agree to a step being ties. The sums of products err by 1e-13
# in float64, and float32 features of one image by less than a step when they come from batches of other sizes.
_STEP = 2.0**-30


@dataclasses.dataclass(frozen=True, eq=False)
class Neighbours:
    """For each of n queries its k nearest references, the most similar first.

    Attributes
    ----------
    position : (n, k) int64, rows of the reference.
    similarity : (n, k) float32, cosine in -1..1; 1 for the same features.
    """

    position: NDArray[np.int64]
    similarity: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.position)

    def __repr__(self) -> str:
        return f"Neighbours({len(self)} queries, {self.position.shape[1]} each)"


@dataclasses.dataclass(frozen=True, eq=False)
class LookAlikes:
    """Images, and for each the most similar ones of a reference, such as the training images.

    Attributes
    ----------
    images : the n images that were asked for.
    reference : where the similar ones come from.
    neighbours : positions in `reference` and similarities.
    """

    images: ImageSet
    reference: ImageSet
    neighbours: Neighbours

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        k, source = self.neighbours.position.shape[1], self.reference.store.source
        return (
            f"LookAlikes({len(self)} images of {self.images.split}, each with {k} of {source} {self.reference.split})"
        )

    def of(self, number: int) -> ImageSet:
        """The k reference images that are most similar to image `number`, the most similar first."""
        return self.reference.take(self.neighbours.position[number])

    @property
    def index(self) -> NDArray[np.int64]:
        """(n, k) int64, rows of the reference's source."""
        return self.reference.index[self.neighbours.position]

    @property
    def labels(self) -> NDArray[np.int64]:
        """(n, k) int64, classes of the similar images."""
        return self.reference.store.labels[self.index]

    @functools.cached_property
    def duplicate(self) -> NDArray[np.bool_]:
        """(n, k) whether the similar image is the very same, pixel by pixel."""
        return np.array(
            [
                (self.of(number).images == self.images.take([number]).images).all(axis=(1, 2, 3))
                for number in range(len(self))
            ]
        ).reshape(self.neighbours.position.shape)

    def captions(self, number: int) -> list[str]:
        """(k,) class and similarity of each image of `of(number)`: "cat 0.97"; "cat, same pixels" of a duplicate."""
        similar = zip(self.labels[number], self.neighbours.similarity[number], self.duplicate[number], strict=True)
        names = self.reference.classes
        return [
            f"{names[label]}, same pixels" if same else f"{names[label]} {similarity:.2f}"
            for label, similarity, same in similar
        ]


def features(
    model: Classifier,
    images: ImageSet,
    *,
    batch_size: int = 500,
    plan: Plan | None = None,
    progress: Progress | None = None,
) -> NDArray[np.float32]:
    """Features (N, F) float32 of `images`, in their order: what goes into the head. The model is given back as it was.

    Parameters
    ----------
    model : on any device, in training or evaluation mode.
    images : of the model's size and channels; their classes may be others.
    batch_size : images at a time; changes speed and memory, not the result (beyond rounding).
    plan : how to compute; default: this machine's, in fp32.
    progress : called as `progress("features test", done, total)` in images.

    Raises
    ------
    DataError : there are no images.
    ModelError : the images have another size than the model's.
    """
    if len(images) == 0:
        raise DataError(
            f"the {images.split} split of {images.store.source} is empty.", "Give a set that holds at least one image."
        )
    plan = plan or choose(precision="fp32")
    batches = Batches(images, batch_size, device=plan.device, channels_last=plan.channels_last)
    found: list[NDArray[np.float32]] = []
    done = 0
    with lent(model, plan), plan.applied(), torch.inference_mode(), plan.autocast():
        for batch in batches.epoch(0):
            found.append(model.features(batch.images).float().cpu().numpy())  # (B, F)
            done += len(batch)
            if progress is not None:
                progress(f"features {images.split}", done, len(images))
    return np.concatenate(found)


def look_alikes(
    model: Classifier,
    images: ImageSet,
    reference: ImageSet,
    k: int = 3,
    *,
    skip_identical: bool = False,
    plan: Plan | None = None,
) -> LookAlikes:
    """The `k` images of `reference` that are most similar to each of `images` in the eyes of the model.

    Features are computed for all of both; for several lists compute those of the reference once, with `features`,
    and use `nearest`.

    Parameters
    ----------
    model : whose features are compared.
    images : such as `splits.test[wrong.index]`.
    reference : such as `splits.train`.
    k : how many each.
    skip_identical : leave out images with the same features, such as the image itself where `reference` holds it.
    plan : how to compute; default: this machine's, in fp32.

    Raises
    ------
    DataError : there are no images, or fewer than `k` to choose from.
    ModelError : the images have another size than the model's.
    """
    query = features(model, images, plan=plan)
    found = nearest(query, features(model, reference, plan=plan), k, skip_identical=skip_identical)
    return LookAlikes(images, reference, found)


def nearest(
    query: NDArray[np.float32], reference: NDArray[np.float32], k: int, *, skip_identical: bool = False
) -> Neighbours:
    """The `k` rows of `reference` (N, F) with the largest cosine similarity to each row of `query` (n, F).

    Every pair is compared, in blocks. Of similarities that agree to 1e-9 the lower position comes first. A row of
    zeros has no direction: it is similar (1) to other such rows only, and has similarity 0 with all else.

    Parameters
    ----------
    query, reference : features of equal length.
    k : how many each.
    skip_identical : leave out references of similarity 1, such as the query itself.

    Raises
    ------
    DataError : the features do not fit together or are not finite, or there are fewer than `k` to choose from.
    """
    _check(query, reference, k)
    blocks = [
        _nearest(_directions(query[first : first + _QUERIES]), reference, k, skip_identical)
        for first in range(0, len(query), _QUERIES)
    ]
    steps, position = (torch.cat(parts) for parts in zip(*blocks, strict=True))  # (n, k) each
    if bool(torch.isneginf(steps).any()):
        raise DataError(
            f"some queries have fewer than k={k} references that are not identical to them.",
            "Ask for fewer, or keep the identical ones.",
        )
    return Neighbours(position.numpy(), (steps * _STEP).float().numpy())


def _check(query: NDArray[np.float32], reference: NDArray[np.float32], k: int) -> None:
    if query.ndim != 2 or reference.ndim != 2 or query.shape[1] != reference.shape[1] or 0 in query.shape:
        raise DataError(
            f"features {query.shape} cannot be compared with features {reference.shape}.",
            "Give arrays (n, F) and (N, F) that the same model made.",
        )
    if not 1 <= k <= len(reference):
        raise DataError(f"there are {len(reference)} references, and k={k} is asked for.", "Ask for 1 to all of them.")
    for name, values in (("query", query), ("reference", reference)):
        if not np.isfinite(values).all():
            raise DataError(
                f"the {name} holds features that are not finite.",
                "Train again with a smaller learning rate or with training.clip_norm=1.",
            )


def _directions(rows: NDArray[np.float32]) -> Tensor:
    """Rows (b, F) as unit vectors (b, F + 1) float64; those of zeros point along a dimension of their own."""
    vectors = torch.tensor(rows, dtype=torch.float64)
    lengths = vectors.norm(dim=1, keepdim=True)  # (b, 1)
    empty = (lengths == 0).double()
    return torch.cat([vectors / (lengths + empty), empty], dim=1)


def _nearest(query: Tensor, reference: NDArray[np.float32], k: int, skip_identical: bool) -> tuple[Tensor, Tensor]:
    """Similarities, in steps, and positions (b, k) each of one block of directions (b, F + 1).

    Where too few are left, the similarity is -inf.
    """
    best = torch.full((len(query), k), -torch.inf, dtype=torch.float64)
    position = torch.zeros((len(query), k), dtype=torch.int64)
    query = query / _STEP
    for first in range(0, len(reference), _REFERENCES):
        steps = (query @ _directions(reference[first : first + _REFERENCES]).T).round_()  # (b, r)
        if skip_identical:
            steps.masked_fill_(steps >= 1 / _STEP, -torch.inf)
        # Whole numbers below 2^42, which float64 holds exactly: a step outweighs any place, so that of equal steps
        # the earlier one is the larger.
        places = torch.arange(steps.shape[1], dtype=torch.float64)
        found = (steps * _REFERENCES).sub_(places).topk(min(k, steps.shape[1])).indices
        candidates = torch.cat([best, steps.gather(1, found)], dim=1)
        # Stable, and the earlier positions stand left: they win ties again.
        order = candidates.sort(dim=1, descending=True, stable=True).indices[:, :k]
        best = candidates.gather(1, order)
        position = torch.cat([position, found + first], dim=1).gather(1, order)
    return best, position
