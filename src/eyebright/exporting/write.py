"""`export`: from a run to a bundle that is proven to answer as the run's model does."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from eyebright.core.errors import ExportError
from eyebright.core.files import storage_errors, write_bytes, write_json, write_text
from eyebright.core.randomness import stream
from eyebright.data.decode import fit
from eyebright.data.image_set import ImageSet
from eyebright.evaluation.predict import predict
from eyebright.exporting.bundle import (
    CARD_FILE,
    CERTIFICATE_FILE,
    EXAMPLES,
    MANIFEST_FILE,
    MODEL_FILE,
    Bundle,
    digest_of,
    open_bundle,
)
from eyebright.exporting.calibration import conformal_thresholds, fitted_temperature, observe
from eyebright.exporting.card import limits_of, write_card
from eyebright.exporting.certificate import Certificate, Measure
from eyebright.exporting.certify import certify, sampled, size_of
from eyebright.exporting.foreign import FOREIGN, ForeignFormat, write_foreign
from eyebright.exporting.graph import EMBEDDING, LOGITS, Graph
from eyebright.exporting.known import KnownImages
from eyebright.exporting.manifest import Manifest
from eyebright.exporting.onnx import halved, to_onnx, with_metadata
from eyebright.exporting.quantize import quantized
from eyebright.models import weights
from eyebright.models.classifier import Classifier
from eyebright.training.run import Run

Precision = Literal["fp32", "fp16", "int8"]

IMAGES = 1_000  # of the certificate, unless asked for more
_CALIBRATED_ON = 10_000  # images: a temperature and quantiles of that many are sharp enough
_TOLERANCES: dict[Precision, tuple[Measure, float]] = {
    # Rounding in float32 changes a logit by some 1e-5; more means that something else is computed.
    "fp32": ("difference", 1e-3),
    # Fewer bits must change logits. What counts is how many more images are wrong.
    "fp16": ("accuracy", 0.01),
    "int8": ("accuracy", 0.01),
}
_VERSION_DIGITS = 12  # of the digest of the weights: enough that no two models share one
_KNOWN, _EXAMPLES = 500, 12  # images that a bundle carries, where it may
_THUMBNAIL = 64  # pixels of the longer side: enough to recognise what it is


@dataclasses.dataclass(frozen=True, eq=False)
class _Made:
    """A network that is ready to be certified, and what the validation images say of it."""

    model: Classifier
    content: bytes
    manifest: Manifest


def export(  # noqa: PLR0913 - each has a default that serves
    run: Run,
    out: str | Path,
    *,
    check: ImageSet,
    calibrate: ImageSet | None = None,
    precision: Precision = "fp32",
    images: int = IMAGES,
    tolerance: float | None = None,
    known: ImageSet | None = None,
    examples: ImageSet | None = None,
    name: str | None = None,
    licence: str = "",
) -> Bundle:
    """Write a run's best model as a bundle, once it is shown to answer as the model does.

    Parameters
    ----------
    run : finished at least one epoch.
    out : a folder; or a file with the ending .onnx, which carries all but images. A bundle there is replaced.
    check : labelled images for the certificate, such as `splits.test`.
    calibrate : those for the temperature, the thresholds of plausible classes, the reference of what is usual and the
        ranges of int8, which the model did not learn from, such as `splits.validation`; default: `check`.
    precision : "fp32"; "fp16" stores the weights in half the size; "int8" computes in eight bits.
    images : of `check` that are compared, at most.
    tolerance : of the largest difference of a logit (default 1e-3); with fewer bits, of the loss of accuracy (0.01).
    known : training images, of which some are put into the folder, small, to be shown as the nearest known ones.
    examples : images of which some are put into the folder, to try the model on.
    name : of the model; default: that of the recipe.
    licence : of the model, for its card.

    Raises
    ------
    ExportError : the file does not answer as the model does, or the network cannot be written; nothing is written.
    MissingExtraError : a package of the extra `export` is not installed.
    """
    target = Path(out)
    single = target.suffix == ".onnx"
    if single and (known is not None or examples is not None):
        raise ExportError(f"{target} is one file, which carries no images.", "Name a folder instead of an .onnx file.")
    _refuse_to_replace(target)
    made = _made(run, check if calibrate is None else calibrate, precision, name)
    graph = Graph.load(made.content, str(target))
    measure, usual = _TOLERANCES[precision]
    certificate = certify(
        made.model,
        lambda pixels: graph.run(pixels, [LOGITS])[0],
        sampled(check, images),
        format="onnx",
        precision=precision,
        size=len(made.content),
        measure=measure,
        tolerance=usual if tolerance is None else tolerance,
        packages=("onnx", "onnxscript", "onnxruntime"),
        views=run.recipe.training.views,
    )
    _refuse_unequal(certificate, target)
    card = write_card(run, made.manifest, certificate, licence)
    if single:
        about = {"bundle": made.manifest.to_dict(), "certificate": certificate.to_dict(), "card": card}
        write_bytes(target, with_metadata(made.content, json.dumps(about)))
        return open_bundle(target)
    with _replaced(target) as folder:
        write_bytes(folder / MODEL_FILE, made.content)
        _describe(folder, made.manifest, certificate, card)
        if known is not None:
            _known_images(graph, _spread(known, _KNOWN)).save(folder)
        if examples is not None:
            _save_examples(folder / EXAMPLES, _spread(examples, _EXAMPLES))
    return open_bundle(target)


def export_for(  # noqa: PLR0913 - each has a default that serves
    form: ForeignFormat,
    run: Run,
    out: str | Path,
    *,
    check: ImageSet,
    calibrate: ImageSet | None = None,
    images: int = IMAGES,
    tolerance: float | None = None,
    name: str | None = None,
    licence: str = "",
) -> Certificate:
    """Write a run's best model for another program, with certificate and card; see `export`.

    Parameters
    ----------
    form : "pt2" (torch.export), "openvino" or "executorch". The last two take images of the model's size only.
    out : a folder.

    Raises
    ------
    ExportError : as `export`.
    MissingExtraError : the package of the format is not installed.
    """
    target = Path(out)
    _refuse_to_replace(target)
    foreign = FOREIGN[form]
    made = _made(run, check if calibrate is None else calibrate, "fp32", name)
    measure, usual = _TOLERANCES["fp32"]
    with _replaced(target) as folder:
        # A fresh model: one that has computed keeps its buffers in another layout, at which XNNPACK fails.
        runner = write_foreign(form, run.model, made.manifest.temperature, folder)
        digest = digest_of((folder / foreign.file).read_bytes())
        manifest = dataclasses.replace(made.manifest, format=form, file=foreign.file, digest=digest)
        certificate = certify(
            made.model,
            runner,
            sampled(check, images),
            format=form,
            precision="fp32",
            size=size_of(folder),
            measure=measure,
            tolerance=usual if tolerance is None else tolerance,
            packages=foreign.packages,
            views=run.recipe.training.views,
            any_size=foreign.any_size,
        )
        _refuse_unequal(certificate, target)
        _describe(folder, manifest, certificate, write_card(run, manifest, certificate, licence))
    return certificate


def _made(run: Run, validation: ImageSet, precision: Precision, name: str | None) -> _Made:
    """Trace the model, with what the validation images say of it."""
    model = run.model
    validation = sampled(validation, _CALIBRATED_ON)
    said = predict(model, validation)
    temperature = fitted_temperature(said.logits, said.labels)
    content = to_onnx(model, temperature)
    if precision == "fp16":
        content = halved(content)
    elif precision == "int8":
        content = quantized(content, validation)
    probabilities, reference = observe(Graph.load(content, MODEL_FILE), validation)
    manifest = Manifest(
        name=name or run.recipe.name.replace("/", "-"),
        version=weights.read_header(run.best_checkpoint).digest[:_VERSION_DIGITS],
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        file=MODEL_FILE,
        format="onnx",
        precision=precision,
        digest=digest_of(content),
        spec=model.spec,
        temperature=temperature,
        conformal=conformal_thresholds(probabilities, said.labels),
        reference=reference,
        limits=limits_of(run),
    )
    return _Made(model, content, manifest)


def _refuse_unequal(certificate: Certificate, target: Path) -> None:
    if certificate.passed:
        return
    remedy = (
        "Export it as fp32, or allow more with --tolerance."
        if certificate.measure == "accuracy"
        else "Find out why with the certificate above; or allow more with --tolerance."
    )
    raise ExportError(
        f"{target} was not written, as the exported file answers otherwise than the model: {certificate.verdict}.\n"
        f"{certificate!r}",
        remedy,
    )


def _refuse_to_replace(target: Path) -> None:
    """Asked before the work, not after it."""
    taken = target.is_dir() and any(target.iterdir()) and not (target / MANIFEST_FILE).is_file()
    if taken or (target.is_file() and target.suffix != ".onnx"):
        raise ExportError(f"{target} exists and is no bundle.", "Choose another name, or remove it.")


@contextlib.contextmanager
def _replaced(target: Path) -> Iterator[Path]:
    """A folder to fill; on success it takes the place of `target`, on failure it is removed."""
    with storage_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.", suffix=".tmp") as temporary:
            folder = Path(temporary) / "new"
            folder.mkdir()
            yield folder
            old = Path(temporary) / "old"
            if target.is_dir():
                target.rename(old)
            try:
                folder.rename(target)
            except BaseException:
                if old.is_dir():
                    old.rename(target)
                raise


def _describe(folder: Path, manifest: Manifest, certificate: Certificate, card: str) -> None:
    write_json(folder / CERTIFICATE_FILE, certificate.to_dict())
    write_text(folder / CARD_FILE, card)
    write_json(folder / MANIFEST_FILE, manifest.to_dict())  # last: a folder without it is no bundle


def _spread(images: ImageSet, count: int) -> ImageSet:
    """At most `count` of the images, the classes as evenly as they allow, always the same ones."""
    order = stream("images of a bundle", 0).permutation(len(images))
    labels = images.labels[order]
    turn = np.empty(len(images), np.int64)  # the how-manieth of its class each image is
    for label in np.unique(labels):
        turn[labels == label] = np.arange(np.count_nonzero(labels == label))
    chosen = order[np.lexsort((labels, turn))][:count]
    return images.take(chosen)


def _known_images(graph: Graph, images: ImageSet) -> KnownImages:
    pixels = images.images  # (M, h, w, C)
    embeddings = graph.run(pixels, [EMBEDDING])[0]
    lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
    height, width = pixels.shape[1:3]
    scale = min(1.0, _THUMBNAIL / max(height, width))
    size = max(1, round(height * scale)), max(1, round(width * scale))
    thumbnails = np.stack([fit(image, *size, "squash") for image in pixels])
    directions = embeddings / np.where(lengths > 0, lengths, np.ones_like(lengths))
    return KnownImages(thumbnails, directions, images.labels)


def _save_examples(folder: Path, images: ImageSet) -> None:
    folder.mkdir()
    for number, image in enumerate(images.images):
        grey = image.shape[2] == 1
        Image.fromarray(image[:, :, 0] if grey else image).save(folder / f"{number:02d}.png")
