"""Options of a URL: what fits, what is refused, and what OpenAPI says of them."""

from __future__ import annotations

import pytest

from eyebright.serving.problems import Problem
from eyebright.serving.query import ExplainQuery, PredictQuery, parameters, parse


def test_options_are_read() -> None:
    assert parse(PredictQuery, b"") == PredictQuery()
    assert parse(PredictQuery, b"top=3&model=a+b%2Fc&risk=0.05&version=&nearest=2") == PredictQuery(
        top=3, model="a b/c", risk=0.05, version="", nearest=2
    )
    assert parse(ExplainQuery, b"format=json&label=%C3%A9").label == "\u00e9"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"topp=3", "'topp'"),
        (b"top=3&top=4", "more than once"),
        (b"top=0", "top='0'"),
        (b"top=many", "top='many'"),
        (b"top=", "top=''"),
        (b"risk=1", "risk='1'"),
        (b"risk=nan", "risk='nan'"),
        (b"nearest=-1", "nearest"),
    ],
)
def test_what_does_not_fit_is_named(text: bytes, said: str) -> None:
    with pytest.raises(Problem) as refused:
        parse(PredictQuery, text)
    assert refused.value.status == 400
    assert said in refused.value.cause
    assert refused.value.remedy


def test_openapi_says_the_same() -> None:
    said = {parameter["name"]: parameter for parameter in parameters(PredictQuery)}
    assert set(said) == {"model", "version", "top", "risk", "nearest"}
    assert said["top"]["schema"] == {"type": "integer", "minimum": 1, "maximum": 1000, "default": 5}
    assert said["risk"]["schema"]["exclusiveMinimum"] == 0
    assert "Classes to name" in said["top"]["description"]
    assert parameters(ExplainQuery)[-1]["schema"]["enum"] == ["png", "json"]
