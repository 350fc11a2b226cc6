"""`Answer`: what a model says of one loose image. No torch: a bundle answers too."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a model says of one image.

    Attributes
    ----------
    name : the file.
    classes, probabilities : the most probable first; empty where the image could not be read.
    problem : why it could not be read, else "".
    """

    name: str
    classes: tuple[str, ...]
    probabilities: tuple[float, ...]
    problem: str = ""
