"""Tracking by MLflow in a database of its own, and by none at all."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import os
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from eyebright.core.errors import MissingExtraError, TrackingError
from eyebright.core.recipe import Recipe
from eyebright.core.settings.tracking import MLflowSettings
from eyebright.data.image_set import Splits
from eyebright.evaluation.predict import predict
from eyebright.training.callbacks import Callback
from eyebright.training.fit import fit, judge, resume
from eyebright.training.run import EpochRecord, Run
from eyebright.training.tracking import ledger, mlflow_logging, mlflow_store, mlflow_tracking, sweep_entry
from eyebright.training.tracking.trackers import publish
from tests.training.tracking.conftest import client, run_id, steps

ONCE = Counter({1: 1, 2: 1, 3: 1})


class CrashError(Exception):
    """Stands for a kill: nothing catches it."""


class CrashAfter(Callback):
    """Crash when an epoch is over."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def epoch_done(self, record: EpochRecord) -> None:
        if record["epoch"] == self.epoch:
            raise CrashError


@pytest.fixture
def tracked(tiny: Recipe, mlflow_settings: MLflowSettings) -> Recipe:
    return dataclasses.replace(tiny, tracking=mlflow_settings)


def test_a_training_is_copied_as_it_was(
    tracked: Recipe, mlflow_settings: MLflowSettings, shades: Splits, tmp_path: Path
) -> None:
    run = fit(tracked, shades, folder=tmp_path / "run", callbacks=[])
    judge(run, shades)
    (run.path / "report.html").write_text("<p>why</p>", encoding="utf-8")
    assert publish(run) == f"mlflow ui --backend-store-uri {mlflow_settings.uri}"
    asked = client(mlflow_settings)
    found = asked.get_run(run_id(run))
    assert found.info.status == "FINISHED"
    assert found.data.params["model.widths"] == "[2, 4]"
    assert "tracking.name" not in found.data.params
    assert found.data.tags["eyebright.torch"] == run.environment["torch"]
    assert steps(run) == ONCE
    for record, value in zip(run.history, asked.get_metric_history(run_id(run), "validation_loss"), strict=True):
        assert value.value == record["validation_loss"]
    assert found.data.metrics["final/test_accuracy"] == run.scores["test"].accuracy.value
    assert "system/cpu_utilization_percentage" in found.data.metrics
    datasets = {(used.dataset.name, used.dataset.digest) for used in found.inputs.dataset_inputs}
    assert ("shades train", shades.train.fingerprint) in datasets
    assert len(datasets) == 3
    names = {file.path for file in asked.list_artifacts(run_id(run))}
    assert {"recipe.yaml", "report.html", "scores.json", "checkpoints"} <= names


def test_publish_again_sends_nothing_twice(tracked: Recipe, shades: Splits, tmp_path: Path) -> None:
    run = fit(tracked, shades, folder=tmp_path / "run", callbacks=[])
    judge(run, shades)
    publish(run)
    book = (run.path / "tracking.json").read_bytes()
    publish(run)
    assert (run.path / "tracking.json").read_bytes() == book
    assert steps(run, "final/test_accuracy") == {3: 1}


def test_what_was_sent_without_an_answer_is_not_there_twice(
    tracked: Recipe, mlflow_settings: MLflowSettings, shades: Splits, tmp_path: Path
) -> None:
    """The ledger does not know of it, and yet there is one run with one value an epoch."""
    run = fit(tracked, shades, folder=tmp_path / "run", callbacks=[])
    first = run_id(run)
    with ledger.opened(run.path) as book:
        book.trackers.clear()
        book.save()
    publish(run)
    assert run_id(run) == first
    assert steps(run) == ONCE


def test_a_resumed_training_goes_on_in_the_same_entry(
    tracked: Recipe, mlflow_settings: MLflowSettings, shades: Splits, tmp_path: Path
) -> None:
    with pytest.raises(CrashError):
        fit(tracked, shades, folder=tmp_path / "run", callbacks=[CrashAfter(2)])
    run = Run.open(tmp_path / "run")
    assert client(mlflow_settings).get_run(run_id(run)).info.status == "FAILED"
    first = run_id(run)
    resume(run, shades, callbacks=[])
    assert run_id(run) == first
    assert steps(run) == ONCE
    assert client(mlflow_settings).get_run(first).info.status == "FINISHED"


def test_a_new_database_at_the_same_address_gets_everything(
    tracked: Recipe, mlflow_settings: MLflowSettings, shades: Splits, tmp_path: Path
) -> None:
    run = fit(tracked, shades, folder=tmp_path / "run", callbacks=[])
    with ledger.opened(run.path) as book:
        book.id = "0" * 32
        book.copied(str(mlflow_settings.uri)).run = "f" * 32  # MLflow knows neither
        book.save()
    publish(run)
    assert steps(run) == ONCE


def test_the_model_answers_as_the_run_does(
    tracked: Recipe, mlflow_settings: MLflowSettings, shades: Splits, tmp_path: Path
) -> None:
    run = fit(tracked, shades, folder=tmp_path / "run", callbacks=[])
    publish(run)
    wanted = predict(run.model, shades.test).probabilities
    asked = client(mlflow_settings)
    (logged,) = asked.search_logged_models([asked.get_run(run_id(run)).info.experiment_id])
    assert logged.status == "READY"
    import mlflow

    with mlflow_store.environment():
        model = mlflow.pyfunc.load_model(logged.artifact_location)
    images = shades.test.images
    files = [_png(image) for image in images]
    paths = [tmp_path / f"{number}.png" for number in range(len(files))]
    for path, file in zip(paths, files, strict=True):
        path.write_bytes(file)
    for column in (files, paths, list(images)):
        answer = model.predict(pd.DataFrame({"image": column}))
        assert tuple(answer.columns) == shades.test.classes
        np.testing.assert_allclose(answer.to_numpy(), wanted, atol=1e-6)
    plain = model.unwrap_python_model().predict(images)  # (N, H, W, C)
    np.testing.assert_allclose(plain.to_numpy(), wanted, atol=1e-6)
    assert not list(Path(logged.artifact_location.removeprefix("file://")).rglob("*.pkl"))


def test_a_served_model_takes_files_and_no_paths(tiny: Recipe, shades: Splits, tmp_path: Path) -> None:
    run = fit(tiny, shades, folder=tmp_path / "run", callbacks=[])
    mlflow_store.require(MLflowSettings())
    mlflow_logging.save_model(run.best_checkpoint, tmp_path / "model")
    import mlflow
    from mlflow.exceptions import MlflowException
    from mlflow.pyfunc.scoring_server import invocations

    with mlflow_store.environment():
        model = mlflow.pyfunc.load_model(str(tmp_path / "model"))

    def served(text: str, kind: str) -> str:
        body = {"dataframe_split": {"columns": ["image"], "data": [[text]]}}
        content = json.dumps(body) if kind == "application/json" else f"image\n{text}\n"
        answer = invocations(content, kind, model, model.metadata.get_input_schema())
        assert answer.status == 200
        return str(answer.response)

    file = _png(shades.test.images[0])
    (row,) = json.loads(served(base64.b64encode(file).decode(), "application/json"))["predictions"]
    wanted = predict(run.model, shades.test).probabilities[0]
    np.testing.assert_allclose([row[name] for name in shades.test.classes], wanted, atol=1e-6)
    (tmp_path / "image.png").write_bytes(file)
    for kind in ("application/json", "text/csv"):
        with pytest.raises(MlflowException):
            served(str(tmp_path / "image.png"), kind)


def test_training_without_a_tracker_loads_none() -> None:
    code = "import sys, eyebright.training.fit; print({'mlflow', 'tensorboard'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_without_mlflow_the_extra_is_named_before_anything_happens(
    tracked: Recipe, shades: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(MissingExtraError, match=r"eyebright\[tracking\]"):
        fit(tracked, shades, folder=tmp_path / "run", callbacks=[])
    assert not (tmp_path / "run").exists()


def test_a_fault_of_tracking_does_not_reach_the_training(
    tracked: Recipe, shades: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(mlflow_store, "copy", broken)
    run = fit(tracked, shades, folder=tmp_path / "run", callbacks=[])
    assert run.status == "finished"
    assert len([line for line in caplog.messages if "The training goes on" in line]) == 1
    assert f"3 epochs not yet synced: eyebright sync {run.path}" in caplog.messages


def test_a_server_that_does_not_answer_loses_nothing(
    tiny: Recipe, shades: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It takes the connection and is silent, as a hung one."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setattr(mlflow_tracking, "_PATIENCE", 0.1)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        tracking = MLflowSettings(uri=f"http://127.0.0.1:{silent.getsockname()[1]}")
        run = fit(dataclasses.replace(tiny, tracking=tracking), shades, folder=tmp_path / "run", callbacks=[])
        assert run.status == "finished"
        assert f"3 epochs not yet synced: eyebright sync {run.path}" in caplog.messages
        with pytest.raises(TrackingError, match=r"did not take.*\n.*eyebright sync"):
            publish(run)


def test_our_settings_of_mlflow_are_given_back(tracked: Recipe, shades: Splits, tmp_path: Path) -> None:
    before = dict(os.environ)
    fit(tracked, shades, folder=tmp_path / "run", callbacks=[])
    assert {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"} == {
        name: value for name, value in before.items() if name != "PYTEST_CURRENT_TEST"
    }


def test_trials_are_shown_below_their_sweep(
    tracked: Recipe, mlflow_settings: MLflowSettings, shades: Splits, tmp_path: Path
) -> None:
    sweep = tmp_path / "sweep"
    sweep.mkdir()
    tracking = sweep_entry.begin(sweep, mlflow_settings, name="two trials", parameters={"search": {"kind": "grid"}})
    again = sweep_entry.begin(sweep, mlflow_settings, name="two trials")
    assert again == tracking  # a sweep that goes on
    trials = [
        fit(dataclasses.replace(tracked, seed=seed, tracking=tracking), shades, folder=sweep / str(seed), callbacks=[])
        for seed in range(2)
    ]
    (sweep / "report.html").write_text("<p>best</p>", encoding="utf-8")
    sweep_entry.finish(sweep, values={"best": 0.5}, files=["report.html"])
    asked = client(mlflow_settings)
    (parent,) = [
        run
        for run in asked.search_runs([asked.get_run(run_id(trials[0])).info.experiment_id])
        if run.info.run_name == "two trials"
    ]
    assert parent.info.status == "FINISHED"
    assert parent.data.params == {"search.kind": "grid"}
    assert parent.data.metrics == {"best": 0.5}
    for trial in trials:
        assert asked.get_run(run_id(trial)).data.tags["mlflow.parentRunId"] == parent.info.run_id


def test_a_sweep_adopts_trials_that_came_before_it(
    tracked: Recipe, mlflow_settings: MLflowSettings, shades: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = tmp_path / "sweep"
    sweep.mkdir()
    with monkeypatch.context() as down:
        down.setattr(mlflow_store, "_Copy", _refuse)
        tracking = sweep_entry.begin(sweep, mlflow_settings, name="late")
    trial = fit(dataclasses.replace(tracked, tracking=tracking), shades, folder=sweep / "0", callbacks=[])
    asked = client(mlflow_settings)
    assert "mlflow.parentRunId" not in asked.get_run(run_id(trial)).data.tags
    sweep_entry.finish(sweep)
    assert asked.get_run(run_id(trial)).data.tags["mlflow.parentRunId"]


def test_a_sweep_without_mlflow_needs_no_entry(tiny: Recipe, tmp_path: Path) -> None:
    assert sweep_entry.begin(tmp_path, tiny.tracking, name="none") == tiny.tracking
    sweep_entry.finish(tmp_path)
    assert not list(tmp_path.iterdir())


def _refuse(*_: object) -> None:
    raise ConnectionError("down")


def _png(image: np.ndarray) -> bytes:
    written = io.BytesIO()
    Image.fromarray(image).save(written, "PNG")
    return written.getvalue()
