"""Whether maps depend on what the model has learnt: with other weights they must be others.

Adebayo, Gilmer, Muelly, Goodfellow, Hardt and Kim, "Sanity Checks for Saliency Maps" (NeurIPS 2018,
arXiv:1810.03292): some methods draw the same edges for a network of random weights, so they show the image and not the
model. All weights are randomised at once. We deviate in how: each tensor keeps its numbers and loses their order, and
weights their signs too, which suits any layer; and batch normalisation measures its statistics anew. Otherwise the
signal would die or explode. Maps that are the same everywhere have no order to compare and are left out: a network that
died would agree with nothing, and prove as much.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from eyebright.core.randomness import stream
from eyebright.evaluation.intervals import bootstrap_score, resample_means
from eyebright.evaluation.score import Score
from eyebright.insight.subject import Subject

_RANDOMISED = 2  # models; one alone may be like the trained one by chance
_MOST_SIMILAR = 0.5  # rank correlation; the paper sets no limit, this one is ours
_RESAMPLES = 1000


@dataclasses.dataclass(frozen=True)
class Sanity:
    """How alike the maps are to those of the same network with randomised weights.

    Attributes
    ----------
    similarity : mean rank correlation (Spearman) of the maps, -1..1; None where no two could be compared.
    limit : that its interval must stay below.
    """

    similarity: Score | None
    limit: float = _MOST_SIMILAR

    @property
    def passed(self) -> bool:
        """Whether the maps were shown to depend on the weights."""
        return self.similarity is not None and self.similarity.high < self.limit

    def __str__(self) -> str:
        if self.similarity is None:
            return "no map to compare: they are the same everywhere, here or with randomised weights"
        return f"rank correlation with maps of randomised weights {self.similarity}, limit {self.limit}"

    def to_dict(self) -> dict[str, Any]:
        """A dictionary that JSON can hold."""
        return dataclasses.asdict(self) | {"passed": self.passed}


def sanity(
    subject: Subject, maps: NDArray[np.float32], x: Tensor, explain: Callable[[Subject], NDArray[np.float32]]
) -> Sanity:
    """Compare `maps` (N, H, W) with those that `explain` makes of models with randomised weights.

    Parameters
    ----------
    subject : the model.
    maps : of it.
    x : normalised images (B, C, H, W) to measure the statistics of batch normalisation on.
    explain : makes maps like `maps`, of the same images and classes, of another model.
    """
    others = [rank_correlation(maps, explain(randomised(subject, x, seed))) for seed in range(_RANDOMISED)]
    similar = np.ma.masked_invalid(np.stack(others, axis=1)).mean(axis=1).compressed()  # (n,) images with any pair
    if not len(similar):
        return Sanity(None)
    samples = resample_means(similar[:, None], _RESAMPLES, stream("bootstrap of similarity", 0))[:, 0]
    return Sanity(bootstrap_score(float(similar.mean()), samples, len(similar)))


def randomised(subject: Subject, x: Tensor, seed: int) -> Subject:
    """A copy whose weights are those of the model in random order, tensor by tensor; matrices get random signs too."""
    model = copy.deepcopy(subject.model)
    for number, parameter in enumerate(model.parameters()):
        generator = stream("randomised weights", seed, number)
        order = torch.from_numpy(generator.permutation(parameter.numel())).to(parameter.device)
        shuffled = parameter.data.flatten()[order].view(parameter.shape)
        if parameter.ndim > 1:  # weights of a mean other than 0 would add up, and drown all that differs
            shuffled *= torch.from_numpy(generator.choice([-1.0, 1.0], parameter.shape)).to(shuffled)
        parameter.data = shuffled
    other = dataclasses.replace(subject, model=model)
    norms = [layer for layer in model.modules() if isinstance(layer, _BatchNorm) and layer.track_running_stats]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all batches, of which there is one
        norm.train()
    if norms:
        other.logits(torch.cat([x, x.flip(3)]))  # with mirror images: one image alone would have no deviation
    for norm in norms:
        norm.eval()
    return other


def rank_correlation(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float64]:
    """Spearman's coefficient of each pair of maps, (N, H, W) each, to (N,); NaN where one is the same everywhere."""
    ranked = [rankdata(maps.reshape(len(maps), -1), axis=1) for maps in (first, second)]
    centred = [values - values.mean(axis=1, keepdims=True) for values in ranked]  # (N, H * W)
    product = (centred[0] * centred[1]).sum(axis=1)
    lengths = [np.sqrt((values**2).sum(axis=1)) for values in centred]
    both = lengths[0] * lengths[1]
    correlation: NDArray[np.float64] = np.divide(product, both, out=np.full(len(both), np.nan), where=both > 0)
    return correlation
