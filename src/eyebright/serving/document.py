"""The OpenAPI document of what FastAPI does not see: `/predict` and `/explain`."""

from __future__ import annotations

from typing import Any

from eyebright.serving import answers, query
from eyebright.serving.key import HEADER
from eyebright.serving.problems import MEDIA_TYPE

# A grey PNG of 8 x 8 pixels.
_EXAMPLE = "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAAAAADhZOFXAAAAEElEQVR42mNsYIAAJgaKGAAmCACQtTEKkQAAAABJRU5ErkJggg=="
_SCHEMA = "#/components/schemas/{model}"
_JUDGED = {
    "name": "photo.jpg",
    "label": "cat",
    "probability": 0.93,
    "top": [{"label": "cat", "probability": 0.93}, {"label": "dog", "probability": 0.05}],
    "sure": True,
    "plausible": ["cat"],
}
_PREDICTED = {"model": "pets", "version": "3f2a", "risk": 0.1, "images": [_JUDGED]}
_HEAT = {
    "model": "pets",
    "version": "3f2a",
    "label": "cat",
    "probability": 0.93,
    "height": 2,
    "width": 2,
    "heat": [[0.0, 0.2], [0.7, 1.0]],
}
_REFUSALS = {
    "400": "A parameter or the request does not fit.",
    "401": "The key is missing or wrong.",
    "403": "This server does not allow it.",
    "404": "There is no such model, or nothing at this place.",
    "408": "The request arrived too slowly.",
    "413": "Too many bytes, images or pixels.",
    "415": "The content is no image of a known format.",
    "422": "The image is empty or damaged.",
    "429": "The server is busy: try again after the seconds in Retry-After.",
    "500": "The server failed.",
    "503": "The server takes no images now.",
    "504": "The answer took too long.",
}
_OF_IMAGES = ("400", "401", "404", "408", "413", "415", "422", "429", "500", "504")


def complete(document: dict[str, Any], *, with_key: bool) -> dict[str, Any]:
    """Add the two paths, the schemas of their answers, and the key to FastAPI's document."""
    parts = document.setdefault("components", {})
    parts["schemas"] = parts.get("schemas", {}) | answers.schemas(_SCHEMA)
    document["paths"] |= {"/predict": {"post": _predict()}, "/explain": {"post": _explain()}}
    if with_key:
        parts["securitySchemes"] = {
            "key": {"type": "apiKey", "in": "header", "name": HEADER},
            "bearer": {"type": "http", "scheme": "bearer"},
        }
        document["security"] = [{"key": []}, {"bearer": []}]
    return document


def refusals(*statuses: str) -> dict[int | str, dict[str, Any]]:
    """Answers with a problem, by status, as OpenAPI has them."""
    schema = {"$ref": _SCHEMA.format(model="ProblemAnswer")}
    return {
        status: {"description": _REFUSALS[status], "content": {MEDIA_TYPE: {"schema": schema}}} for status in statuses
    }


def _predict() -> dict[str, Any]:
    content = {
        "application/json": {"schema": {"$ref": _SCHEMA.format(model="PredictAnswer")}, "example": _PREDICTED},
    }
    return {
        "operationId": "predict",
        "summary": "Classify images",
        "description": "The most probable classes of each image, and which of them cannot be ruled out at a risk. An"
        " image that cannot be judged is refused; among others that can be, its place says why. Of an animated image"
        " the first frame is judged.",
        "parameters": query.parameters(query.PredictQuery),
        "requestBody": _body(several=True),
        "responses": {"200": {"description": "The answers, in the order of the images.", "content": content}}
        | refusals(*_OF_IMAGES),
    }


def _explain() -> dict[str, Any]:
    content = {
        "image/png": {"schema": {"type": "string", "format": "binary"}},
        "application/json": {"schema": {"$ref": _SCHEMA.format(model="HeatAnswer")}, "example": _HEAT},
    }
    return {
        "operationId": "explain",
        "summary": "Show what speaks for a class",
        "description": "Where an image speaks for a class: a picture of it, or numbers. It takes many inferences.",
        "parameters": query.parameters(query.ExplainQuery),
        "requestBody": _body(several=False),
        "responses": {"200": {"description": "The map.", "content": content}} | refusals(*_OF_IMAGES),
    }


def _body(*, several: bool) -> dict[str, Any]:
    images = {"type": "array", "minItems": 1, **({} if several else {"maxItems": 1})}
    binary = {"type": "string", "format": "binary"}
    encoded = {
        "type": "object",
        "required": ["data"],
        "additionalProperties": False,
        "properties": {
            "name": {"type": "string"},
            "data": {"type": "string", "format": "byte", "description": "The content of the file in base64."},
        },
    }
    return {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["image"],
                    "additionalProperties": False,
                    "properties": {"image": images | {"items": binary}},
                }
            },
            "image/*": {"schema": binary},
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["images"],
                    "additionalProperties": False,
                    "properties": {"images": images | {"items": encoded}},
                },
                "example": {"images": [{"name": "grey.png", "data": _EXAMPLE}]},
            },
        },
    }
