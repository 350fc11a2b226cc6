"""`eyebright export` and what `predict` does with a bundle."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eyebright.core.recipe import recipe
from eyebright.data.load import load
from eyebright.exporting import write
from eyebright.exporting.onnx import to_onnx
from eyebright.models.classifier import Classifier
from eyebright.training.fit import fit, judge
from eyebright.training.run import Run
from tests.cli.conftest import Command


@pytest.fixture(scope="module")
def digits_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One epoch on digits."""
    chosen = recipe("digits/cnn", epochs=1, device="cpu", threads=1)
    splits = load(chosen.data)
    run = fit(chosen, splits, folder=tmp_path_factory.mktemp("runs") / "digits", callbacks=())
    judge(run, splits)
    return run.path


@pytest.fixture(scope="module", autouse=True)
def _traced_once() -> Iterator[None]:
    """Tracing takes seconds; all exports here are of one run."""
    kept: dict[float, bytes] = {}

    def once(model: Classifier, temperature: float) -> bytes:
        if temperature not in kept:
            kept[temperature] = to_onnx(model, temperature)
        return kept[temperature]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(write, "to_onnx", once)
        yield


@pytest.fixture(scope="module")
def bundle(digits_run: Path, tmp_path_factory: pytest.TempPathFactory, _traced_once: None) -> Path:
    splits = load(recipe("digits/cnn").data)
    folder = tmp_path_factory.mktemp("bundle") / "digits"
    run = Run.open(digits_run)
    return write.export(run, folder, check=splits.test, calibrate=splits.validation).path


@pytest.fixture
def photos() -> Path:
    folder = Path("photos")
    folder.mkdir()
    for number in range(5):
        Image.fromarray(np.full((20, 24, 3), 50 * number, np.uint8)).save(folder / f"{number}.png")
    return folder


def test_a_run_becomes_a_file(command: Command, digits_run: Path) -> None:
    ran = command("export", digits_run, "model.onnx", "--name", "Digits", "--licence", "MIT", "--images", 50)
    assert ran.code == 0, ran.err
    assert "label flips    0" in ran.out
    assert "images         50 of digits test" in ran.out
    assert ran.out.splitlines()[-1] == "exported: model.onnx"


def test_a_run_becomes_a_folder_with_images(command: Command, digits_run: Path) -> None:
    assert command("export", digits_run, "bundle/", "--with-images").code == 0
    assert {"known.npz", "examples", "MODEL_CARD.md"} <= {path.name for path in Path("bundle").iterdir()}


def test_fewer_bits(command: Command, digits_run: Path) -> None:
    ran = command("export", digits_run, "small.onnx", "--int8", "--tolerance", 0.2)
    assert ran.code == 0, ran.err
    assert "onnx int8" in ran.out
    assert "loss of accuracy" in ran.out


def test_over_tolerance_the_command_fails_and_writes_nothing(command: Command, digits_run: Path) -> None:
    ran = command("export", digits_run, "model.onnx", "--tolerance", 1e-12)
    assert ran.code == 2
    assert "over the tolerance of 1e-12" in ran.err
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--bf16"], "no bf16 convolutions"),
        (["--int8", "--fp16"], "exclude each other"),
        (["--format", "pt2", "--int8"], "is written in fp32"),
        (["--format", "tflite"], "is not one of"),
        (["--with-images"], "carries no images"),
        (["--data", "nowhere"], "nowhere"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_named(command: Command, digits_run: Path, options: list[str], message: str) -> None:
    ran = command("export", digits_run, "model.onnx", *options)
    assert ran.code == 2
    assert message in ran.err
    assert not Path("model.onnx").exists()


def test_predict_with_a_bundle_imports_no_torch(bundle: Path, tmp_path: Path) -> None:
    Image.new("L", (9, 9), 200).save(tmp_path / "a.png")
    code = (
        f"import sys; sys.argv = ['eyebright', 'predict', {str(bundle)!r}, {str(tmp_path / 'a.png')!r}]\n"
        "from eyebright.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print(sorted({'torch', 'scipy', 'matplotlib', 'sklearn', 'hydra', 'onnx'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    answer, loaded = done.stdout.splitlines()
    assert answer.startswith(str(tmp_path / "a.png"))
    assert loaded == "[]"


def test_a_bundle_answers_as_its_run_does(command: Command, digits_run: Path, bundle: Path, photos: Path) -> None:
    from_run = command("predict", digits_run, photos, "--format", "json", "--top", 1)
    from_bundle = command("predict", bundle, photos, "--format", "json", "--top", 1)
    first, second = ([json.loads(line) for line in ran.out.splitlines()] for ran in (from_run, from_bundle))
    assert [(row["name"], row["classes"]) for row in first] == [(row["name"], row["classes"]) for row in second]


def test_a_table_of_many_images(command: Command, bundle: Path, photos: Path) -> None:
    (photos / "broken.png").write_text("no image")
    assert command("predict", bundle, photos, "--out", "answers.csv").code == 2
    ran = command("predict", bundle, photos, "--out", "answers.csv", "--on-bad-image", "skip")
    assert ran.code == 0, ran.err
    assert "answers: answers.csv (6 images; 1 skipped)" in ran.out
    assert "skipped photos/broken.png is not an image" in ran.err
    with Path("answers.csv").open(newline="") as file:
        assert next(csv.DictReader(file))["name"] == "photos/0.png"


def test_a_table_needs_a_bundle(command: Command, digits_run: Path, photos: Path) -> None:
    ran = command("predict", digits_run, photos, "--out", "answers.csv")
    assert ran.code == 2
    assert "--out is for bundles" in ran.err
