"""Bundles, an application in this process, and servers on a free port of the loopback."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import httpx2
import pytest
import uvicorn
from starlette.testclient import TestClient

from eyebright.serving.application import Application
from eyebright.serving.server import configured
from eyebright.serving.settings import ServerSettings
from tests.serving.bundles import write_bundle

PATIENCE = 60  # seconds that a busy machine may take for anything


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shades, with examples and known images; not to be changed."""
    return write_bundle(tmp_path_factory.mktemp("bundles") / "shades", extras=True)


def chosen(**settings: object) -> ServerSettings:
    """Settings for tests: two lanes on any machine, and nobody watches the bundles."""
    return ServerSettings(**{"lanes": 2, "watch_seconds": 0} | settings)  # type: ignore[arg-type]  # pydantic looks


@contextlib.contextmanager
def open_client(
    *bundles: Path, key_file: Path | None = None, raises: bool = True, **settings: object
) -> Iterator[TestClient]:
    """A client of an application in this process, without a network; it raises what the application does not catch."""
    application = Application(bundles, chosen(**settings), key_file)
    with TestClient(application, raise_server_exceptions=raises) as client:
        yield client


@pytest.fixture(scope="module")
def client(bundle: Path) -> Iterator[TestClient]:
    """A client of a server of `bundle`."""
    with open_client(bundle) as client:
        yield client


@contextlib.contextmanager
def serving(*bundles: Path, **settings: object) -> Iterator[str]:
    """The address of a server in a thread of this process."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(configured(bundles, chosen(**settings)))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            wait_until(lambda: server.started)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(PATIENCE)


class Server(NamedTuple):
    """A server in a process of its own."""

    process: subprocess.Popen[str]
    url: str


@contextlib.contextmanager
def started(*arguments: object) -> Iterator[Server]:
    """`eyebright serve` on a free port, ready to answer."""
    command = [sys.executable, "-m", "eyebright", "serve", *map(str, arguments), "--port", "0"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            wait_until(lambda: process.poll() is not None or _is_ready(url))
            assert process.poll() is None, process.stderr and process.stderr.read()
            yield Server(process, url)
        finally:
            process.kill()


def wait_until(condition: Callable[[], bool]) -> None:
    """Look until a condition holds."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def _is_ready(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/readyz").status_code == 200
    except httpx2.TransportError:
        return False


def connect(url: str) -> socket.socket:
    """A connection to a server."""
    return socket.create_connection((httpx2.URL(url).host, httpx2.URL(url).port or 80), PATIENCE)


def exchange(url: str, request: bytes) -> bytes:
    """Send bytes, and read until the server closes the connection."""
    with connect(url) as connection:
        connection.sendall(request)
        answer = b""
        while piece := connection.recv(1 << 16):
            answer += piece
        return answer
