"""`eyebright train ... tracking=mlflow` and `eyebright sync`, as a user gives them."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from eyebright.core.recipe import recipe
from eyebright.data.image_set import Splits
from eyebright.training.fit import fit
from eyebright.training.run import Run
from tests.cli.conftest import Command

SHORT = ("digits/mlp", "epochs=1", "data.limit=200", "training.threads=1", "training.device=cpu")


@pytest.fixture(autouse=True)
def _no_tracker_of_the_desk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.mark.slow  # a database and a report are made
def test_train_then_sync(command: Command, tmp_path: Path) -> None:
    ran = command("train", *SHORT, "tracking=mlflow", "--out", "run")
    page = f"mlflow ui --backend-store-uri sqlite:///{tmp_path / 'mlruns.db'}"
    assert ran.code == 0, ran.err
    assert f"tracking: {page}" in ran.err
    assert f"tracked: {page}" in ran.out
    (tracker,) = json.loads((tmp_path / "run" / "tracking.json").read_text(encoding="utf-8"))["trackers"].values()
    assert tracker["readings"] == 1
    assert {"report.html", "curves.png", "confusion_matrix.png", "checkpoints/best.safetensors"} <= set(
        tracker["files"]
    )
    assert tracker["model"]
    again = command("sync", "run")
    assert again.code == 0
    assert again.out == f"run: {page}\n"


def test_a_tracker_that_is_down_does_not_spoil_the_training(command: Command, tmp_path: Path) -> None:
    with socket.socket() as taken:  # nobody listens, and nobody else can
        taken.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{taken.getsockname()[1]}"
        ran = command("train", *SHORT, "tracking=mlflow", f"tracking.uri={uri}", "--out", "run")
        assert ran.code == 0
        assert Run.open(tmp_path / "run").scores["test"].n == 360
        assert "1 epoch not yet synced: eyebright sync run" in ran.err
        assert f"MLflow at {uri} did not take run: [Errno 111] Connection refused." in ran.err
        assert command("sync", "run").code == 2


def test_a_run_without_a_tracker_is_told_what_to_say(command: Command, shades: Splits, tmp_path: Path) -> None:
    chosen = recipe("digits/mlp", SHORT[1:], **{"data.source": "shades"})
    fit(chosen, shades, folder=tmp_path / "run", callbacks=[])
    (tmp_path / "swept").mkdir()
    (tmp_path / "swept" / "sweep.yaml").touch()
    ran = command("sync", "run", "nothing", "swept")
    assert ran.code == 2
    assert "Copy its trials: eyebright sync swept/trials/????" in ran.err
    assert "run was trained without a tracker" in ran.err
    assert "nothing is not a run" in ran.err
