"""What a refusal says, and how it goes over a connection."""

from __future__ import annotations

import json

import pytest

from eyebright.serving.problems import KINDS, Problem, overloaded


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_has_a_status_and_a_title(kind: str) -> None:
    said = Problem(kind, "why", "what to do").to_dict()
    assert said["type"] == f"urn:eyebright:problem:{kind}"
    assert 400 <= said["status"] < 600
    assert said["title"]
    assert (said["detail"], said["remedy"]) == ("why", "what to do")


def test_an_overloaded_server_says_when_to_come_back() -> None:
    problem = overloaded("full")
    assert problem.status == 429
    assert (b"retry-after", b"1") in problem.all_headers()


def test_the_raw_answer_is_http() -> None:
    head, _, content = Problem("too-slow", "why", "hurry").raw().partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0].startswith(b"HTTP/1.1 408 ")
    assert b"content-type: application/problem+json" in lines
    assert b"content-length: %d" % len(content) in lines
    assert json.loads(content)["detail"] == "why"
