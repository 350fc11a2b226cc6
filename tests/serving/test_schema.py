"""schemathesis reads the OpenAPI document, sends what it allows and what it does not, and checks every answer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import schemathesis
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.serving.conftest import serving

# The images that it draws are hardly ever images: that what fits is accepted cannot be checked here.
_CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
_EXAMPLES = 25  # of each path and mode, the same in every run


@pytest.fixture(scope="module")
def document(bundle: Path) -> Iterator[schemathesis.BaseSchema]:
    """That of a running server."""
    with serving(bundle) as url:
        yield schemathesis.openapi.from_url(f"{url}/openapi.json")


@pytest.mark.slow  # some hundred requests
@pytest.mark.parametrize("mode", list(GenerationMode))
def test_every_answer_is_as_described(document: schemathesis.BaseSchema, mode: GenerationMode) -> None:
    operations = [found.ok() for found in document.get_all_operations() if isinstance(found, Ok)]
    assert len(operations) == 10
    for operation in operations:
        described = operation.definition.raw
        if mode is GenerationMode.NEGATIVE and not described.keys() & {"parameters", "requestBody"}:
            continue  # nothing can be wrong about it

        @hypothesis.settings(
            max_examples=_EXAMPLES,
            derandomize=True,
            database=None,
            suppress_health_check=list(hypothesis.HealthCheck),  # drawing what does not fit takes many attempts
        )
        @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
        def check(case: schemathesis.Case[Any]) -> None:
            case.call_and_validate(checks=_CHECKS)

        check()
