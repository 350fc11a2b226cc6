"""`Certificate`: the measured proof that an export answers as the model does. A record; no torch."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import numpy as np

from eyebright.core.errors import BundleError
from eyebright.evaluation.score import Score

Measure = Literal["difference", "accuracy"]

_MEASURES: dict[Measure, str] = {
    "difference": "largest difference of a logit",
    "accuracy": "loss of accuracy",
}


@dataclasses.dataclass(frozen=True)
class Resizing:
    """How the resizing inside the graph compares with Pillow's, which training used, on images of other sizes.

    Attributes
    ----------
    images : that were sent through both at their original size.
    max_difference : the largest absolute difference of a logit.
    flips : images whose predicted class differs.
    """

    images: int
    max_difference: float
    flips: int


@dataclasses.dataclass(frozen=True)
class Certificate:
    """The same images through PyTorch (fp32) and through the exported file.

    Attributes
    ----------
    format, precision : of the file, as in the manifest.
    source, split, images, fingerprint : which images, how many, and the hash of their content.
    max_difference, mean_difference : of the logits, absolute values over all images and classes.
    flips : images whose predicted class differs.
    model_accuracy, file_accuracy : of PyTorch and of the file.
    resizing : what the graph makes of images of other sizes; None where it takes one size only.
    single_milliseconds : of one image, median; with all threads.
    images_per_second : in batches, median.
    bytes : size of the file.
    measure, tolerance : what must not be exceeded, and by how much it may differ.
    versions : of the packages, and the processor.
    notes : what limits the comparison.
    """

    format: str
    precision: str
    source: str
    split: str
    images: int
    fingerprint: str
    max_difference: float
    mean_difference: float
    flips: int
    model_accuracy: Score
    file_accuracy: Score
    resizing: Resizing | None
    single_milliseconds: float
    images_per_second: float
    bytes: int
    measure: Measure
    tolerance: float
    versions: dict[str, str]
    notes: tuple[str, ...] = ()

    @property
    def measured(self) -> float:
        """What the tolerance is about."""
        if self.measure == "accuracy":
            return self.model_accuracy.value - self.file_accuracy.value
        resized = self.resizing.max_difference if self.resizing else 0.0
        return float(np.max([self.max_difference, resized]))  # unlike Python's, it lets no NaN go unnoticed

    @property
    def passed(self) -> bool:
        """Whether the file keeps within the tolerance; not a number is outside of any."""
        return self.measured <= self.tolerance

    @property
    def verdict(self) -> str:
        """One sentence."""
        within = "within" if self.passed else "over"
        return f"{_MEASURES[self.measure]} {self.measured:.3g}, {within} the tolerance of {self.tolerance:g}"

    def __repr__(self) -> str:
        rows = {
            "file": f"{self.format} {self.precision}, {self.bytes / 1e6:.2f} MB",
            "images": f"{self.images} of {self.source} {self.split} ({self.fingerprint[:8]})",
            "max |d logit|": f"{self.max_difference:.3g}   mean {self.mean_difference:.3g}",
            "label flips": str(self.flips),
            "accuracy": f"{self.model_accuracy} PyTorch",
            "": f"{self.file_accuracy} exported",
            "speed": f"{self.single_milliseconds:.2f} ms an image, {self.images_per_second:,.0f} images/s in batches",
        }
        if self.resizing:
            resizing = self.resizing
            rows["resizing"] = (
                f"in the graph instead of by Pillow: {resizing.images} images, max |d logit| "
                f"{resizing.max_difference:.3g}, {resizing.flips} flips"
            )
        rows["verdict"] = self.verdict
        return "\n".join([*(f"{name:<14} {text}" for name, text in rows.items()), *self.notes])

    def to_dict(self) -> dict[str, Any]:
        """A dictionary that JSON can hold."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, value: Any, source: str) -> Certificate:
        """The inverse of `to_dict`.

        Parameters
        ----------
        value : from JSON.
        source : what errors call it.

        Raises
        ------
        BundleError : it is damaged.
        """
        try:
            resizing = value["resizing"]
            read = {
                "model_accuracy": Score.from_dict(value["model_accuracy"]),
                "file_accuracy": Score.from_dict(value["file_accuracy"]),
                "resizing": None if resizing is None else Resizing(**resizing),
                "notes": tuple(value["notes"]),
            }
            return cls(**value | read)
        except (KeyError, TypeError) as error:
            raise BundleError(
                f"the certificate of {source} is damaged: {error!r}.", "Export the run again: eyebright export RUN OUT"
            ) from error
