"""The decorator and the numeric types that all settings share."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar, dataclass_transform

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as pydantic_dataclass

Positive = Annotated[int, Field(gt=0)]
NotNegative = Annotated[int, Field(ge=0)]
PositiveFloat = Annotated[float, Field(gt=0)]
NotNegativeFloat = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]  # 0 and 1 included
PositiveFraction = Annotated[float, Field(gt=0, le=1)]  # 0 excluded
OpenFraction = Annotated[float, Field(ge=0, lt=1)]  # 1 excluded

T = TypeVar("T")


@dataclass_transform(frozen_default=True, kw_only_default=True)
def settings(cls: type[T]) -> type[T]:
    """Make `cls` a frozen, keyword-only dataclass that refuses unknown fields and wrong types."""
    config = ConfigDict(extra="forbid", strict=False, allow_inf_nan=False)
    decorate: Any = pydantic_dataclass(frozen=True, kw_only=True, config=config)
    decorated: type[T] = decorate(cls)
    return decorated
