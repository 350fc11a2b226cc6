"""Digits: the data set that scikit-learn carries, so that nothing needs to be downloaded."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from eyebright.core.settings.data import DataSettings
from eyebright.data.image_set import ImageSet
from eyebright.data.progress import Progress
from eyebright.data.sources.arrays import array_set
from eyebright.data.sources.base import Source


class DigitsSource(Source):
    """Handwritten digits of 43 people (Alpaydin and Kaynak 1998), the test part of the original set."""

    name = "digits"
    title = "Digits"
    description = "1,797 handwritten digits, 8x8 grey, 10 classes; comes with scikit-learn, no download"

    def read(self, settings: DataSettings, root: Path, progress: Progress | None) -> dict[str, ImageSet]:  # noqa: ARG002 - nothing is on disk
        """All 1,797 images under the key "all": there is no official test split."""
        from sklearn.datasets import load_digits

        bunch = load_digits()
        # (1797, 8, 8) float 0..16, the number of ink pixels in a 4x4 block
        pixels = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[..., None]  # (N, H, W, C)
        labels = bunch.target.astype(np.int64)
        names = [f"digits/{row:04d}" for row in range(len(labels))]
        classes = tuple(str(digit) for digit in range(10))
        whole = array_set(
            pixels, labels, names, classes, source=self.name, split="all", settings=settings, progress=progress
        )
        return {"all": whole}
