"""What a cluster of two nodes does when a process or a node dies in the middle."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

from eyebright.cluster import prediction, resources, training
from eyebright.cluster.session import connected
from eyebright.cluster.trials import executor
from eyebright.core.errors import BadImageError, ClusterError, DataError
from eyebright.core.recipe import Recipe, recipe
from eyebright.data.load import load
from eyebright.exporting.bulk import predict_files
from eyebright.exporting.bundle import open_bundle
from eyebright.sweeps.standing import Sweep, Watcher
from eyebright.sweeps.sweep import sweep
from eyebright.sweeps.trial import Job, Trial
from eyebright.training.callbacks import Callback
from eyebright.training.fit import fit
from eyebright.training.run import EpochRecord
from tests.serving.bundles import write_bundle

pytestmark = pytest.mark.slow  # each process that Ray starts loads torch


@pytest.fixture(scope="module", autouse=True)
def cluster(two_nodes: Any) -> Iterator[Any]:
    """Both nodes, and this process connected to them."""
    with connected("ray"):
        yield two_nodes


@pytest.fixture
def digits() -> Recipe:
    """Three epochs of some seconds, for a checkpoint is written after each step."""
    settings = ["epochs=3", "threads=1", "precision=fp32", "device=cpu", "checkpoint_seconds=0"]
    return recipe("digits/mlp", settings)


def kill(cluster: Any, title: str) -> bool:
    """Kill a process of the cluster by its title, as a machine without memory does. Returns whether there was one."""
    for node in cluster.list_all_nodes():
        for raylet in node.all_processes["raylet"]:
            with contextlib.suppress(psutil.NoSuchProcess):
                for process in psutil.Process(raylet.process.pid).children(recursive=True):
                    with contextlib.suppress(psutil.NoSuchProcess):
                        if " ".join(process.cmdline()).startswith(title):
                            process.send_signal(signal.SIGKILL)
                            return True
    return False


class Disaster(Watcher):
    """Kills the process of trial 1 after its first epoch; then the second node, when a trial is over."""

    def __init__(self, cluster: Any) -> None:
        self.cluster = cluster
        self.killing = threading.Event()
        self.removed = False
        self.finished: dict[Path, float] = {}

    @property
    def killed(self) -> bool:
        return self.killing.is_set()

    def trial_begun(self, number: int, job: Job) -> None:
        if number == 1:
            threading.Thread(target=self._kill, args=(Path(job.folder) / "history.jsonl",), daemon=True).start()

    def trial_done(self, trial: Trial, sweep: Sweep) -> None:
        checkpoint = sweep.path / "trials" / f"{trial.number:04d}" / "checkpoints" / "last.safetensors"
        self.finished[checkpoint] = checkpoint.stat().st_mtime
        if self.killed and not self.removed:
            self.removed = True
            (second,) = self.cluster.worker_nodes
            self.cluster.remove_node(second, allow_graceful=False)

    def _kill(self, history: Path) -> None:
        while not (history.is_file() and kill(self.cluster, "ray::trial 1")):
            time.sleep(0.01)
        self.killing.set()


def test_a_sweep_outlives_a_process_and_a_node(
    cluster: Any, digits: Recipe, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    disaster = Disaster(cluster)
    rates = [1e-4, 3e-4, 1e-3, 3e-3]
    try:
        found = sweep(digits, {"lr": rates}, folder=tmp_path / "sweep", executor=executor(), watcher=disaster)
    finally:
        cluster.add_node(num_cpus=1, object_store_memory=80 << 20, include_dashboard=False)
    assert disaster.killed
    assert disaster.removed
    assert [(trial.state, trial.outcome.epochs) for trial in found.trials] == [("finished", 3)] * 4
    assert found.winner is not None
    # None was run again after it was finished; the one that was killed is as if it had never been.
    assert {path: path.stat().st_mtime for path in disaster.finished} == disaster.finished
    assert "trial 1 lost its process and goes on at its last checkpoint." in caplog.text
    plain = fit(digits.replace(lr=rates[1]), load(digits.data), folder=tmp_path / "plain", callbacks=())
    kept = found.path / "trials" / "0001" / "checkpoints" / "best.safetensors"
    assert kept.read_bytes() == plain.best_checkpoint.read_bytes()


class Killer(Callback):
    """Kills one of the processes of a training after its first epoch."""

    def __init__(self, cluster: Any) -> None:
        self.cluster = cluster
        self.killed = False
        self.epochs: list[int] = []

    def epoch_done(self, record: EpochRecord) -> None:
        self.epochs.append(int(record["epoch"]))
        self.killed = self.killed or kill(self.cluster, "ray::RayTrainWorker")


def test_a_training_outlives_one_of_its_processes(cluster: Any, digits: Recipe, tmp_path: Path) -> None:
    killer = Killer(cluster)
    run = training.train(digits.replace(epochs=4), tmp_path / "run", workers=2, callbacks=[killer])
    assert killer.killed
    assert run.status == "finished"
    assert [record["epoch"] for record in run.history] == [1, 2, 3, 4]
    assert sorted(set(killer.epochs)) == [1, 2, 3, 4]
    assert run.environment["processes"] == "2"
    assert run.scores["test"].n == 360


def test_more_processes_than_there_is_room_for_are_refused(
    digits: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(
        ClusterError, match="the cluster has room for 5 processes of 1 CPUs: it has 2 machines: 1 CPUs, 1"
    ):
        training.train(digits, tmp_path / "run", workers=5)
    assert resources.usual_workers(digits) == 2
    monkeypatch.setattr(training, "seen_by_all", lambda _: False)
    with pytest.raises(ClusterError, match=r"(?s)no machine of the cluster has room for 2.*\(--out\) on storage that"):
        training.train(digits, tmp_path / "run", workers=2)
    with pytest.raises(ClusterError, match="no machine of the cluster has 9 CPUs for one process"):
        sweep(digits.replace(threads=9), {"lr": [1e-3, 1e-2]}, folder=tmp_path / "sweep", executor=executor())


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """So many images that they make three parts; one is none."""
    folder = tmp_path / "album"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (2_100, 2, 2, 3), dtype=np.uint8)
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(folder / f"{number:04d}.bmp")
    (folder / "0007.bmp").write_text("no image")
    return folder


def test_predictions_outlive_a_process_and_are_not_made_twice(cluster: Any, album: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    bundle, out = write_bundle(tmp_path / "bundle"), tmp_path / "answers"
    heard: list[tuple[int, int]] = []

    def kill_one() -> None:
        while not kill(cluster, "ray::MapWorker(MapBatches(_Answering)).submit"):
            time.sleep(0.01)

    killing = threading.Thread(target=kill_one, daemon=True)
    killing.start()
    found = prediction.predict_files(bundle, [album], out, progress=lambda _, done, total: heard.append((done, total)))
    assert not killing.is_alive()
    assert [done for done, _ in heard] == sorted(done for done, _ in heard)
    assert heard[-1] == (2_100, 2_100)
    assert (found.images, found.resumed, found.unreadable) == (2_100, 0, 1)
    assert "0007.bmp" in found.problems[0]
    predict_files(open_bundle(bundle), [album], tmp_path / "one.parquet", on_bad_image="skip")
    assert parquet.read_table(out).equals(parquet.read_table(tmp_path / "one.parquet"))
    first, *others = sorted(out.iterdir())
    assert len(others) == 2
    before = {path: path.stat().st_mtime_ns for path in others}
    first.unlink()
    again = prediction.predict_files(bundle, [album], out)
    assert (again.images, again.resumed, again.unreadable) == (2_100, 1_076, 1)
    assert {path: path.stat().st_mtime_ns for path in others} == before
    with pytest.raises(DataError, match=r"(?s)answers holds answers about other images.*Choose another folder"):
        prediction.predict_files(bundle, [album / "0001.bmp"], out)
    with pytest.raises(BadImageError, match=r"0007\.bmp is not an image"):
        prediction.predict_files(bundle, [album], tmp_path / "strict", on_bad_image="error")
    with pytest.raises(DataError, match="there is no file or folder"):
        prediction.predict_files(bundle, [tmp_path / "gone"], tmp_path / "none")
    assert not (tmp_path / "none").exists()
