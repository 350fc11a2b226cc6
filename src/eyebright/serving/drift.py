"""`Drift`: whether the images that come are still like those that the model was validated on.

Classes and confidence are compared by the population stability index: the sum over the bins of
(q - p) ln(q / p), with p the validation images' share of a bin and q that of the images that came. By custom 0.1 is
worth a look and 0.25 is another population (Siddiqi, "Credit Risk Scorecards", 2006). Pixels and embedding are compared
by how far their mean moved, in standard deviations, averaged over channels or features.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from eyebright.exporting.manifest import Reference

# Images after which the numbers are published and begun anew. Chance alone makes an index of about 1/n + 1/m for each
# bin, with n images that came and m validation images: with these n it stays far below 0.1, if m is as large.
_FEWEST, _A_CLASS = 1000, 50
# Share of a histogram that is spread evenly over its bins: with an empty one the index would be infinite.
_SPREAD = 0.01
_SAMPLED_EDGE = 8  # pixels of an image's side that are looked at: thousands of images make one mean


class Drift:
    """Sums over the images that came. Safe to use from several threads.

    Parameters
    ----------
    reference : of the bundle.
    publish : takes a name ("classes", "confidence", "pixels", "embedding") and its distance, once a window.
    """

    def __init__(self, reference: Reference, publish: Callable[[str, float], None]) -> None:
        self._reference = reference
        self._publish = publish
        self._lock = threading.Lock()
        self._window = max(_FEWEST, _A_CLASS * len(reference.predicted))
        self._begin()

    def _begin(self) -> None:
        self._images = 0
        self._predicted = np.zeros(len(self._reference.predicted), np.int64)
        self._confidences = np.zeros(len(self._reference.confidences), np.int64)
        self._pixels = np.zeros(len(self._reference.pixel_mean))
        self._embedding = np.zeros(len(self._reference.embedding_mean))

    def note(
        self, images: NDArray[np.uint8], probabilities: NDArray[np.float32], embedding: NDArray[np.float32]
    ) -> None:
        """Add a batch: images (N, h, w, C), probabilities (N, K), embedding (N, F)."""
        bins = len(self._reference.confidences)
        confidence = np.minimum((bins * probabilities.max(axis=1)).astype(np.int64), bins - 1)
        predicted = np.bincount(probabilities.argmax(axis=1), minlength=len(self._reference.predicted))
        confidences = np.bincount(confidence, minlength=bins)
        step = max(1, min(images.shape[1:3]) // _SAMPLED_EDGE)
        pixels = images[:, ::step, ::step].mean(axis=(1, 2)).sum(axis=0)  # (C,)
        with self._lock:
            self._images += len(images)
            self._predicted += predicted
            self._confidences += confidences
            self._pixels += pixels
            self._embedding += embedding.sum(axis=0)
            if self._images >= self._window:
                self._conclude()
                self._begin()

    def _conclude(self) -> None:
        known = self._reference
        self._publish("classes", stability_index(np.array(known.predicted), self._predicted))
        self._publish("confidence", stability_index(np.array(known.confidences), self._confidences))
        self._publish("pixels", _shift(known.pixel_mean, known.pixel_std, self._pixels / self._images))
        self._publish("embedding", _shift(known.embedding_mean, known.embedding_std, self._embedding / self._images))


def stability_index(expected: NDArray[np.int64], found: NDArray[np.int64]) -> float:
    """Population stability index of two histograms (B,) of counts."""
    p, q = (_SPREAD / len(counts) + (1 - _SPREAD) * counts / max(1, counts.sum()) for counts in (expected, found))
    return float(((q - p) * np.log(q / p)).sum())


def _shift(mean: tuple[float, ...], deviation: tuple[float, ...], found: NDArray[np.float64]) -> float:
    """Mean distance in standard deviations; what never varies (a dead feature, a black channel) is left out."""
    spread = np.array(deviation)
    varies = spread > 0
    if not varies.any():
        return 0.0
    return float((np.abs(found - np.array(mean))[varies] / spread[varies]).mean())
