"""`KnownImages`: some training images that a bundle carries, to show what a new image looks like to the model."""

from __future__ import annotations

import dataclasses
import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyebright.core.errors import BundleError
from eyebright.core.files import write_bytes

FILE = "known.npz"


@dataclasses.dataclass(frozen=True, eq=False)
class KnownImages:
    """Training images, small.

    Attributes
    ----------
    thumbnails : (M, h, w, C) uint8.
    embeddings : (M, F) float32, of length 1 each.
    labels : (M,) int64, positions in the bundle's classes.
    """

    thumbnails: NDArray[np.uint8]
    embeddings: NDArray[np.float32]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def nearest(self, embedding: NDArray[np.float32], count: int = 3) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The most similar ones to an embedding (F,): their positions and cosines (at most `count` of each)."""
        length = np.linalg.norm(embedding)
        cosines = self.embeddings @ embedding / np.float32(length or 1)  # (M,)
        order = np.argsort(-cosines, kind="stable")[:count]
        return order, cosines[order]

    def save(self, folder: Path) -> None:
        """Write into a bundle's folder; embeddings in half precision, which changes a cosine by 1e-3 at most."""
        packed = io.BytesIO()
        embeddings = self.embeddings.astype(np.float16)
        np.savez_compressed(packed, thumbnails=self.thumbnails, embeddings=embeddings, labels=self.labels)
        write_bytes(folder / FILE, packed.getvalue())

    @classmethod
    def load(cls, folder: Path, classes: int) -> KnownImages | None:
        """Read what `save` wrote for a model of so many classes; None where there is nothing.

        Raises
        ------
        BundleError : the file is damaged, or of another model.
        """
        path = folder / FILE
        if not path.is_file():
            return None
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
                thumbnails, embeddings, labels = (stored[name] for name in ("thumbnails", "embeddings", "labels"))
            _check(thumbnails, embeddings, labels, classes)
        except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise BundleError(
                f"{path} is damaged: {error}.", "Remove it, or export the run again: eyebright export RUN OUT"
            ) from error
        return cls(thumbnails, embeddings.astype(np.float32), labels)


def _check(thumbnails: NDArray[Any], embeddings: NDArray[Any], labels: NDArray[Any], classes: int) -> None:
    """Refuse what would fail only when it is shown."""
    if not len(thumbnails) == len(embeddings) == len(labels):
        raise ValueError("its arrays are not of one length")
    if thumbnails.dtype != np.uint8 or thumbnails.ndim != 4 or thumbnails.shape[3] not in {1, 3}:
        raise ValueError(f"its thumbnails are {thumbnails.dtype} {thumbnails.shape}")
    if embeddings.dtype.kind != "f" or embeddings.ndim != 2 or not np.isfinite(embeddings).all():
        raise ValueError(f"its embeddings are {embeddings.dtype} {embeddings.shape}, or not finite")
    if labels.dtype.kind not in "iu" or labels.ndim != 1 or not np.all((labels >= 0) & (labels < classes)):
        raise ValueError(f"its labels are {labels.dtype} {labels.shape}, or not all below {classes}")
