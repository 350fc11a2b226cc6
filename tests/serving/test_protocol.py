"""Clients that are slow, many, or speak no HTTP, against a server in a thread of this process."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.serving.bundles import png
from tests.serving.conftest import connect, exchange, serving, wait_until

POST = b"POST /predict HTTP/1.1\r\nHost: here\r\nContent-Type: image/png\r\n"


@pytest.fixture(scope="module")
def hasty(bundle: Path) -> Iterator[str]:
    """The address of a server that waits for nobody."""
    with serving(bundle, header_seconds=0.3, body_seconds=0.3, max_body=100_000) as url:
        yield url


def problem(answer: bytes, status: int) -> str:
    """The cause in the last answer of a connection."""
    head, _, content = answer.rpartition(b"\r\n\r\n")
    assert b"HTTP/1.1 %d " % status in head
    assert b"content-type: application/problem+json" in head
    said = json.loads(content)
    assert said["status"] == status
    assert said["remedy"]
    cause: str = said["detail"]
    return cause


def whole(data: bytes, headers: bytes = b"") -> bytes:
    """A request of `/predict`."""
    return POST + headers + b"Content-Length: %d\r\n\r\n" % len(data) + data


@pytest.mark.parametrize(
    ("begun", "what"),
    [
        (b"GET /heal", "head"),
        (POST, "head"),
        (POST + b"Content-Length: 10\r\n\r\n", "body"),
        (POST + b"Content-Length: 10\r\n\r\nabc", "body"),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", "body"),
        (b"GET /healthz HTTP/1.1\r\nHost: here\r\n\r\nGET /", "head"),
    ],
)
def test_a_slow_client_is_told_and_left(hasty: str, begun: bytes, what: str) -> None:
    assert f"the {what} of the request" in problem(exchange(hasty, begun), 408)


@pytest.mark.parametrize(
    "begun",
    [
        b"",
        b"POST /healthz HTTP/1.1\r\nHost: here\r\nContent-Length: 10\r\n\r\nabc",  # answered before it is complete
    ],
)
def test_a_connection_on_which_nothing_comes_is_closed(hasty: str, begun: bytes) -> None:
    assert b"408" not in exchange(hasty, begun)


def test_empty_lines_do_not_keep_a_connection(hasty: str) -> None:
    with connect(hasty) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n")
        answer = b""
        while b'"alive"' not in answer:
            answer += connection.recv(1 << 16)
        connection.sendall(b"\r\n")
        while connection.recv(1 << 16):
            pass  # it would wait until the time of the socket is over, and raise


def test_a_client_that_goes_in_the_middle_is_forgotten(hasty: str) -> None:
    for begun in (b"GET /heal", POST + b"Content-Length: 10\r\n\r\nabc"):
        with connect(hasty) as connection:
            connection.sendall(begun)
    assert httpx2.get(f"{hasty}/healthz").status_code == 200


@pytest.mark.parametrize("begun", [b"\x16\x03\x01\x02\0\x01", b"hello\r\n\r\n", b"GET  HTTP/9\r\n\r\n"])
def test_what_is_not_http_is_named(hasty: str, begun: bytes) -> None:
    assert "not HTTP/1.1" in problem(exchange(hasty, begun), 400)


def test_a_head_without_end_is_refused(hasty: str) -> None:
    endless = b"GET / HTTP/1.1\r\nX: " + b"a" * 200_000
    with connect(hasty) as connection:
        with contextlib.suppress(ConnectionError):  # it may be closed before all is sent
            connection.sendall(endless)
        with contextlib.suppress(ConnectionError):
            assert b"HTTP/1.1 431 " in connection.recv(1 << 16)


def test_an_upload_is_counted_as_it_comes_whatever_its_header_says(hasty: str) -> None:
    chunk = b"%x\r\n" % 60_000 + bytes(60_000) + b"\r\n"
    request = POST + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 3 + b"0\r\n\r\n"
    request = request.replace(b"Host", b"Connection: close\r\nHost")
    assert "100,000 bytes" in problem(exchange(hasty, request), 413)
    assert "100,000 bytes" in problem(exchange(hasty, whole(bytes(200_000), b"Connection: close\r\n")), 413)


def test_a_connection_goes_on_after_a_refusal(hasty: str) -> None:
    requests = whole(bytes(200_000)) + whole(b"no image") + whole(png("dark"), b"Connection: close\r\n")
    answers = exchange(hasty, requests)
    assert [answers.count(b"HTTP/1.1 %d " % status) for status in (413, 415, 200)] == [1, 1, 1]


def test_a_client_that_asks_whether_it_may_send_is_answered(hasty: str) -> None:
    answer = exchange(hasty, whole(png("dark"), b"Expect: 100-continue\r\nConnection: close\r\n"))
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 ")


def test_a_client_that_does_not_take_its_answers_is_left(bundle: Path) -> None:
    with serving(bundle, body_seconds=0.3) as url, connect(url) as connection:
        connection.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: here\r\n\r\n" * 500)  # 10 MB and more

        def is_cut() -> bool:
            try:
                connection.send(b"\r\n")
            except ConnectionError:
                return True
            return False

        wait_until(is_cut)
        assert httpx2.get(f"{url}/healthz").status_code == 200


def test_another_protocol_is_refused_where_a_body_would_get_lost(hasty: str) -> None:
    upgrade = b"Connection: Upgrade, close\r\nUpgrade: h2c\r\n"
    assert "Upgrade" in problem(exchange(hasty, whole(png("dark"), upgrade)), 400)
    plain = exchange(hasty, b"GET /healthz HTTP/1.1\r\nHost: here\r\n" + upgrade + b"\r\n")
    assert plain.startswith(b"HTTP/1.1 200 ")


def test_too_many_connections_are_answered_and_closed(bundle: Path) -> None:
    with serving(bundle, max_connections=20) as url, contextlib.ExitStack() as crowd:
        idle = []
        for _ in range(300):
            connection = crowd.enter_context(connect(url))
            connection.sendall(whole(png("dark")))  # at once: a refused connection is closed after a second of silence
            idle.append(connection)
        answers = [connection.recv(1 << 16) for connection in idle]
        served = [answer for answer in answers if answer.startswith(b"HTTP/1.1 200 ")]
        refused = [answer for answer in answers if answer.startswith(b"HTTP/1.1 429 ")]
        assert (len(served), len(refused)) == (20, 280)
        assert all(b"retry-after: 1" in answer for answer in refused)
        assert "20 connections" in problem(refused[0], 429)
        crowd.close()
        wait_until(lambda: httpx2.get(f"{url}/healthz").status_code == 200)


@pytest.mark.parametrize(
    "target",
    [
        b"/../../../../etc/passwd",
        b"/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        b"/..%2f..%2fapi.py",
        b"/%00",
        b"//etc/passwd",
        b"/%ff%fe",
        b"/index.html/../../api.py",
    ],
)
def test_no_path_leads_out_of_the_page(hasty: str, target: bytes) -> None:
    answer = exchange(hasty, b"GET " + target + b" HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
    assert "nothing at" in problem(answer, 404)
