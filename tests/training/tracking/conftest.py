"""Trackers to copy to: a database of the session, and a real server on loopback."""

from __future__ import annotations

import dataclasses
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from eyebright.core.recipe import Recipe
from eyebright.core.settings.tracking import MLflowSettings
from eyebright.training.run import Run
from eyebright.training.tracking import ledger, mlflow_store, mlflow_tracking

if TYPE_CHECKING:
    from mlflow import MlflowClient

# Seconds that a server may take to start on a busy machine.
_START = 120.0


@pytest.fixture(autouse=True)
def _no_tracker_of_the_desk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(mlflow_tracking, "_INTERVAL", 0.05)


@pytest.fixture
def tiny() -> Recipe:
    """A training of three epochs that lasts less than a second."""
    return Recipe.from_dict(
        {
            "name": "test/tiny",
            "data": {"source": "shades"},
            "model": {"name": "simple_cnn", "widths": [2, 4], "hidden": 8},
            "training": {"epochs": 3, "batch_size": 16, "threads": 1, "device": "cpu"},
        }
    )


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a database that is made once."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlruns.db'}"


@pytest.fixture
def mlflow_settings(database: str, request: pytest.FixtureRequest) -> MLflowSettings:
    """The database, with an experiment of the test's own."""
    return MLflowSettings(uri=database, experiment=request.node.name)


@dataclasses.dataclass
class Server:
    """A tracking server that can be killed and started again at the same address."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--workers", "1"]
        command += ["--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--backend-store-uri", f"sqlite:///{self.folder / 'server.db'}"]
        command += ["--artifacts-destination", str(self.folder / "files")]
        quiet = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_DISABLE_AGENT_HINT": "1"}
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=self.folder, env=quiet, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + _START
        while not self._answers():
            if time.monotonic() > deadline or self.process.poll() is not None:
                pytest.fail((self.folder / "server.log").read_text(errors="replace"))
            time.sleep(0.1)

    def kill(self) -> None:
        """As an operating system kills: the server and its workers at once."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=5) as answer:  # noqa: S310 (loopback)
                return bool(answer.status == 200)
        except OSError:  # it is not there yet
            return False


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A real MLflow server."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = Server(tmp_path_factory.mktemp("server"), port)
    started.start()
    yield started
    started.kill()


def client(settings: MLflowSettings) -> MlflowClient:
    """MLflow as its users ask it."""
    mlflow_store.require(settings)
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=settings.uri)


def run_id(run: Run) -> str:
    """What MLflow calls a run."""
    assert isinstance(run.recipe.tracking, MLflowSettings)
    found = ledger.Ledger(run.path).copied(str(run.recipe.tracking.uri)).run
    assert found
    return found


def steps(run: Run, metric: str = "train_loss") -> Counter[int]:
    """How often MLflow has a value of each epoch."""
    assert isinstance(run.recipe.tracking, MLflowSettings)
    history = client(run.recipe.tracking).get_metric_history(run_id(run), metric)
    return Counter(value.step for value in history)
