"""Tracking by a real MLflow server, which is killed and comes back."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from eyebright.core.recipe import Recipe
from eyebright.core.settings.tracking import MLflowSettings
from eyebright.data.image_set import Splits
from eyebright.evaluation.predict import predict
from eyebright.training.callbacks import Callback
from eyebright.training.fit import fit, judge
from eyebright.training.run import EpochRecord, Run
from eyebright.training.tracking import mlflow_store, sweep_entry
from eyebright.training.tracking.ledger import Ledger
from eyebright.training.tracking.trackers import publish
from tests.training.tracking.conftest import Server, client, run_id, steps

pytestmark = pytest.mark.slow  # a server takes seconds to start


class KillAfterFirst(Callback):
    """Kill the server once it has the first epoch, while the training is at the second."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server = server
        self.folder = folder

    def epoch_done(self, record: EpochRecord) -> None:
        if record["epoch"] == 1:
            while Ledger(self.folder).copied(self.server.uri).readings == 0:
                time.sleep(0.02)
            self.server.kill()


def test_run_sweep_and_model(
    tiny: Recipe, server: Server, shades: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = MLflowSettings(uri=server.uri, experiment="whole")
    sweep = tmp_path / "sweep"
    sweep.mkdir()
    tracking = sweep_entry.begin(sweep, settings, name="one trial")
    run = fit(dataclasses.replace(tiny, tracking=tracking), shades, folder=sweep / "0", callbacks=[])
    judge(run, shades)
    assert publish(run) == server.uri
    sweep_entry.finish(sweep)
    asked = client(settings)
    found = asked.get_run(run_id(run))
    parent = asked.get_run(found.data.tags["mlflow.parentRunId"])
    assert (found.info.status, parent.info.status) == ("FINISHED", "FINISHED")
    assert parent.info.run_name == "one trial"
    assert steps(run) == Counter({1: 1, 2: 1, 3: 1})
    assert found.data.metrics["final/test_accuracy"] == run.scores["test"].accuracy.value
    assert "checkpoints" in {file.path for file in asked.list_artifacts(run_id(run))}
    kept = asked.download_artifacts(run_id(run), "checkpoints/best.safetensors", str(tmp_path))
    assert Path(kept).read_bytes() == run.best_checkpoint.read_bytes()
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    with mlflow_store.environment():
        model = mlflow.pyfunc.load_model(f"runs:/{run_id(run)}/model")
    answer = model.predict(pd.DataFrame({"image": list(shades.test.images)}))
    np.testing.assert_allclose(answer.to_numpy(), predict(run.model, shades.test).probabilities, atol=1e-6)


def test_killed_in_mid_training(
    tiny: Recipe, server: Server, shades: Splits, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The training goes on to its end; what the server missed is sent when it is back, and each thing once."""
    settings = MLflowSettings(uri=server.uri, experiment="killed")
    recipe = dataclasses.replace(tiny, tracking=settings).replace(epochs=4)
    folder = tmp_path / "run"
    run = fit(recipe, shades, folder=folder, callbacks=[KillAfterFirst(server, folder)])
    assert run.status == "finished"
    assert len(run.history) == 4
    assert len([line for line in caplog.messages if "The training goes on" in line]) == 1
    assert any("epochs not yet synced" in line for line in caplog.messages)
    server.start()
    for _ in range(2):
        publish(Run.open(folder))
        for metric in ("train_loss", "validation_accuracy", "lr"):
            assert steps(run, metric) == Counter({1: 1, 2: 1, 3: 1, 4: 1})
    found = client(settings).get_run(run_id(run))
    assert found.info.status == "FINISHED"
    assert len(client(settings).search_runs([found.info.experiment_id])) == 1
