"""Whether a map marks what the model looks at: hide what it marks, and the model should lose its class.

Deletion and insertion are those of Petsiuk, Das and Saenko, "RISE" (BMVC 2018, arXiv:1806.07421): the probability of
the class while the most salient pixels are replaced by the mean colour (a good map makes it fall at once), and while
they are put into a blurred image (a good map makes it rise at once); each the mean over all shares of the pixels.
We deviate in the control: not random pixels, but the same maps moved to other places (see `salience`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from eyebright.core.randomness import stream
from eyebright.data.image_set import ImageSet
from eyebright.evaluation.intervals import bootstrap_score, resample_means
from eyebright.evaluation.score import Score
from eyebright.insight import salience
from eyebright.insight.subject import Subject

_STEPS = 10  # of each curve
_BLURRED = 4  # patches a side that are left of a blurred image
_RESAMPLES = 1000
FEWEST = 8  # images; the bootstrap of fewer claims far more than it knows


@dataclasses.dataclass(frozen=True)
class Faithfulness:
    """How well maps mark what decides, on a sample of their images. All areas are of probabilities, 0..1.

    Attributes
    ----------
    deletion : area under the curve of deletion; lower is better.
    insertion : area under the curve of insertion; higher is better.
    random_deletion, random_insertion : the same of the maps moved to random places.
    gain : by how much insertion minus deletion is above that of the moved maps, image by image.
    """

    deletion: Score
    insertion: Score
    random_deletion: Score
    random_insertion: Score
    gain: Score

    @property
    def trusted(self) -> bool:
        """Whether the maps are better than moved ones beyond chance, which takes at least 8 images to tell."""
        return self.gain.n >= FEWEST and self.gain.low > 0

    def __str__(self) -> str:
        few = f" (fewer than {FEWEST} images cannot tell)" if self.gain.n < FEWEST else ""
        return (
            f"deletion {self.deletion.value:.3f} (moved at random {self.random_deletion.value:.3f}), "
            f"insertion {self.insertion.value:.3f} (moved {self.random_insertion.value:.3f}), gain {self.gain}{few}"
        )

    def to_dict(self) -> dict[str, Any]:
        """A dictionary that JSON can hold."""
        return dataclasses.asdict(self) | {"trusted": self.trusted}


def faithfulness(
    subject: Subject,
    images: ImageSet,
    maps: NDArray[np.float32],
    classes: NDArray[np.int64],
    *,
    batch_size: int = 64,
    seed: int = 0,
) -> Faithfulness:
    """Delete and insert by `maps` (N, H, W) of `classes` (N,), and by the same maps moved at random."""
    places, elsewhere = salience.orders(maps, stream("moved maps", seed))
    curves = Curves(subject, images, classes, batch_size, _STEPS)
    deletion, random_deletion = curves.deletion(places), curves.deletion(elsewhere)  # (N,) each
    insertion, random_insertion = curves.insertion(places), curves.insertion(elsewhere)
    gain = (insertion - deletion) - (random_insertion - random_deletion)
    values = np.stack([deletion, insertion, random_deletion, random_insertion, gain], axis=1)  # (N, 5)
    samples = resample_means(values, _RESAMPLES, stream("bootstrap of areas", seed))  # (draws, 5)
    scores = zip(values.mean(axis=0), samples.T, strict=True)
    return Faithfulness(*(bootstrap_score(float(mean), drawn, len(values)) for mean, drawn in scores))


@final
@dataclasses.dataclass(frozen=True, eq=False)
class Curves:
    """The areas under the curves of deletion and insertion, of any order of the pixels.

    Attributes
    ----------
    subject : the model.
    images : N of them.
    classes : (N,) int64 whose probability is followed.
    batch_size : images at a time, with all that is made of them.
    steps : shares of the pixels, the middles of as many equal parts: 10 are 5 %, 15 %, ..., 95 %.
    """

    subject: Subject
    images: ImageSet
    classes: NDArray[np.int64]
    batch_size: int
    steps: int

    def deletion(self, places: NDArray[np.int32]) -> NDArray[np.float64]:
        """(N,) in 0..1, while pixels become the mean colour in the order of `places` (N, H, W)."""
        return self._areas(places, lambda x: (x, torch.zeros_like(x)))

    def insertion(self, places: NDArray[np.int32]) -> NDArray[np.float64]:
        """(N,) in 0..1, while pixels are put into the blurred image in the order of `places` (N, H, W)."""
        return self._areas(places, lambda x: (_blurred(x), x))

    def _areas(self, places: NDArray[np.int32], ends: Callable[[Tensor], tuple[Tensor, Tensor]]) -> NDArray[np.float64]:
        """The mean on the way from the first to the second of the two images that `ends` makes of x (B, C, H, W)."""
        areas = np.zeros(len(places))
        pixels = places[0].size
        for part, x in self.subject.batches(self.images, max(1, self.batch_size // self.steps)):
            first, last = ends(x)
            classes = torch.from_numpy(self.classes[part]).to(x.device)
            order = torch.from_numpy(places[part]).to(x.device)[:, None]  # (B, 1, H, W)
            limits = [pixels * (step + 0.5) / self.steps for step in range(self.steps)]
            between = torch.cat([torch.where(order < limit, last, first) for limit in limits])  # (steps * B, C, H, W)
            said = self.subject.probabilities(between, classes.repeat(self.steps))
            areas[part] = said.double().view(self.steps, -1).mean(dim=0).cpu().numpy()
        return areas


def _blurred(x: Tensor) -> Tensor:
    """(B, C, H, W) with all but the coarsest colours taken away."""
    patches = F.adaptive_avg_pool2d(x, _BLURRED)
    return F.interpolate(patches, x.shape[2:], mode="bilinear")
