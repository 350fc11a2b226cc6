"""A server in a process of its own: signals, several workers, overload, and that it needs no torch."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest

from eyebright.core.errors import MissingExtraError, ServingError
from eyebright.serving.served_model import ServedModel
from eyebright.serving.server import run
from eyebright.serving.settings import ServerSettings
from tests.serving.bundles import png, write_bundle
from tests.serving.conftest import PATIENCE, Server, connect, serving, started, wait_until
from tests.serving.test_predict import RAW

IMAGE = png("dark")


def ask(url: str, client: httpx2.Client | None = None) -> httpx2.Response:
    return (client or httpx2).post(f"{url}/predict", content=IMAGE, headers=RAW, timeout=PATIENCE)


def test_it_answers_and_ends_when_told_to(bundle: Path) -> None:
    with started(bundle) as server:
        assert ask(server.url).json()["images"][0]["label"] == "dark"
        assert httpx2.get(server.url).status_code == 200
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(PATIENCE) == -signal.SIGTERM  # as whoever sent it expects
        assert server.process.stderr is not None
        assert "serving shades 1" in server.process.stderr.read()


def test_what_has_arrived_is_answered_before_it_ends(bundle: Path) -> None:
    with started(bundle) as server, connect(server.url) as connection:
        head = b"POST /predict HTTP/1.1\r\nHost: here\r\nContent-Type: image/png\r\n"
        connection.sendall(head + b"Content-Length: %d\r\n\r\n" % len(IMAGE) + IMAGE[:20])
        assert ask(server.url).status_code == 200  # so the head before has been read too
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: _is_closed(server))
        connection.sendall(IMAGE[20:])
        answer = connection.recv(1 << 16)
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b"connection: close" in answer
        assert server.process.wait(PATIENCE) == -signal.SIGTERM


def test_a_hangup_reads_changed_bundles(tmp_path: Path) -> None:
    path = write_bundle(tmp_path / "shades", version="1")
    with started(path, "--no-watch") as server:
        assert ask(server.url).json()["version"] == "1"
        write_bundle(path, version="2")
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: ask(server.url).json()["version"] == "2")


@pytest.mark.slow  # three processes start, each with its imports
def test_several_workers_count_together(tmp_path: Path) -> None:
    path = write_bundle(tmp_path / "shades", version="1")
    with started(path, "--workers", 2, "--lanes", 1) as server:
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: ask(server.url), range(60)))
        assert all(answer.status_code == 200 for answer in answers)
        numbers = httpx2.get(f"{server.url}/metrics").text
        assert 'eyebright_requests_total{path="/predict",status="200"} 60.0' in numbers
        write_bundle(path, version="2")
        wait_until(lambda: {ask(server.url).json()["version"] for _ in range(20)} == {"2"})
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(PATIENCE) == 0


@pytest.mark.slow  # as above
def test_workers_that_cannot_start_are_a_failure(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "eyebright", "serve", str(tmp_path / "nothing"), "--port", "0", "--workers", "2"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 2
    assert "there is no bundle" in done.stderr


def test_an_overloaded_server_refuses_some_loses_none_and_recovers(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = ServedModel.judge

    def slow(self: ServedModel, uploads: Sequence[Any]) -> Any:
        time.sleep(0.03)
        return judge(self, uploads)

    monkeypatch.setattr(ServedModel, "judge", slow)
    with serving(bundle, lanes=1, max_batch=2, max_queue=4) as url, ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: ask(url), range(40)))
        refused = [answer for answer in answers if answer.status_code == 429]
        assert {answer.status_code for answer in answers} == {200, 429}
        assert all(answer.headers["retry-after"] == "1" for answer in refused)
        assert "wait already" in refused[0].json()["detail"]
        assert ask(url).status_code == 200
        assert httpx2.get(f"{url}/readyz").status_code == 200


def test_a_full_queue_is_not_ready(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Event(), threading.Event()
    judge = ServedModel.judge

    def held(self: ServedModel, uploads: Sequence[Any]) -> Any:
        begun.set()
        assert go_on.wait(PATIENCE)
        return judge(self, uploads)

    monkeypatch.setattr(ServedModel, "judge", held)
    with serving(bundle, lanes=1, max_queue=1) as url, ThreadPoolExecutor() as pool:
        first = pool.submit(ask, url)
        assert begun.wait(PATIENCE)
        second = pool.submit(ask, url)
        wait_until(lambda: httpx2.get(f"{url}/readyz").status_code == 503)
        go_on.set()
        assert first.result().status_code == second.result().status_code == 200
        assert httpx2.get(f"{url}/readyz").status_code == 200


def test_it_needs_no_torch() -> None:
    check = "import sys, eyebright.serving.application, eyebright.serving.protocol; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", check], check=True, capture_output=True, text=True)
    assert done.stdout == "False\n"


def test_an_address_that_cannot_be_had_is_named(bundle: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ServingError, match=f"port {port} is in use"):
            run([bundle], ServerSettings(port=port))
    with pytest.raises(ServingError, match="there is no host"):
        run([bundle], ServerSettings(host="no.host.invalid"))
    with pytest.raises(ServingError, match="cannot be had"):
        run([bundle], ServerSettings(host="203.0.113.1"))  # reserved for documentation: no machine has it


def test_without_its_packages_it_says_what_to_install(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"eyebright\[serve\]"):
        run([bundle], ServerSettings(port=0))


def _is_closed(server: Server) -> bool:
    try:
        connect(server.url).close()
    except ConnectionRefusedError:
        return True
    return False
