"""Measuring whether an exported file answers as the model does."""

from __future__ import annotations

import importlib.metadata
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from eyebright.core.processor import processor_name
from eyebright.core.randomness import stream
from eyebright.core.settings.training import Views
from eyebright.data.decode import decode, fit
from eyebright.data.image_files import open_files
from eyebright.data.image_set import ImageSet
from eyebright.evaluation.intervals import proportion
from eyebright.evaluation.predict import predict
from eyebright.exporting.certificate import Certificate, Measure, Resizing
from eyebright.models.classifier import Classifier, evaluating

# From images (N, h, w, C) uint8 to logits (N, K): an exported file.
Runner = Callable[[NDArray[np.uint8]], NDArray[np.float32]]

_BATCH = 64
_RESIZED = 16  # images of other sizes; one at a time, as no two may have the same
_ENLARGED = (1.5, 2.25)  # times the height and the width, where a data set has no files of other sizes
_TIMED_SECONDS, _TIMED_CALLS = 0.5, 100  # whichever comes first; three calls at least
_PACKAGES = ("eyebright", "torch", "numpy", "pillow")


def sampled(images: ImageSet, count: int) -> ImageSet:
    """At most `count` of the images, always the same ones, in their order."""
    if len(images) <= count:
        return images
    return images.take(np.sort(stream("certificate", 0).permutation(len(images))[:count]))


def certify(  # noqa: PLR0913 - a record of many facts
    model: Classifier,
    runner: Runner,
    images: ImageSet,
    *,
    format: str,  # noqa: A002 - the manifest's own word
    precision: str,
    size: int,
    measure: Measure,
    tolerance: float,
    packages: tuple[str, ...],
    views: Views = "one",
    any_size: bool = True,
) -> Certificate:
    """Send the same images through PyTorch in fp32 and through an exported file.

    Parameters
    ----------
    model : the original.
    runner : the file.
    images : labelled, of the model's size.
    format, precision, size : of the file; bytes.
    measure, tolerance : what must hold; the caller looks at `Certificate.passed`.
    packages : that made and computed the file, whose versions are noted.
    views : that training averaged its scores over; the file sees one.
    any_size : whether the file resizes.
    """
    expected = predict(model, images, batch_size=_BATCH)
    batches = [range(start, min(start + _BATCH, len(images))) for start in range(0, len(images), _BATCH)]
    found = np.concatenate([runner(images.take(batch).images) for batch in batches])  # (N, K)
    difference = np.abs(expected.logits - found)
    predicted = found.argmax(axis=1)
    first = images.take(batches[0]).images
    notes = []
    if views != "one":
        notes.append(f"The scores of the run average the views {views!r} of each image; an export sees one view.")
    return Certificate(
        format=format,
        precision=precision,
        source=images.store.source,
        split=images.split,
        images=len(images),
        fingerprint=images.fingerprint,
        max_difference=float(difference.max()),
        mean_difference=float(difference.mean(dtype=np.float64)),
        flips=int((predicted != expected.predicted).sum()),
        model_accuracy=proportion(int(expected.correct.sum()), len(images)),
        file_accuracy=proportion(int((predicted == images.labels).sum()), len(images)),
        resizing=_resizing(model, runner, images) if any_size else None,
        single_milliseconds=1000 * _seconds(lambda: runner(first[:1])),
        images_per_second=len(first) / _seconds(lambda: runner(first)),
        bytes=size,
        measure=measure,
        tolerance=tolerance,
        versions=_versions(packages),
        notes=tuple(notes),
    )


def _resizing(model: Classifier, runner: Runner, images: ImageSet) -> Resizing:
    spec, differences, flips = model.spec, [], 0
    for image in _of_other_sizes(images, spec.channels):
        fitted = fit(image, spec.height, spec.width, spec.resize, spec.interpolation)
        with evaluating(model), torch.inference_mode():
            expected = model(torch.from_numpy(fitted.copy()).permute(2, 0, 1)[None])[0].numpy()  # (K,)
        found = runner(image[np.newaxis])[0]
        differences.append(float(np.abs(expected - found).max()))
        flips += int(expected.argmax() != found.argmax())
    return Resizing(len(differences), max(differences), flips)


def _of_other_sizes(images: ImageSet, channels: int) -> Iterator[NDArray[np.uint8]]:
    """Some images (H, W, C) as they are in their files; enlarged where they are not files."""
    few = sampled(images, _RESIZED)
    if few.store.root is not None:
        files = open_files(few.store.root)
        for name in few.names:
            yield decode(files.read(name), channels=channels, name=name)
        return
    height, width, _ = few.shape
    size = (round(width * _ENLARGED[1]), round(height * _ENLARGED[0]))
    for image in few.images:
        grey = Image.fromarray(image[:, :, 0] if channels == 1 else image)
        yield np.asarray(grey.resize(size, Image.Resampling.BICUBIC)).reshape(size[1], size[0], channels)


def _seconds(call: Callable[[], object]) -> float:
    """Median time of a call."""
    call()
    taken: list[float] = []
    while len(taken) < 3 or (sum(taken) < _TIMED_SECONDS and len(taken) < _TIMED_CALLS):
        begun = time.perf_counter()
        call()
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken)


def _versions(packages: tuple[str, ...]) -> dict[str, str]:
    versions = {name: importlib.metadata.version(name) for name in (*_PACKAGES, *packages)}
    return versions | {"python": platform.python_version(), "processor": processor_name()}


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files of a folder."""
    return sum(each.stat().st_size for each in path.rglob("*")) if path.is_dir() else path.stat().st_size
