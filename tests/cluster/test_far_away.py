"""A cluster that this process is no part of: it speaks with it through Ray's client."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from eyebright.cluster import prediction
from eyebright.cluster.session import connected
from eyebright.cluster.trials import executor
from eyebright.core.recipe import recipe
from eyebright.sweeps.sweep import sweep
from tests.serving.bundles import png, write_bundle

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("two_nodes")]


def test_trials_and_predictions_far_away(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    digits = recipe("digits/mlp", ["epochs=1", "threads=1", "precision=fp32", "device=cpu"])
    bundle = write_bundle(tmp_path / "bundle")
    (tmp_path / "photo.png").write_bytes(png("light"))
    with connected(os.environ["CLIENT_ADDRESS"]):
        found = sweep(digits, {"lr": [1e-3, 3e-3]}, folder=tmp_path / "sweep", executor=executor())
        summary = prediction.predict_files(bundle, [tmp_path / "photo.png"], tmp_path / "answers")
    assert [trial.state for trial in found.trials] == ["finished"] * 2
    assert found.winner is not None
    assert summary.images == 1
    assert capfd.readouterr().out == ""
