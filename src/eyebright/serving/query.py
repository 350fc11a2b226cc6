"""The options behind the question mark of a URL, validated; one unknown or misspelt is refused and not ignored."""

from __future__ import annotations

import dataclasses
import functools
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import parse_qsl

from pydantic import Field, TypeAdapter, ValidationError

from eyebright.core.errors import nearest as nearest_name
from eyebright.core.settings.fields import settings
from eyebright.serving.problems import Problem

_MODEL = "Name of the model; default: the first that is served."
_VERSION = "Version of the model; default: the first that is served."


@settings
class PredictQuery:
    """Options of `/predict`."""

    model: Annotated[str, Field(description=_MODEL)] | None = None
    version: Annotated[str, Field(description=_VERSION)] | None = None
    top: Annotated[int, Field(ge=1, le=1000, description="Classes to name for each image.")] = 5
    risk: (
        Annotated[
            float,
            Field(
                gt=0,
                lt=1,
                description="Share of images for which the true class may be missing among the plausible ones. The"
                " largest of the model's risks up to this one is taken; default: the largest. See /models.",
            ),
        ]
        | None
    ) = None
    nearest: Annotated[int, Field(ge=0, le=50, description="Known images to name that look alike to the model.")] = 0


@settings
class ExplainQuery:
    """Options of `/explain`."""

    model: Annotated[str, Field(description=_MODEL)] | None = None
    version: Annotated[str, Field(description=_VERSION)] | None = None
    label: Annotated[str, Field(description="Class to explain; default: the predicted one.")] | None = None
    format: Annotated[
        Literal["png", "json"], Field(description="A picture, or the heat of every pixel as numbers.")
    ] = "png"


@settings
class ModelQuery:
    """Which model a request is about."""

    model: Annotated[str, Field(description=_MODEL)] | None = None
    version: Annotated[str, Field(description=_VERSION)] | None = None


Query = TypeVar("Query", PredictQuery, ExplainQuery, ModelQuery)


@functools.lru_cache(maxsize=256)  # most clients send the same options every time
def parse(kind: type[Query], text: bytes) -> Query:
    """The options in the query of a URL, without its question mark.

    Raises
    ------
    Problem : an option is unknown, is given twice, or does not fit.
    """
    given: dict[str, str] = {}
    for name, value in parse_qsl(text.decode("latin-1"), keep_blank_values=True):
        if name in given:
            raise Problem("bad-parameter", f"{name!r} is given more than once.", "Give it once.")
        given[name] = value
    known = [field.name for field in dataclasses.fields(kind)]
    for name in given:
        if name not in known:
            raise Problem("bad-parameter", f"there is no parameter {name!r}.", nearest_name(name, known))
    try:
        return TypeAdapter(kind).validate_python(given)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        raise Problem(
            "bad-parameter", f"{name}={given[name]!r} does not fit: {first['msg']}.", "See /openapi.json."
        ) from error


def parameters(kind: type[Any]) -> list[dict[str, Any]]:
    """The options as OpenAPI has them."""
    return [
        {
            "name": name,
            "in": "query",
            "required": False,
            "description": _flat(schema).pop("description", ""),
            "schema": {key: value for key, value in _flat(schema).items() if key not in {"description", "title"}},
        }
        for name, schema in TypeAdapter(kind).json_schema()["properties"].items()
    ]


def _flat(schema: dict[str, Any]) -> dict[str, Any]:
    """Without the null that stands for an option that is not given: a URL cannot say it."""
    alternatives = [each for each in schema.get("anyOf", ()) if each.get("type") != "null"]
    return dict(alternatives[0]) if alternatives else dict(schema)
