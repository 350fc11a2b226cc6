"""`KnownImages`: some training images that a bundle carries, to show what a new image looks like to the model."""

from __future__ import annotations

import dataclasses
import io
import zipfile
from pathlib import Path

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
    def load(cls, folder: Path) -> KnownImages | None:
        """Read what `save` wrote; None where there is nothing.

        Raises
        ------
        BundleError : the file is damaged.
        """
        path = folder / FILE
        if not path.is_file():
            return None
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
                thumbnails, embeddings, labels = (stored[name] for name in ("thumbnails", "embeddings", "labels"))
            if not len(thumbnails) == len(embeddings) == len(labels):
                raise ValueError("its arrays are not of one length")
        except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise BundleError(
                f"{path} is damaged: {error}.", "Remove it, or export the run again: eyebright export RUN OUT"
            ) from error
        return cls(thumbnails, embeddings.astype(np.float32), labels)
