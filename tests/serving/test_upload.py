"""Bodies within limits, whatever their header says, and the images in them."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterable
from typing import Any

import pytest

from eyebright.serving.problems import Problem
from eyebright.serving.upload import Budget, ClientGoneError, Receive, Upload, images_of, read_body

LIMIT = 100
BOUNDARY = "frontier"
FORM = f"multipart/form-data; boundary={BOUNDARY}".encode()


def sender(pieces: Iterable[bytes], *, gone: bool = False) -> Receive:
    """A client that sends its body in pieces; one that is gone disconnects in the place of its last piece."""
    messages: list[dict[str, Any]] = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    messages[-1] = {"type": "http.disconnect"} if gone else messages[-1] | {"more_body": False}

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    return receive


def read(receive: Receive, budget: Budget, headers: dict[bytes, bytes] | None = None) -> bytes:
    async def reading() -> bytes:
        with budget.hold() as held:
            return await read_body(receive, headers or {}, LIMIT, held)

    return asyncio.run(reading())


def images(content_type: bytes, body: bytes, most: int = 3, room: int = 1 << 30) -> list[Upload]:
    with Budget(room).hold() as held:
        return asyncio.run(images_of(content_type, body, most, held))


def form(*parts: tuple[str, bytes]) -> bytes:
    """Parts with a Content-Disposition each, as browsers write them."""
    written = b"".join(
        f"--{BOUNDARY}\r\nContent-Disposition: form-data; {head}\r\nContent-Type: image/png\r\n\r\n".encode()
        + content
        + b"\r\n"
        for head, content in parts
    )
    return written + f"--{BOUNDARY}--\r\n".encode()


@pytest.mark.parametrize("pieces", [[b"a" * LIMIT], [b"a" * 40, b"", b"a" * 60]])
def test_a_body_of_the_limit_is_read(pieces: list[bytes]) -> None:
    budget = Budget(1000)
    assert read(sender(pieces), budget) == b"a" * LIMIT
    assert budget.held == 0


@pytest.mark.parametrize("declared", [b"101", b"5", b"", b"-1", b"nonsense"])
def test_a_body_over_the_limit_is_refused_whatever_its_header_says(declared: bytes) -> None:
    rest = sender([b"a" * 60, b"a" * 41, b"a" * 500])
    budget = Budget(1000)
    with pytest.raises(Problem) as refused:
        read(rest, budget, {b"content-length": declared})
    assert refused.value.status == 413
    assert refused.value.headers == ()  # all of it was read, so that the connection can go on
    assert budget.held == 0
    with pytest.raises(IndexError):
        asyncio.run(rest())  # type: ignore[arg-type]  # an awaitable of our own is a coroutine


def test_a_body_without_end_is_not_read_to_its_end() -> None:
    with pytest.raises(Problem) as refused:
        read(sender([bytes(8 << 20)] * 20), Budget(1000))
    assert (b"connection", b"close") in refused.value.headers


def test_all_requests_together_are_bounded() -> None:
    budget = Budget(100)
    with budget.hold() as held:
        held.take(50)
        with pytest.raises(Problem) as refused:
            read(sender([b"a" * 51]), budget)
        assert refused.value.status == 429
        assert budget.held == 50
    assert budget.held == 0


@pytest.mark.parametrize("pieces", [[b""], [b"a", b""], [b"a" * 101, b""]])
def test_a_client_that_goes_is_noticed(pieces: list[bytes]) -> None:
    with pytest.raises(ClientGoneError):
        read(sender(pieces, gone=True), Budget(1000))


def test_raw_bytes_are_one_image() -> None:
    assert images(b"image/png", b"abc") == [Upload("", b"abc")]
    assert images(b"Image/JPEG; q=1", b"abc") == [Upload("", b"abc")]


def test_files_of_a_form_in_order() -> None:
    body = form(('name="image"; filename="a b.png"', b"one\r\n--front"), ('name="x"; filename="\u00e9"', b""))
    assert images(FORM, body) == [Upload("a b.png", b"one\r\n--front"), Upload("\u00e9", b"")]


def test_a_large_form_is_read_too() -> None:
    content = bytes(range(256)) * 2000
    assert images(FORM, form(('name="image"; filename="a"', content)))[0].data == content


def test_json_takes_its_copies_from_the_budget() -> None:
    body = json.dumps({"images": [{"data": base64.b64encode(bytes(600)).decode()}]}).encode()
    assert len(images(b"application/json", body, room=3 * len(body))) == 1
    with pytest.raises(Problem) as refused:
        images(b"application/json", body, room=3 * len(body) - 1)
    assert refused.value.status == 429


def test_json_with_base64() -> None:
    encoded = base64.b64encode(b"abc").decode()
    body = json.dumps({"images": [{"data": encoded, "name": "a.png"}, {"data": encoded}]}).encode()
    assert images(b"application/json; charset=utf-8", body) == [Upload("a.png", b"abc"), Upload("", b"abc")]


@pytest.mark.parametrize(
    ("content_type", "body", "status", "said"),
    [
        (b"", b"abc", 415, "without content type"),
        (b"text/plain", b"abc", 415, "'text/plain'"),
        (b"image/svg+xml", b"<svg/>", 415, "SVG"),
        (b"multipart/form-data", b"abc", 400, "no boundary"),
        (FORM, b"abc", 400, "damaged"),
        (FORM, form(('name="a"; filename="a"', b"abc"))[:-30], 400, "before its last boundary"),
        (FORM, f"--{BOUNDARY}--\r\n".encode(), 400, "holds no file"),
        (FORM, form(('name="top"', b"3")), 400, "'top'"),
        (FORM, form(*[('name="a"; filename="a"', b"")] * 4), 413, "more than 3 images"),
        (b"multipart/form-data; boundary=" + b"x" * 300, b"abc", 400, "damaged"),
        (b"application/json", b"{", 400, "not JSON"),
        (b"application/json", b"[" * 100_000, 400, "not JSON"),
        (b"application/json", b"\xff", 400, "not JSON"),
        (b"application/json", b"[]", 400, "'images'"),
        (b"application/json", b'{"images": [], "top": 3}', 400, "'images'"),
        (b"application/json", b'{"images": []}', 400, "holds no file"),
        (b"application/json", b'{"images": ["YWJj"]}', 400, "images[0]"),
        (b"application/json", b'{"images": [{"data": "YWJj"}, {"data": 3}]}', 400, "images[1]"),
        (b"application/json", b'{"images": [{"data": "Y!"}]}', 400, "not base64"),
        (b"application/json", b'{"images": [{"data": "\xc3\xa9"}]}', 400, "not base64"),
        (b"application/json", b'{"images": [{}, {}, {}, {}]}', 413, "more than 3 images"),
        (b"application/json", b'{"images": [' + b"[]," * 3001 + b"[]]}", 400, "more values than 3 images"),
    ],
)
def test_what_is_no_batch_of_images_is_named(content_type: bytes, body: bytes, status: int, said: str) -> None:
    with pytest.raises(Problem) as refused:
        images(content_type, body)
    assert refused.value.status == status
    assert said in refused.value.cause
    assert refused.value.remedy
