"""`eyebright bench`, and the times that `eyebright train` says."""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path

import numpy as np
import pytest

from eyebright.cli import bench
from eyebright.core.recipe import recipe
from eyebright.training.measure import machine
from eyebright.training.measure import recipe as measured
from eyebright.training.measure.timing import Effort
from tests.cli.conftest import Command


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is measured, on next to nothing."""
    effort = Effort(seconds=0, fewest=2)
    monkeypatch.setattr(machine, "_MATRIX_SIDES", {"cpu": (8,)})
    monkeypatch.setattr(machine, "_BATCH", {"cpu": 2})
    monkeypatch.setattr(machine, "_CONVOLUTIONS", ((2, 4),))
    monkeypatch.setattr(machine, "COPIED_BYTES", 1 << 20)
    monkeypatch.setattr(machine, "measure_machine", functools.partial(machine.measure_machine, effort=effort))
    monkeypatch.setattr(measured, "measure_recipe", functools.partial(measured.measure_recipe, effort=effort))


@pytest.mark.usefixtures("quick")
def test_a_recipe_is_measured_and_written_as_json(command: Command) -> None:
    overrides = ["precision=bf16", "device=cpu", "threads=1", "epochs=7"]
    code, out, err = command("bench", "digits/cnn", *overrides, "--json", "bench.json")
    assert code == 0, err
    rows = "matrix product, float32|convolution, forward and backward, bfloat16|copy of memory|JPEG decoding"
    for row in (rows + "|data loader|training step, bfloat16|inference, bfloat16|final judging, float32").split("|"):
        assert re.search(rf"^ *{row} +[\d.,]+ \D", out, re.MULTILINE), row
    assert "digits/cnn on digits: batches of 64 images 8x8x1" in out
    assert "predicted time: " in out
    assert "measuring 1/4: data loader" in err
    assert [path.name for path in Path.cwd().iterdir()] == ["bench.json"]

    found = json.loads(Path("bench.json").read_text())
    speed, peaks = found["recipe"], found["machine"]["peaks"]
    both = next(peak for peak in peaks if (peak["operation"], peak["dtype"]) == (machine.BOTH, "bfloat16"))
    (phase,) = speed["phases"]
    reached = phase["flops"] * phase["images_per_second"]["median"]
    assert phase["share_of_peak"] == pytest.approx(reached / both["flops_per_second"]["median"])
    assert speed["predicted_seconds"] == pytest.approx(sum(speed["duration"].values()))
    assert speed["duration"]["training"] == pytest.approx(7 * 1293 / phase["images_per_second"]["median"])
    assert found["machine"]["environment"]["processor"]


@pytest.mark.usefixtures("quick")
def test_without_a_recipe_noise_is_trained_on(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "_EXAMPLE_SIDE", 8)
    monkeypatch.setattr(bench, "_EXAMPLE_IMAGES", {"train": 600, "validation": 50, "test": 70})
    code, out, err = command("bench")
    assert code == 0, err
    assert "cifar10/resnet20 on noise: batches of 128 images 8x8x3" in out
    assert list(Path.cwd().iterdir()) == []


def test_the_noise_has_the_splits_of_cifar10() -> None:
    splits = bench._noise(recipe("cifar10/resnet20"))
    assert [(part.split, len(part), part.shape) for part in splits] == [
        ("train", 45_000, (32, 32, 3)),
        ("validation", 5_000, (32, 32, 3)),
        ("test", 10_000, (32, 32, 3)),
    ]
    assert np.array_equal(np.sort(np.concatenate([part.index for part in splits])), np.arange(60_000))
    assert set(splits.train.labels) == set(range(len(splits.train.classes)))


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.5, "images/s", "0.5 images/s"),
        (12.34, "images/s", "12.3 images/s"),
        (52_345.6, "images/s", "52,346 images/s"),
        (3.12e11, "FLOP/s", "312 GFLOP/s"),
        (1.234e12, "FLOP/s", "1.23 TFLOP/s"),
        (2.5e6, "", "2.5 M"),
        (1.5e15, "FLOP/s", "1,500 TFLOP/s"),
    ],
)
def test_rates_have_three_digits_and_a_prefix(value: float, unit: str, text: str) -> None:
    assert bench._si(value, unit) == text


def test_a_recipe_that_does_not_exist_is_named(command: Command) -> None:
    code, _, err = command("bench", "cifar10/ladr_cnn")
    assert code == 2
    assert "Did you mean 'cifar10/ladder_cnn'?" in err


def test_training_says_its_predicted_and_its_real_time(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eyebright.insight.findings.affordable", lambda *_: False)
    monkeypatch.setattr("eyebright.cli.train.write_report", lambda *_: None)
    code, _, err = command("train", "digits/cnn", "epochs=2", "--out", "run")
    assert code == 0, err
    predicted = re.search(r"^predicted time: (.+ s) \(so far .+, judging .+\)$", err, re.MULTILINE)
    assert predicted is not None
    assert re.search(rf"^training and judging took .+ s; {predicted[1]} were predicted$", err, re.MULTILINE)
    assert err.index("predicted time") < err.index("epoch   2")
    code, _, err = command("train", "--resume", "run")
    assert code == 0, err
    assert re.search(r"^training and judging took .+ s$", err, re.MULTILINE)
