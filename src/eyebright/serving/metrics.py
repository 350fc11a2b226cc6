"""What the server counts and measures, for Prometheus.

With several worker processes the client library adds their numbers up through files in the folder that the variable
PROMETHEUS_MULTIPROC_DIR names; `server.py` sets it for its workers before they start.
"""

from __future__ import annotations

import os

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

MEDIA_TYPE = CONTENT_TYPE_LATEST
FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
# From what a small network takes for one image to what nobody waits for.
_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
_BATCHES = (1, 2, 4, 8, 16, 32, 64, 128)
_MODEL = ("model", "version")


class Metrics:
    """The numbers of one server."""

    def __init__(self) -> None:
        self.registry = every = CollectorRegistry()
        self.requests = Counter("eyebright_requests", "Requests answered.", ("path", "status"), registry=every)
        self.seconds = Histogram(
            "eyebright_request_seconds",
            "From the head of a request to its answer.",
            ("path",),
            buckets=_SECONDS,
            registry=every,
        )
        self.batches = Histogram(
            "eyebright_batch_images", "Images that shared an inference.", _MODEL, buckets=_BATCHES, registry=every
        )
        self.waiting = Gauge(
            "eyebright_waiting_images",
            "Images that waited when the last batch was taken.",
            _MODEL,
            multiprocess_mode="livesum",
            registry=every,
        )
        self.predicted = Counter(
            "eyebright_predicted", "Images by predicted class.", (*_MODEL, "label"), registry=every
        )
        self.refused = Counter(
            "eyebright_refused_images", "Images without an answer.", (*_MODEL, "kind"), registry=every
        )
        self.unsure = Counter(
            "eyebright_unsure", "Answers for which not exactly one class is plausible.", _MODEL, registry=every
        )
        self.reference = Gauge(
            "eyebright_reference_share",
            "Share of a predicted class among the validation images.",
            (*_MODEL, "label"),
            multiprocess_mode="max",
            registry=every,
        )
        self.drift = Gauge(
            "eyebright_drift",
            "Distance of the last images from the validation images: classes and confidence as population stability"
            " index, pixels and embedding as shift of the mean in standard deviations.",
            (*_MODEL, "what"),
            multiprocess_mode="livemax",
            registry=every,
        )
        self.reloads = Counter("eyebright_reloads", "Bundles that were read anew.", ("outcome",), registry=every)

    def forget(self, model: str, version: str) -> None:
        """Stop telling the state of a version that is served no more; what it has counted stays."""
        if FOLDER_VARIABLE not in os.environ:  # the files of several workers cannot be changed
            for gauge in (self.waiting, self.reference, self.drift):
                gauge.remove_by_labels({"model": model, "version": version})

    def close(self) -> None:
        """Take what only a living process has to tell out of the numbers of all workers."""
        if FOLDER_VARIABLE in os.environ:
            mark_process_dead(os.getpid())  # type: ignore[no-untyped-call]  # it is not annotated

    def exposition(self) -> bytes:
        """The text that Prometheus reads."""
        if FOLDER_VARIABLE not in os.environ:
            return generate_latest(self.registry)
        everybody = CollectorRegistry()
        MultiProcessCollector(everybody)  # type: ignore[no-untyped-call]  # it registers itself
        return generate_latest(everybody)
