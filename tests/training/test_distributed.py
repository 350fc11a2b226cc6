"""Several processes train what one would train: the same weights and answers, one writer, one message, any restart."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from eyebright.core import device
from eyebright.core.errors import DeviceError, ModelError, ProcessError, RecipeError
from eyebright.core.input_spec import InputSpec
from eyebright.core.processor import available_threads
from eyebright.core.recipe import Recipe
from eyebright.core.settings.model import ResNetSettings, SpeedNetSettings
from eyebright.data.image_set import Splits
from eyebright.evaluation.predict import predict
from eyebright.evaluation.predictions import Predictions
from eyebright.models.registry import build
from eyebright.training import distributed
from eyebright.training.distributed import ALONE, World, current, joined
from eyebright.training.fit import fit, judge, resume
from eyebright.training.run import Run
from tests.training.together import ACCUMULATED, PLAIN, splits

ROOT = Path(__file__).resolve().parents[2]
SPEC = InputSpec(32, 32, 3, (0.5,) * 3, (0.25,) * 3, ("a", "b"))
CPU = device.choose("cpu", "fp32", threads=1)


def torchrun(folder: Path, *arguments: str, processes: int = 2) -> subprocess.CompletedProcess[str]:
    """Run processes together in an empty folder, on a port of their own."""
    launcher = ("-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}")
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *launcher, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def weights(run: Run) -> dict[str, Tensor]:
    """Everything in both checkpoints."""
    files = (run.last_checkpoint, run.best_checkpoint)
    return {f"{path.name} {name}": value for path in files for name, value in load_file(path).items()}


def assert_same_bits(run: Run, other: Run) -> None:
    mine, theirs = weights(run), weights(other)
    assert mine.keys() == theirs.keys()
    assert [name for name in mine if not torch.equal(mine[name], theirs[name])] == []


def assert_nearly_equal(run: Run, other: Run) -> None:
    mine, theirs = weights(run), weights(other)
    assert mine.keys() == theirs.keys()
    for name, value in mine.items():
        torch.testing.assert_close(value, theirs[name], rtol=1e-4, atol=1e-5, msg=name)
    for record, reference in zip(run.history, other.history, strict=True):
        for field in ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "lr"):
            assert record[field] == pytest.approx(reference[field], rel=1e-4)


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes have trained, in a group that was not Eyebright's own."""
    folder = tmp_path_factory.mktemp("together")
    done = torchrun(folder, str(ROOT / "tests" / "training" / "together.py"), "train", str(folder))
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """The same from one process."""
    folder = tmp_path_factory.mktemp("alone")
    recipes = {"plain": PLAIN, "accumulated": ACCUMULATED}
    return {name: fit(recipe, splits(), folder=folder / name, callbacks=()) for name, recipe in recipes.items()}


@pytest.mark.slow  # two processes start, and train seven times
@pytest.mark.parametrize("name", ["plain", "accumulated"])
def test_two_processes_train_the_weights_of_one(together: Path, alone: dict[str, Run], name: str) -> None:
    assert_nearly_equal(Run.open(together / name), alone[name])


@pytest.mark.slow
def test_two_processes_repeat_themselves_to_the_bit(together: Path) -> None:
    assert_same_bits(Run.open(together / "busy"), Run.open(together / "busy again"))


@pytest.mark.slow
def test_a_signal_to_one_process_stops_all_after_the_same_step(together: Path) -> None:
    """The run that was resumed by two processes is the one that was left alone."""
    for name, whole in (("stopped", "plain"), ("stopped busy", "busy")):
        assert [(together / f"{name} {rank}").read_text() for rank in range(2)] == ["stopped", "stopped"]
        assert_same_bits(Run.open(together / name), Run.open(together / whole))


@pytest.mark.slow
def test_one_process_continues_what_two_began(together: Path, alone: dict[str, Run]) -> None:
    left = Run.open(together / "left")
    assert left.status == "interrupted"
    assert len(left.history) == 1
    assert_nearly_equal(resume(left, splits(), callbacks=()), alone["plain"])


@pytest.mark.slow
def test_only_the_first_process_writes_and_calls_the_watchers(together: Path) -> None:
    assert not (together / "witness 1").exists()
    lines = (together / "witness 0").read_text().splitlines()
    assert lines[:9] == [f"1 {batch} {min(130, 16 * batch)}" for batch in range(1, 10)]  # images of both processes
    run = Run.open(together / "plain")
    assert run.status == "finished"
    assert run.environment["processes"] == "2"
    assert not list(together.rglob("*.tmp"))


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 45])
def test_each_image_is_asked_about_once_and_every_process_has_all_answers(together: Path, count: int) -> None:
    model = Run.open(together / "plain").model
    wanted = predict(model, splits().test.take(range(count)), batch_size=20)
    for rank in range(2):
        said = np.load(together / f"answers {count} {rank}.npz")
        assert said["index"].tolist() == list(range(count))
        np.testing.assert_allclose(said["logits"], wanted.logits, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_a_run_judged_by_two_is_judged_as_by_one(together: Path) -> None:
    run = Run.open(together / "plain")
    kept = run.predictions("test")
    found = run.scores
    assert isinstance(kept, Predictions)
    assert kept.index.tolist() == list(range(45))
    again = judge(run, splits())
    assert found["test"].accuracy == again["test"].accuracy
    assert found["train"].n == 130


@pytest.mark.slow  # two processes load torch and train: 10 s
def test_the_command_line_speaks_with_one_voice(tmp_path: Path) -> None:
    done = torchrun(tmp_path, "-m", "eyebright", "train", "digits/cnn", "epochs=1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("digits test: 360 images") == 1
    assert done.stdout.count("report: ") == 1
    assert done.stderr.count("2 processes, each with its share of every batch") == 1
    assert done.stderr.count("epoch   1") == 1
    (path,) = (tmp_path / "runs" / "digits" / "cnn").iterdir()
    run = Run.open(path)
    assert run.status == "finished"
    assert run.scores["test"].n == 360


@pytest.mark.slow  # as above
@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("raise", "error: holiday.jpg cannot be decoded.\nReplace it.\n"),
        ("kill", "error: another process of this training has ended without a word"),
    ],
)
def test_a_failure_of_one_process_ends_all_with_one_message(tmp_path: Path, how: str, message: str) -> None:
    folder = tmp_path / "run"
    # torchrun looks ten times a second who has died, and ends the others, maybe before they have said why.
    late = "--monitor-interval=3"
    done = torchrun(tmp_path, late, str(ROOT / "tests" / "training" / "together.py"), how, str(folder))
    assert done.returncode != 0
    ours = done.stderr.partition("ChildFailedError")[0]  # torchrun adds its own remarks
    assert ours.count("error: ") == 1
    assert message in ours
    run = Run.open(folder)
    assert len(run.history) == 1
    assert run.last_checkpoint.is_file()


@pytest.mark.slow  # two processes load torch: 5 s
def test_an_error_of_all_processes_is_said_once(tmp_path: Path) -> None:
    done = torchrun(tmp_path, "-m", "eyebright", "train", "digits/cnnn")
    assert done.returncode != 0
    assert done.stderr.count("there is no recipe 'digits/cnnn'") == 1


# One process is enough for the rest


def test_alone_nothing_is_sent_and_nothing_changes(shades: Splits) -> None:
    with joined() as world:
        assert world is ALONE is current()
    model = nn.Linear(2, 1)
    model.weight.grad = torch.ones(1, 2)
    ALONE.sum_gradients(model)
    ALONE.align(model)
    ALONE.wait()
    assert model.weight.grad.tolist() == [[1, 1]]
    assert ALONE.once(lambda: "made") == ALONE.agreed("made") == "made"
    assert ALONE.sums([[1, 2.5]]) == [[1, 2.5]]
    assert ALONE.any(True)
    assert not ALONE.any(False)
    assert ALONE.device("auto") == "auto"
    with ALONE.first_ahead():
        pass


def test_tensors_are_packed_by_type_and_size_and_unpacked_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "_MESSAGE_BYTES", 400)
    tensors = [
        torch.randn(4, 3, 2, 2).contiguous(memory_format=torch.channels_last),  # 192 bytes
        torch.tensor(7),
        torch.randn(5, 8)[:, ::2],  # 80 bytes, not contiguous
        torch.randn(200),  # alone larger than a message
        torch.randn(3),
        torch.tensor([1, 2]),
    ]
    before = [tensor.clone() for tensor in tensors]
    sent: list[Tensor] = []

    def double(message: Tensor) -> None:
        sent.append(message)
        message.mul_(2)

    distributed._in_messages(iter(tensors), double)
    assert [(message.dtype, message.numel()) for message in sent] == [
        (torch.float32, 48 + 20),
        (torch.float32, 200),
        (torch.float32, 3),
        (torch.int64, 3),
    ]
    assert all(torch.equal(tensor, 2 * old) for tensor, old in zip(tensors, before, strict=True))
    assert tensors[0].is_contiguous(memory_format=torch.channels_last)


def test_a_batch_must_have_two_images_for_each_process(shades: Splits, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "current", lambda: World(0, 9))
    monkeypatch.setattr(World, "once", lambda _, make: make())
    with pytest.raises(RecipeError, match="16 images cannot be divided among 9 processes"):
        fit(PLAIN, shades)


def test_torchrun_without_joining_is_refused(shades: Splits, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run = fit(PLAIN.replace(epochs=1), shades, folder=tmp_path / "run", callbacks=())
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ProcessError, match=r"(?s)2 processes, but they were not joined.*with eyebright\.joined\(\)"):
        fit(PLAIN, shades, folder=tmp_path / "other")
    with pytest.raises(ProcessError):
        resume(run, shades)
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert resume(run, shades, callbacks=()).status == "finished"


def test_each_process_has_its_own_gpu_or_all_share_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    second = World(1, 2, local_rank=1)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert [second.device(name) for name in ("auto", "cpu", "cuda")] == ["cpu", "cpu", "cuda"]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [second.device(name) for name in ("auto", "cpu", "cuda", "cuda:0")] == ["cuda:1", "cpu", "cuda:1", "cuda:0"]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(DeviceError, match="process 2 of this machine has no GPU: there are 1"):
        second.device("auto")


def test_batch_norm_over_all_processes_needs_gpus_and_torchs_own_layers() -> None:
    model = build(ResNetSettings(name="resnet20"), SPEC)
    assert ALONE.synchronised(model, CPU) is model
    both, gpu = World(0, 2), dataclasses.replace(CPU, device=torch.device("cuda"))
    with pytest.raises(DeviceError, match="sync_batch_norm works on GPUs only"):
        both.synchronised(model, CPU)
    names = set(model.state_dict())
    converted = both.synchronised(model, gpu)
    assert any(isinstance(layer, nn.SyncBatchNorm) for layer in converted.modules())
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in converted.modules())
    assert set(converted.state_dict()) == names
    with pytest.raises(ModelError, match="batch normalisation of its own kind"):
        both.synchronised(build(SpeedNetSettings(), SPEC), gpu)


@pytest.mark.parametrize(
    ("variables", "threads"),
    [
        ({}, 8),
        ({"OMP_NUM_THREADS": "3"}, 3),
        ({"OMP_NUM_THREADS": "1"}, 1),
        ({"LOCAL_WORLD_SIZE": "2"}, 4),
        ({"LOCAL_WORLD_SIZE": "3", "OMP_NUM_THREADS": "1", "TORCHELASTIC_RUN_ID": "none"}, 2),  # torchrun's own 1
        ({"LOCAL_WORLD_SIZE": "3", "OMP_NUM_THREADS": "4", "TORCHELASTIC_RUN_ID": "none"}, 4),
        ({"LOCAL_WORLD_SIZE": "1", "OMP_NUM_THREADS": "1", "TORCHELASTIC_RUN_ID": "none"}, 1),
        ({"LOCAL_WORLD_SIZE": "9"}, 1),
    ],
    ids=str,
)
def test_processes_divide_the_cores(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], threads: int) -> None:
    for name in ("OMP_NUM_THREADS", "LOCAL_WORLD_SIZE", "TORCHELASTIC_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert available_threads() == threads


def test_recipes_of_old_runs_know_nothing_of_it() -> None:
    tree = PLAIN.to_dict()
    del tree["training"]["sync_batch_norm"]
    assert Recipe.from_dict(tree) == PLAIN
