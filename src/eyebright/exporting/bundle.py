"""`Bundle`: a model as it is shipped, and `open_bundle`, its reader. onnxruntime, numpy and Pillow; no torch.

A bundle is a folder

    model.onnx          the network, from uint8 images of any size to logits and probabilities
    bundle.json         names, InputSpec, temperature, conformal thresholds, reference for drift
    certificate.json    the measured proof that it answers as PyTorch does
    MODEL_CARD.md       data, scores, limits
    known.npz           optional: training images to show as the nearest known ones
    examples/*.png      optional: images to try it on

or one .onnx file that carries the first four.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from eyebright.core.errors import BundleError
from eyebright.core.input_spec import InputSpec
from eyebright.data.decode import decode, fit, load_image
from eyebright.data.image_files import find_images
from eyebright.evaluation.answer import Answer
from eyebright.exporting.certificate import Certificate
from eyebright.exporting.explanation import occlusion, scaled
from eyebright.exporting.graph import EMBEDDING, EVIDENCE, LOGITS, PROBABILITIES, Graph
from eyebright.exporting.known import KnownImages
from eyebright.exporting.manifest import Manifest

MODEL_FILE, MANIFEST_FILE, CERTIFICATE_FILE, CARD_FILE = (
    "model.onnx",
    "bundle.json",
    "certificate.json",
    "MODEL_CARD.md",
)
EXAMPLES = "examples"

_AGAIN = "Copy it again from where it came, or export the run again: eyebright export RUN OUT"


@dataclasses.dataclass(frozen=True, eq=False)
class Bundle:
    """A model that answers as it did in training. Safe to use from several threads.

    Attributes
    ----------
    path : folder or file that it was read from.
    manifest : what `bundle.json` says.
    certificate : how it compares with PyTorch.
    card : the model card, Markdown.
    graph : the network.
    """

    path: Path
    manifest: Manifest
    certificate: Certificate
    card: str
    graph: Graph

    def __repr__(self) -> str:
        spec = self.spec
        return (
            f"Bundle({self.name} {self.version}, {self.manifest.precision}, "
            f"{spec.height}x{spec.width}x{spec.channels}, {len(spec.classes)} classes)"
        )

    @property
    def name(self) -> str:
        """Of the model."""
        return self.manifest.name

    @property
    def version(self) -> str:
        """Changes with the weights."""
        return self.manifest.version

    @property
    def spec(self) -> InputSpec:
        """What goes in and what comes out."""
        return self.manifest.spec

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; position k is logit k."""
        return self.spec.classes

    @property
    def temperature(self) -> float:
        """Probabilities are softmax(logits / temperature)."""
        return self.manifest.temperature

    @functools.cached_property
    def known(self) -> KnownImages | None:
        """Training images to compare with; None where the bundle carries none."""
        return KnownImages.load(self.path, len(self.classes)) if self.path.is_dir() else None

    @property
    def examples(self) -> tuple[Path, ...]:
        """Images to try it on, sorted."""
        return tuple(sorted((self.path / EXAMPLES).glob("*.png"))) if self.path.is_dir() else ()

    def decode(self, source: Path | bytes | BinaryIO, *, name: str | None = None) -> NDArray[np.uint8]:
        """An image file as the user sees it, (H, W, C) uint8; see `eyebright.data.decode`.

        Raises
        ------
        BadImageError : it is not an image, is damaged or too large.
        """
        return decode(source, channels=self.spec.channels, name=name)

    def fit(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """An image (H, W, C) brought to the model's size (h, w, C) by Pillow, as in training."""
        spec = self.spec
        return fit(image, spec.height, spec.width, spec.resize, spec.interpolation)

    def load(self, source: Path | bytes | BinaryIO, *, name: str | None = None) -> NDArray[np.uint8]:
        """The pixels (h, w, C) uint8 that training would have seen of this file, bit for bit.

        Faster than `fit(decode(...))` for large JPEGs, which are not decoded at their full size.

        Raises
        ------
        BadImageError : as `decode`.
        """
        return load_image(source, self.spec, name=name)

    def run(self, images: NDArray[np.uint8], outputs: Sequence[str]) -> tuple[NDArray[np.float32], ...]:
        """Several outputs at the cost of one: of "logits", "probabilities", "embedding" (and "evidence").

        Raises
        ------
        ModelError : `images` are not (N, H, W, C) uint8.
        """
        return self.graph.run(images, outputs)

    def logits(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(N, K) for images (N, H, W, C) uint8; those of another size than the model's are resized by the graph."""
        return self.run(images, [LOGITS])[0]

    def probabilities(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(N, K), with the temperature applied; rows sum to 1."""
        return self.run(images, [PROBABILITIES])[0]

    def embedding(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(N, F), the features before the last layer."""
        return self.run(images, [EMBEDDING])[0]

    def predict(self, images: NDArray[np.uint8] | str | Path | Iterable[str | Path], *, top: int = 3) -> list[Answer]:
        """The most probable classes of images (N, H, W, C) uint8, or of files and folders of them.

        All files are held in memory at once; for folders of any size see `eyebright.exporting.bulk`.

        Raises
        ------
        BadImageError : a file cannot be decoded.
        """
        if isinstance(images, np.ndarray):
            names = [str(number) for number in range(len(images))]
        else:
            files = list(find_images([images] if isinstance(images, str | Path) else images))
            names = list(map(str, files))
            shape = (0, self.spec.height, self.spec.width, self.spec.channels)
            images = np.stack([self.load(path) for path in files]) if files else np.empty(shape, np.uint8)
        return self.answers(names, self.probabilities(images), top)

    def answers(self, names: Sequence[str], probabilities: NDArray[np.float32], top: int = 3) -> list[Answer]:
        """The `top` classes of each row of probabilities (N, K), the most probable first."""
        order = np.argsort(-probabilities, axis=1, kind="stable")[:, :top]  # (N, top)
        ranked = np.take_along_axis(probabilities, order, axis=1)
        return [
            Answer(name, tuple(self.classes[k] for k in row), tuple(values))
            for name, row, values in zip(names, order.tolist(), ranked.tolist(), strict=True)
        ]

    def plausible(self, probabilities: NDArray[np.float32], risk: float) -> NDArray[np.bool_]:
        """Classes (N, K) that cannot be ruled out at a risk; the model is sure where exactly one is left.

        For images like those of validation, the true class is missing for a share of at most `risk` of them: split
        conformal prediction, see `eyebright.exporting.calibration`.

        Raises
        ------
        BundleError : the bundle has no threshold for this risk.
        """
        threshold = self.manifest.conformal.get(risk)
        if threshold is None:
            known = ", ".join(f"{each:g}" for each in self.manifest.conformal) or "none, as it saw no validation images"
            raise BundleError(f"{self.path} has no threshold for the risk {risk:g}.", f"It has: {known}.")
        return 1 - probabilities <= threshold

    def explain(self, image: NDArray[np.uint8], label: int | None = None) -> NDArray[np.float32]:
        """What speaks for a class in an image: heat (h, w) from 0 to 1, at the model's size.

        Parameters
        ----------
        image : (H, W, C) uint8 of any size.
        label : the class; default: the predicted one.
        """
        fitted = self.fit(image)
        outputs = [LOGITS, *({EVIDENCE} & set(self.graph.outputs))]
        logits, *evidence = self.run(fitted[np.newaxis], outputs)
        chosen = int(logits[0].argmax()) if label is None else label
        if evidence:
            raw = evidence[0][0, chosen]  # (h', w')
        else:
            raw = occlusion(fitted, self.spec, lambda views: self.logits(views)[:, chosen])
        return scaled(raw, *fitted.shape[:2])


def is_bundle(path: str | Path) -> bool:
    """Whether a path looks like a bundle: an .onnx file, or a folder with a bundle.json."""
    found = Path(path)
    return found.suffix == ".onnx" or (found / MANIFEST_FILE).is_file()


def open_bundle(path: str | Path, *, threads: int | None = None) -> Bundle:
    """Read a bundle.

    Parameters
    ----------
    path : its folder, or its .onnx file.
    threads : that compute one batch; default: those this process may use.

    Raises
    ------
    BundleError : there is none, it is damaged, or it holds a network that ONNX Runtime does not compute.
    MissingExtraError : ONNX Runtime is not installed.
    """
    found = Path(path)
    if found.is_dir():
        return _open_folder(found, threads)
    if not found.is_file():
        raise BundleError(f"there is no bundle {path}.", "Make one: eyebright export RUN OUT")
    return _open_file(found, threads)


def _open_folder(path: Path, threads: int | None) -> Bundle:
    if not (path / MANIFEST_FILE).is_file():
        raise BundleError(f"{path} is not a bundle: it holds no {MANIFEST_FILE}.", "Make one: eyebright export RUN OUT")
    manifest = Manifest.from_dict(_json(path / MANIFEST_FILE), str(path / MANIFEST_FILE))
    if manifest.format != "onnx":
        raise BundleError(
            f"{path} holds a network in the format {manifest.format}, which is for other programs.",
            f"Its {CARD_FILE} says how to load it. For Eyebright export the run as ONNX: eyebright export RUN OUT",
        )
    file = path / Path(manifest.file).name  # whatever it says, the network lies in this folder
    content = _read(file)
    if digest_of(content) != manifest.digest:
        raise BundleError(f"{file} is not the file that {MANIFEST_FILE} was written for.", _AGAIN)
    certificate = Certificate.from_dict(_json(path / CERTIFICATE_FILE), str(path))
    card = _read(path / CARD_FILE).decode(errors="replace")
    return Bundle(path, manifest, certificate, card, Graph.load(content, str(file), threads))


def _open_file(path: Path, threads: int | None) -> Bundle:
    graph = Graph.load(_read(path), str(path), threads)
    about = graph.metadata
    if about is None:
        raise BundleError(
            f"{path} is an ONNX file, but not one that Eyebright exported: it does not say its classes and input.",
            "Make one: eyebright export RUN OUT",
        )
    manifest = Manifest.from_dict(about.get("bundle"), str(path))
    certificate = Certificate.from_dict(about.get("certificate"), str(path))
    return Bundle(path, manifest, certificate, str(about.get("card", "")), graph)


def digest_of(content: bytes) -> str:
    """BLAKE2b, 32 hex digits."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror or error}.", _AGAIN) from error


def _json(path: Path) -> Any:
    try:
        return json.loads(_read(path))
    except ValueError as error:  # no UTF-8 is one too
        raise BundleError(f"{path} is not JSON: {error}.", _AGAIN) from error
