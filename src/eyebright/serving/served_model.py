"""`ServedModel`: one version of a model, ready to answer."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from concurrent.futures import Executor
from typing import Any
from urllib.parse import urlencode

import numpy as np
from numpy.typing import NDArray

from eyebright.exporting.bundle import Bundle
from eyebright.exporting.graph import EMBEDDING, PROBABILITIES
from eyebright.exporting.known import KnownImages
from eyebright.serving.batching import Batcher
from eyebright.serving.drift import Drift
from eyebright.serving.metrics import Metrics
from eyebright.serving.pixels import PixelReader, remark_on
from eyebright.serving.problems import Problem
from eyebright.serving.settings import ServerSettings
from eyebright.serving.upload import Upload

_DIGITS = 6  # of a probability in an answer: float32 has no more to tell


@dataclasses.dataclass(frozen=True, eq=False, slots=True)
class Verdict:
    """What the network made of one image.

    Attributes
    ----------
    order : (K,) classes, the most probable first.
    ranked : (K,) float32, their probabilities.
    embedding : (F,) float32.
    remark : what the client should know about the image, else None.
    """

    order: NDArray[np.int64]
    ranked: NDArray[np.float32]
    embedding: NDArray[np.float32]
    remark: str | None


class ServedModel:
    """A bundle, the queue before it, and what is counted about it.

    Parameters
    ----------
    bundle : opened with one thread, since each lane infers for itself.
    lanes : threads that decode and infer.
    lane_count : how many they are.
    """

    def __init__(
        self, bundle: Bundle, lanes: Executor, lane_count: int, settings: ServerSettings, metrics: Metrics
    ) -> None:
        self.bundle = bundle
        self.known: KnownImages | None = bundle.known
        self.reader = PixelReader(bundle.spec, settings.max_pixels)
        self.batcher: Batcher[Verdict] = Batcher(
            self.judge,
            lanes,
            lane_count,
            max_batch=settings.max_batch,
            max_wait=settings.max_wait,
            max_queue=settings.max_queue,
        )
        self._labels = (bundle.name, bundle.version)
        self._metrics = metrics
        self._batches = metrics.batches.labels(*self._labels)
        self._predicted = [metrics.predicted.labels(*self._labels, name) for name in bundle.classes]
        self._unsure = metrics.unsure.labels(*self._labels)
        self._waiting = metrics.waiting.labels(*self._labels)
        self._drift: Drift | None = None
        reference = bundle.manifest.reference
        if reference:
            self._drift = Drift(reference, self._publish_drift)
            for name, count in zip(bundle.classes, reference.predicted, strict=True):
                metrics.reference.labels(*self._labels, name).set(count / max(1, reference.images))

    def warm_up(self) -> None:
        """Infer once, so that the first request does not pay for what ONNX Runtime prepares."""
        spec = self.bundle.spec
        blank = np.zeros((1, spec.height, spec.width, spec.channels), np.uint8)
        self.bundle.run(blank, [PROBABILITIES, EMBEDDING])

    def judge(self, uploads: Sequence[Upload]) -> list[Verdict | Problem]:
        """Decode and infer a batch, in a lane: for each upload its verdict, or the problem with it."""
        found: list[NDArray[np.uint8] | Problem] = [self._pixels(upload) for upload in uploads]
        whole = [pixels for pixels in found if not isinstance(pixels, Problem)]
        if not whole:
            return [pixels for pixels in found if isinstance(pixels, Problem)]
        images = np.stack(whole)  # (N, h, w, C)
        probabilities, embedding = self.bundle.run(images, [PROBABILITIES, EMBEDDING])  # (N, K), (N, F)
        order = np.argsort(-probabilities, axis=1, kind="stable")  # (N, K)
        ranked = np.take_along_axis(probabilities, order, axis=1)
        self._count(images, probabilities, embedding, order)
        rows = iter(zip(order, ranked, embedding, strict=True))
        return [
            pixels if isinstance(pixels, Problem) else Verdict(*next(rows), remark_on(upload.data))
            for pixels, upload in zip(found, uploads, strict=True)
        ]

    def _pixels(self, upload: Upload) -> NDArray[np.uint8] | Problem:
        try:
            return self.reader.read(upload)
        except Problem as problem:
            self._metrics.refused.labels(*self._labels, problem.kind).inc()
            return problem

    def _count(
        self,
        images: NDArray[np.uint8],
        probabilities: NDArray[np.float32],
        embedding: NDArray[np.float32],
        order: NDArray[np.int64],
    ) -> None:
        self._batches.observe(len(images))
        self._waiting.set(self.batcher.waiting)
        for label, count in enumerate(np.bincount(order[:, 0]).tolist()):
            if count:
                self._predicted[label].inc(count)
        if self._drift:
            self._drift.note(images, probabilities, embedding)

    def _publish_drift(self, what: str, distance: float) -> None:
        self._metrics.drift.labels(*self._labels, what).set(distance)

    def answer(self, verdict: Verdict, top: int, risk: float | None, nearest: int) -> dict[str, Any]:
        """A verdict as JSON has it.

        Parameters
        ----------
        top : classes to name.
        risk : one of the bundle's, or None where it has none.
        nearest : known images to name.
        """
        classes = self.bundle.classes
        ranked = verdict.ranked[:top].tolist()
        labels = [classes[k] for k in verdict.order[:top].tolist()]
        said: dict[str, Any] = {
            "label": labels[0],
            "probability": round(ranked[0], _DIGITS),
            "top": [
                {"label": label, "probability": round(probability, _DIGITS)}
                for label, probability in zip(labels, ranked, strict=True)
            ],
        }
        if risk is not None:
            # `Bundle.plausible` on the ranked row: the plausible classes are its first ones.
            count = int(np.count_nonzero(1 - verdict.ranked <= self.bundle.manifest.conformal[risk]))
            said["sure"] = count == 1
            said["plausible"] = [classes[k] for k in verdict.order[:count].tolist()]
            if count != 1:
                self._unsure.inc()
        if nearest and self.known:
            said["nearest"] = self._nearest(self.known, verdict.embedding, nearest)
        if verdict.remark:
            said["remark"] = verdict.remark
        return said

    def place_of(self, kind: str, number: int) -> str:
        """The path on the server of an image of the bundle; `kind` is "known" or "examples"."""
        return f"/{kind}/{number}.png?{urlencode({'model': self.bundle.name, 'version': self.bundle.version})}"

    def _nearest(self, known: KnownImages, embedding: NDArray[np.float32], count: int) -> list[dict[str, Any]]:
        positions, cosines = known.nearest(embedding, count)
        return [
            {
                "label": self.bundle.classes[int(known.labels[position])],
                "similarity": round(cosine, _DIGITS),
                "image": self.place_of("known", position),
            }
            for position, cosine in zip(positions.tolist(), cosines.tolist(), strict=True)
        ]
