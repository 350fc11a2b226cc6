"""The key: where it may be written, what it must be, and who gets in."""

from __future__ import annotations

from pathlib import Path

import pytest

from eyebright.core.errors import ServingError
from eyebright.serving.key import Key
from eyebright.serving.problems import Problem

SECRET = b"0123456789abcdef"


@pytest.mark.parametrize(
    "headers",
    [
        {b"x-api-key": SECRET},
        {b"authorization": b"Bearer " + SECRET},
        {b"authorization": b"bearer   " + SECRET},
    ],
)
def test_the_right_key_gets_in(headers: dict[bytes, bytes]) -> None:
    Key(SECRET).check(headers)


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({}, "no key"),
        ({b"x-api-key": b""}, "not the right one"),
        ({b"x-api-key": SECRET[:-1]}, "not the right one"),
        ({b"x-api-key": b"\xff" * 16}, "not the right one"),
        ({b"authorization": SECRET}, "no key"),
        ({b"authorization": b"Basic " + SECRET}, "no key"),
    ],
)
def test_others_do_not(headers: dict[bytes, bytes], said: str) -> None:
    with pytest.raises(Problem, match=said) as refused:
        Key(SECRET).check(headers)
    assert refused.value.status == 401
    assert (b"www-authenticate", b"Bearer") in refused.value.headers


def test_without_a_key_all_get_in() -> None:
    key = Key.read(None)
    assert not key.is_set
    key.check({})


def test_a_key_is_read_without_the_white_space_around_it(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(b" " + SECRET + b"\n")
    Key.read(path).check({b"x-api-key": SECRET})


def test_a_key_that_is_too_short_or_missing_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key"
    with pytest.raises(ServingError, match="cannot be read"):
        Key.read(path)
    path.write_text("secret\n", encoding="utf-8")
    with pytest.raises(ServingError, match="has 6 characters") as refused:
        Key.read(path)
    assert "secret" not in str(refused.value)
