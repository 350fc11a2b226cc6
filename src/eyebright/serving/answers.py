"""The answers in JSON, as OpenAPI describes them. `/predict` and `/explain` write them without these classes."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

_PROBABILITY = Field(ge=0, le=1.000001)  # rounding may take the surest above 1


class Answer(BaseModel):
    """Base: an answer has the members that are described and no others."""

    model_config = ConfigDict(extra="forbid")


class ProblemAnswer(Answer):
    """Why a request, or one image of it, is refused (RFC 9457)."""

    type: str = Field(examples=["urn:eyebright:problem:not-an-image"])
    title: str
    status: int = Field(ge=400, le=599)
    detail: str = Field(description="The cause.")
    remedy: str = Field(description="What to do about it.")


class ClassAnswer(Answer):
    """A class and its probability."""

    label: str
    probability: float = _PROBABILITY


class NeighbourAnswer(Answer):
    """A known image that looks alike to the model."""

    label: str
    similarity: float = Field(ge=-1.000001, le=1.000001, description="Cosine of the angle between the embeddings.")
    image: str = Field(description="Where its thumbnail is, a path on this server.")


class JudgedImage(Answer):
    """What the model says of one image."""

    name: str = Field(description="As the client called it; else empty.")
    label: str = Field(description="The most probable class.")
    probability: float = _PROBABILITY
    top: list[ClassAnswer] = Field(description="The most probable first.")
    sure: bool = Field(
        default=False, description="Exactly one class is plausible at the risk. Missing where the model has no risks."
    )
    plausible: list[str] = Field(
        default=[], description="Classes that cannot be ruled out at the risk. Missing where the model has no risks."
    )
    nearest: list[NeighbourAnswer] = Field(default=[], description="Only if asked for, and the model has any.")
    remark: str = Field(default="", description="Only if something about the image should be known.")


class RefusedImage(Answer):
    """An image that could not be judged, among others that could."""

    name: str
    problem: ProblemAnswer


class PredictAnswer(Answer):
    """The answer of `/predict`: the images in the order in which they came."""

    model: str
    version: str
    risk: float | None = Field(description="That was used for `sure` and `plausible`; null where the model has none.")
    images: list[JudgedImage | RefusedImage]


class HeatAnswer(Answer):
    """What speaks for a class in an image."""

    model: str
    version: str
    label: str = Field(description="The class that is explained.")
    probability: float = _PROBABILITY
    height: int = Field(gt=0)
    width: int = Field(gt=0)
    heat: list[list[float]] = Field(description="Rows of numbers from 0 to 1, at the size that the model looks at.")


class ModelAnswer(Answer):
    """A model that is served."""

    name: str
    version: str
    default: bool = Field(description="Whether it answers where a request names no model.")
    precision: str
    classes: list[str]
    height: int
    width: int
    channels: int
    resize: str = Field(description="How an image of another shape is made to fit: crop, squash or pad.")
    risks: list[float] = Field(description="That `risk` can choose from; empty: it never says whether it is sure.")
    known_images: int = Field(description="That `nearest` can show.")
    examples: int = Field(description="Images to try it on, see /examples.")
    accuracy: float = Field(description="Of the exported file on the images of its certificate.")
    accuracy_low: float
    accuracy_high: float
    limits: list[str] = Field(description="Sentences that whoever uses the model should know.")


class ExampleAnswer(Answer):
    """An image to try a model on."""

    name: str
    image: str = Field(description="Where it is, a path on this server.")


class StateAnswer(Answer):
    """How the server is."""

    status: str


class ReloadAnswer(Answer):
    """What became of the bundles that had changed."""

    models: list[ModelAnswer]
    failures: list[str] = Field(description="Why a changed bundle is not used; its old version is served on.")


def schemas(template: str) -> dict[str, Any]:
    """JSON schemas of the answers that FastAPI does not see, by name."""
    answers: list[type[Answer]] = [PredictAnswer, HeatAnswer, ProblemAnswer]
    described = {answer.__name__: TypeAdapter(answer).json_schema(ref_template=template) for answer in answers}
    return described | {name: part for schema in described.values() for name, part in schema.pop("$defs", {}).items()}
