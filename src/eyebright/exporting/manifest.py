"""`Manifest`: what a bundle says of itself, apart from the network. Plain JSON; no torch."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from eyebright.core.errors import BundleError
from eyebright.core.input_spec import InputSpec

FORMAT_VERSION = 1  # raise it whenever an older reader would misunderstand what is written
_TEXTS = ("name", "version", "created", "file", "format", "precision", "digest")
_REMEDY = "Export the run again: eyebright export RUN OUT"


@dataclasses.dataclass(frozen=True)
class Reference:
    """What was usual on the validation images, to notice later that the images have changed.

    Attributes
    ----------
    images : how many it was measured on.
    pixel_mean, pixel_std : (C,) over all pixels of all images, in 0..255.
    embedding_mean, embedding_std : (F,) over the images.
    confidences : (20,) images by the probability of the predicted class: 0 to 0.05, ..., 0.95 to 1.
    predicted : (K,) images by predicted class.
    """

    images: int
    pixel_mean: tuple[float, ...]
    pixel_std: tuple[float, ...]
    embedding_mean: tuple[float, ...]
    embedding_std: tuple[float, ...]
    confidences: tuple[int, ...]
    predicted: tuple[int, ...]

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Reference:
        """The inverse of `dataclasses.asdict`, by way of JSON."""
        return cls(int(value["images"]), *(tuple(value[field.name]) for field in dataclasses.fields(cls)[1:]))


@dataclasses.dataclass(frozen=True)
class Manifest:
    """The file `bundle.json`.

    Attributes
    ----------
    name, version : of the model; the version changes with the weights.
    created : time of the export, ISO 8601, UTC.
    file : name of the network's file beside this one.
    format : "onnx", "pt2", "openvino" or "executorch".
    precision : "fp32", "fp16" or "int8".
    digest : BLAKE2b of the network's file, 32 hex digits.
    spec : what goes in and what comes out.
    temperature : probabilities are softmax(logits / temperature).
    conformal : by risk, the threshold q: the classes of probability at least 1 - q hold the truth but for that share
        of images like the validation images (split conformal prediction).
    reference : what was usual on the validation images; None where there were none.
    limits : sentences that whoever uses the model should know.
    """

    name: str
    version: str
    created: str
    file: str
    format: str
    precision: str
    digest: str
    spec: InputSpec
    temperature: float
    conformal: dict[float, float]
    reference: Reference | None
    limits: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """A dictionary that JSON can hold."""
        value = dataclasses.asdict(self)
        value["input_spec"] = value.pop("spec")
        value["conformal"] = {f"{risk:g}": threshold for risk, threshold in self.conformal.items()}
        return {"format_version": FORMAT_VERSION, **value}

    @classmethod
    def from_dict(cls, value: Any, source: str) -> Manifest:
        """The inverse of `to_dict`.

        Parameters
        ----------
        value : from JSON.
        source : what errors call it.

        Raises
        ------
        BundleError : it is of a newer Eyebright, or damaged.
        """
        if not isinstance(value, dict) or not isinstance(value.get("format_version"), int):
            raise BundleError(f"{source} does not describe a bundle.", _REMEDY)
        if value["format_version"] > FORMAT_VERSION:
            raise BundleError(
                f"{source} has the format {value['format_version']}, but this Eyebright reads up to {FORMAT_VERSION}.",
                "Install a newer Eyebright, or export the run again with this one.",
            )
        try:
            return cls._read(value)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BundleError(f"{source} is damaged: {error!r}.", _REMEDY) from error

    @classmethod
    def _read(cls, value: dict[str, Any]) -> Manifest:
        temperature = float(value["temperature"])
        if not (math.isfinite(temperature) and temperature > 0):
            raise ValueError(f"temperature={temperature}")
        reference = value["reference"]
        return cls(
            **{name: str(value[name]) for name in _TEXTS},
            spec=InputSpec.from_dict(value["input_spec"]),
            temperature=temperature,
            conformal={float(risk): float(threshold) for risk, threshold in value["conformal"].items()},
            reference=None if reference is None else Reference.from_dict(reference),
            limits=tuple(value["limits"]),
        )
