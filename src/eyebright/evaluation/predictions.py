"""`Predictions`: what a model said of each image. Every judgement starts from it, without the model."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from scipy.special import softmax

from eyebright.core.errors import DataError
from eyebright.core.files import write_bytes
from eyebright.core.settings.training import Views

# The only key of the file's metadata: safetensors writes several in random order, and the same predictions
# must give the same bytes.
_KEY = "eyebright"


@dataclasses.dataclass(frozen=True, eq=False)
class Predictions:
    """Logits of one model over one split.

    Attributes
    ----------
    logits : (N, K) float32.
    labels : (N,) int64, the given classes.
    index : (N,) int64, rows of the source (`ImageSet.index`).
    classes : K class names.
    split : "train", "validation", "test", ...
    source : name of the data set.
    views : of each image that the logits are averaged over (test-time augmentation).
    """

    logits: NDArray[np.float32]
    labels: NDArray[np.int64]
    index: NDArray[np.int64]
    classes: tuple[str, ...]
    split: str
    source: str
    views: Views = "one"

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        return f"Predictions({self.source} {self.split}: {len(self)} images, {len(self.classes)} classes)"

    @property
    def predicted(self) -> NDArray[np.int64]:
        """(N,) int64, the class of the largest logit."""
        predicted: NDArray[np.int64] = self.logits.argmax(axis=1)
        return predicted

    @property
    def probabilities(self) -> NDArray[np.float32]:
        """(N, K) float32, rows sum to 1."""
        return softmax(self.logits, axis=1)

    @property
    def correct(self) -> NDArray[np.bool_]:
        """(N,) whether the predicted class is the given one."""
        correct: NDArray[np.bool_] = self.predicted == self.labels
        return correct

    def check_finite(self) -> None:
        """Refuse what a diverged model said.

        Raises
        ------
        DataError : a logit is not finite; names the first image.
        """
        finite = np.isfinite(self.logits).all(axis=1)  # (N,)
        if not finite.all():
            raise DataError(
                f"the {self.split} predictions of {self.source} hold logits that are not finite, "
                f"first for source image {self.index[~finite][0]}.",
                "Train again with a smaller learning rate or with training.clip_norm=1.",
            )

    def take(self, positions: NDArray[np.int64] | NDArray[np.bool_] | Sequence[int]) -> Predictions:
        """What was said of the images at `positions` (0 .. N-1), in that order; or where a mask (N,) is true."""
        chosen = np.asarray(positions)
        if not chosen.size:
            chosen = chosen.astype(np.int64)  # numpy takes an empty list for floats
        columns = {name: getattr(self, name)[chosen] for name in ("logits", "labels", "index")}
        return dataclasses.replace(self, **columns)

    def save(self, path: str | Path) -> None:
        """Write to a safetensors file, atomically."""
        tensors = {"logits": self.logits, "labels": self.labels, "index": self.index}
        about = {"classes": self.classes, "split": self.split, "source": self.source, "views": self.views}
        contiguous = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
        write_bytes(Path(path), save(contiguous, {_KEY: json.dumps(about)}))

    @classmethod
    def load(cls, path: str | Path) -> Predictions:
        """Read what `save` wrote.

        Raises
        ------
        DataError : the file is missing, damaged or something else.
        """
        try:
            with safe_open(path, framework="numpy") as stored:
                about = json.loads((stored.metadata() or {})[_KEY])
                arrays = {name: stored.get_tensor(name) for name in ("logits", "labels", "index")}
            return cls(**arrays, **(about | {"classes": tuple(about["classes"])}))
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            raise DataError(
                f"{path} does not hold predictions: {error}", "Make them again with: eyebright evaluate RUN"
            ) from error
