"""`fetch` against a server on this machine that misbehaves as real ones do."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import http.server
import logging
import os
import random
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pooch
import pytest

from eyebright.core.errors import DownloadError, StorageError
from eyebright.data.download import RemoteFile, fetch

CONTENT = random.Random(0).randbytes(200_000)
MD5 = "md5:" + hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()
SHA256 = "sha256:" + hashlib.sha256(CONTENT).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    """Answers each address with the next of the answers that a test gave for it; the last one is repeated."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: dict[str, list[Answer]] = {}
        self.requests: list[tuple[str, str | None]] = []  # (path, Range header)
        self.closing = threading.Event()

    def url(self, name: str, *answers: Answer) -> str:
        self.answers[f"/{name}"] = list(answers)
        return f"http://127.0.0.1:{self.server_port}/{name}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.requests.append((self.path, self.headers["Range"]))
        answers = self.server.answers[self.path]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        with contextlib.suppress(ConnectionError):  # the client left, as it should
            answer(self)

    def head(self, status: int, length: int | None, **headers: str) -> None:
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def start(self) -> int:
        """The first byte asked for, answered by the right header."""
        asked = self.headers["Range"]
        if asked is None:
            self.head(200, len(CONTENT))
            return 0
        first = int(asked.removeprefix("bytes=").removesuffix("-"))
        self.head(206, len(CONTENT) - first, Content_Range=f"bytes {first}-{len(CONTENT) - 1}/{len(CONTENT)}")
        return first

    def log_message(self, *arguments: object) -> None:
        """Say nothing on stderr."""


Answer = Callable[[Handler], None]


def good(handler: Handler) -> None:
    handler.wfile.write(CONTENT[handler.start() :])


def truncated(handler: Handler) -> None:
    """Half of what is left, then the connection ends."""
    first = handler.start()
    handler.wfile.write(CONTENT[first : (first + len(CONTENT)) // 2])


def without_length(handler: Handler) -> None:
    """No Content-Length, no Range, and half the content: only the checksum can tell."""
    handler.head(200, None)
    handler.wfile.write(CONTENT[: len(CONTENT) // 2])


def without_range(handler: Handler) -> None:
    handler.head(200, len(CONTENT))
    handler.wfile.write(CONTENT)


def labelled_gzip(handler: Handler) -> None:
    """As some servers do for every .gz: the header says that the file is packed for the journey only."""
    handler.head(200, len(CONTENT), Content_Encoding="x-gzip")
    handler.wfile.write(CONTENT)


def wrong(handler: Handler) -> None:
    handler.head(200, 11)
    handler.wfile.write(b"<html>Hello")


def wrong_range(handler: Handler) -> None:
    if handler.headers["Range"] is None:
        return good(handler)
    handler.head(206, 3, Content_Range=f"bytes 0-2/{len(CONTENT)}")
    handler.wfile.write(CONTENT[:3])
    return None


def unsatisfiable(handler: Handler) -> None:
    if handler.headers["Range"] is None:
        return good(handler)
    return handler.head(416, 0)


def missing(handler: Handler) -> None:
    handler.head(404, 0)


def busy(handler: Handler) -> None:
    handler.head(503, 0)


def stalled(handler: Handler) -> None:
    handler.head(200, len(CONTENT))
    handler.wfile.write(CONTENT[:1000])
    handler.server.closing.wait()


def dripping(handler: Handler) -> None:
    """100 bytes a second: no single wait is long."""
    handler.head(200, len(CONTENT))
    for byte in CONTENT:
        handler.wfile.write(bytes([byte]))
        if handler.server.closing.wait(0.01):
            return


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.closing.set()
        running.shutdown()
        thread.join()


def remote(*urls: str, checksum: str = MD5) -> RemoteFile:
    return RemoteFile("set/file.gz", urls, checksum)


def visible(root: Path) -> list[str]:
    """What lies in the data root, but for the lock."""
    return sorted(path.name for path in root.rglob("*") if path.is_file() and not path.name.endswith(".lock"))


@pytest.mark.parametrize("checksum", [MD5, SHA256])
def test_downloads_and_reports_progress(server: Server, tmp_path: Path, checksum: str) -> None:
    calls: list[tuple[str, int, int]] = []
    path = fetch(remote(server.url("a", good), checksum=checksum), tmp_path, progress=lambda *call: calls.append(call))
    assert path == tmp_path / "set" / "file.gz"
    assert path.read_bytes() == CONTENT
    assert calls[-1] == ("download set/file.gz", len(CONTENT), len(CONTENT))
    assert [done for _, done, _ in calls] == sorted(done for _, done, _ in calls)
    assert visible(tmp_path) == ["file.gz"]


def test_says_nothing_and_leaves_the_logger_of_pooch_as_it_was(
    server: Server, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    logger = pooch.get_logger()
    before = logger.level
    fetch(remote(server.url("a", wrong, good)), tmp_path)
    assert logger.level == before
    assert before < logging.WARNING  # else the test would show nothing
    assert capfd.readouterr() == ("", "")


def test_a_file_that_is_there_needs_no_server(server: Server, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "file.gz").write_bytes(b"packed by hand")
    assert fetch(remote(server.url("a", good)), tmp_path).read_bytes() == b"packed by hand"
    assert server.requests == []


def test_mirrors_are_tried_in_turn(server: Server, tmp_path: Path) -> None:
    urls = [server.url(*pair) for pair in (("a", missing), ("b", truncated), ("c", wrong), ("d", busy), ("e", good))]
    assert fetch(remote(*urls), tmp_path).read_bytes() == CONTENT
    assert [path for path, _ in server.requests] == ["/a", "/b", "/c", "/d", "/e"]
    assert visible(tmp_path) == ["file.gz"]


@pytest.mark.parametrize("bad", [stalled, dripping])
def test_a_slow_mirror_is_left(server: Server, tmp_path: Path, bad: Answer) -> None:
    urls = (server.url("a", bad), server.url("b", good))
    assert fetch(remote(*urls), tmp_path, timeout=0.5).read_bytes() == CONTENT
    assert server.requests[0] == ("/a", None)


@pytest.mark.parametrize(("bad", "reason"), [(stalled, "no answer within 0.3 s"), (dripping, "slower than 1024")])
def test_a_slow_only_mirror_is_named(server: Server, tmp_path: Path, bad: Answer, reason: str) -> None:
    with pytest.raises(DownloadError, match=reason):
        fetch(remote(server.url("a", bad)), tmp_path, timeout=0.3)
    assert not (tmp_path / "set" / "file.gz").exists()


def test_a_truncated_download_goes_on_where_it_stopped(server: Server, tmp_path: Path) -> None:
    path = fetch(remote(server.url("a", truncated, truncated, good)), tmp_path)
    assert path.read_bytes() == CONTENT
    assert server.requests == [("/a", None), ("/a", "bytes=100000-"), ("/a", "bytes=150000-")]
    assert visible(tmp_path) == ["file.gz"]


def test_a_truncated_download_goes_on_in_the_next_call(server: Server, tmp_path: Path) -> None:
    url = server.url("a", truncated)
    with pytest.raises(DownloadError, match="ended after 175000 of 200000 bytes") as caught:
        fetch(remote(url), tmp_path)
    assert url in caught.value.cause
    assert not (tmp_path / "set" / "file.gz").exists()
    server.url("a", good)
    assert fetch(remote(url), tmp_path).read_bytes() == CONTENT
    assert server.requests[-1] == ("/a", "bytes=175000-")
    assert visible(tmp_path) == ["file.gz"]


@pytest.mark.parametrize("answer", [without_range, wrong_range, unsatisfiable])
def test_a_server_that_cannot_resume_sends_the_whole(server: Server, tmp_path: Path, answer: Answer) -> None:
    path = fetch(remote(server.url("a", truncated, answer)), tmp_path)
    assert path.read_bytes() == CONTENT
    assert server.requests[:2] == [("/a", None), ("/a", "bytes=100000-")]


def test_a_wrong_beginning_is_thrown_away(server: Server, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / ".file.gz.0.part").write_bytes(b"of another file")
    assert fetch(remote(server.url("a", good)), tmp_path).read_bytes() == CONTENT
    assert server.requests == [("/a", "bytes=15-"), ("/a", None)]


@pytest.mark.parametrize("bad", [wrong, without_length])
def test_wrong_bytes_are_never_taken(server: Server, tmp_path: Path, bad: Answer) -> None:
    url = server.url("a", bad)
    with pytest.raises(DownloadError) as caught:
        fetch(remote(url), tmp_path)
    assert f"{url}: the content is wrong: its checksum is not {MD5}" in caught.value.cause
    assert f"place the file at {tmp_path / 'set' / 'file.gz'}" in caught.value.remedy
    assert url in caught.value.remedy
    assert visible(tmp_path) == []


def test_what_is_gone_is_asked_for_once_and_what_is_busy_again(server: Server, tmp_path: Path) -> None:
    urls = (server.url("gone", missing), server.url("busy", busy))
    with pytest.raises(DownloadError) as caught:
        fetch(remote(*urls), tmp_path)
    assert [path for path, _ in server.requests] == ["/gone", "/busy", "/busy", "/busy"]
    assert f"{urls[0]}: the server answers 404 Not Found" in caught.value.cause
    assert f"{urls[1]}: the server answers 503 Service Unavailable" in caught.value.cause


def test_a_gz_stays_packed_whatever_the_header_says(server: Server, tmp_path: Path) -> None:
    assert fetch(remote(server.url("a", labelled_gzip)), tmp_path).read_bytes() == CONTENT


def test_no_server_at_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))  # bound but not listening: the connection is refused
        with pytest.raises(DownloadError, match=r"no connection: \[Errno \d+\] Connection refused"):
            fetch(remote(f"http://127.0.0.1:{unheard.getsockname()[1]}/a"), tmp_path)


def test_downloading_may_be_forbidden(server: Server, tmp_path: Path) -> None:
    url = server.url("a", good)
    with pytest.raises(DownloadError, match="switched off") as caught:
        fetch(remote(url), tmp_path, download=False)
    assert url in caught.value.remedy
    assert str(tmp_path / "set" / "file.gz") in caught.value.remedy
    assert server.requests == []
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_the_place_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "set" / "file.gz").mkdir(parents=True)
    with pytest.raises(DownloadError, match="is a folder"):
        fetch(remote("http://127.0.0.1/"), tmp_path)


def test_a_full_disk(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="the disk is full"):
        fetch(remote(server.url("a", good)), tmp_path)
    assert not (tmp_path / "set" / "file.gz").exists()
    assert len(server.requests) == 1  # another mirror would not help


def test_two_at_once_download_once(server: Server, tmp_path: Path) -> None:
    url = server.url("a", good)
    paths: list[Path] = []
    threads = [threading.Thread(target=lambda: paths.append(fetch(remote(url), tmp_path))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [path.read_bytes() == CONTENT for path in paths] == [True] * 4
    assert len(server.requests) == 1
