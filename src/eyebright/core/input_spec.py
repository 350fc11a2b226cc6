"""`InputSpec`: what a model expects of its pixels. It travels inside the model and every export."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

Resize = Literal["crop", "squash", "pad"]
Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]


@dataclasses.dataclass(frozen=True)
class InputSpec:
    """The pixels that go in and the classes that come out.

    Attributes
    ----------
    height, width : pixels, after resizing.
    channels : 1 (grey) or 3 (RGB).
    mean, std : per channel, in units of the 0..1 range; the model itself applies them.
    classes : class names; position k is logit k.
    resize : how an image of another shape is made to fit. "crop" scales the shorter side and cuts
        the middle out, "squash" ignores the aspect ratio, "pad" scales the longer side and fills with black.
    interpolation : the resampling filter (Pillow's, which antialiases when it shrinks).
    licence : of the weights that the training began with; empty where it began with random ones.
    """

    height: int
    width: int
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    classes: tuple[str, ...]
    resize: Resize = "crop"
    interpolation: Interpolation = "bilinear"
    licence: str = ""

    def to_dict(self) -> dict[str, Any]:
        """A dictionary that JSON can hold."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> InputSpec:
        """The inverse of `to_dict`."""
        fields = dict(value)
        for name in ("mean", "std", "classes"):
            fields[name] = tuple(fields[name])
        return cls(**fields)
