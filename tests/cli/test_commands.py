"""The command line as a user meets it: exit codes, what is printed where, and files."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.conftest import Command


@pytest.fixture(scope="module")
def digits_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short real run, made by the command itself."""
    folder = tmp_path_factory.mktemp("runs") / "digits"
    arguments = ["train", "digits/cnn", "epochs=3", "--out", str(folder)]
    done = subprocess.run([sys.executable, "-m", "eyebright", *arguments], capture_output=True, text=True, check=True)
    assert "test       accuracy 0." in done.stdout
    assert "report:" in done.stdout
    assert "bf16" in done.stderr or "fp32" in done.stderr
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 2 x 24 small pictures, red and blue, and one corrupt file."""
    folder = tmp_path_factory.mktemp("photos")
    random = np.random.default_rng(0)
    for colour, channel in (("red", 0), ("blue", 2)):
        (folder / colour).mkdir()
        for number in range(24):
            pixels = random.integers(0, 80, (20, 24, 3), dtype=np.uint8)
            pixels[..., channel] += 150
            Image.fromarray(pixels).save(folder / colour / f"{number:02d}.png")
    (folder / "red" / "broken.jpg").write_text("not an image")
    return folder


def test_help_shows_examples_and_imports_no_torch() -> None:
    code = (
        "import sys; sys.argv = ['eyebright', '--help']\n"
        "from eyebright.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print(sorted({'torch', 'matplotlib', 'sklearn', 'hydra', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "eyebright train digits/cnn" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("name", ["train", "evaluate", "predict", "report", "runs", "models", "recipes", "data"])
def test_every_command_has_help(command: Command, name: str) -> None:
    ran = command(name, "--help")
    assert ran.code == 0
    assert "Usage:" in ran.out


def test_train_leaves_a_run_with_a_report(digits_run: Path) -> None:
    expected = {"recipe.yaml", "run.json", "history.jsonl", "scores.json", "report.html"}
    assert expected <= {path.name for path in digits_run.iterdir()}
    assert (digits_run / "predictions" / "test.safetensors").is_file()


def test_runs_lists_it_and_evaluate_finds_the_same_scores(command: Command, digits_run: Path) -> None:
    listed = command("runs", str(digits_run.parent))
    assert str(digits_run) in listed.out.replace("\n", "")
    assert "finished" in listed.out
    before = json.loads((digits_run / "scores.json").read_text())
    ran = command("evaluate", str(digits_run), "--json")
    assert ran.code == 0
    assert json.loads(ran.out) == before


def test_predict_prints_a_table_json_and_csv(command: Command, digits_run: Path, tmp_path: Path) -> None:
    from sklearn.datasets import load_digits

    digits = load_digits()
    for number in range(3):
        picture = (digits.images[number] * 255 / 16).astype(np.uint8)
        Image.fromarray(picture).save(tmp_path / f"{number}.png")
    table = command("predict", str(digits_run), "0.png", "1.png", "--top", "2")
    assert table.code == 0
    assert len(table.out.splitlines()) == 2
    lines = [json.loads(line) for line in command("predict", str(digits_run), ".", "--format", "json").out.splitlines()]
    assert [line["name"] for line in lines] == ["0.png", "1.png", "2.png"]
    assert all(len(line["classes"]) == 3 and 0 < sum(line["probabilities"]) <= 1.0001 for line in lines)
    rows = list(csv.DictReader(io.StringIO(command("predict", str(digits_run), "2.png", "--format", "csv").out)))
    assert [row["rank"] for row in rows] == ["1", "2", "3"]
    assert rows[0]["class"] == lines[2]["classes"][0]


def test_predict_names_a_bad_image_or_goes_on(command: Command, digits_run: Path, tmp_path: Path) -> None:
    Image.new("L", (8, 8)).save(tmp_path / "good.png")
    (tmp_path / "bad.jpg").write_text("no image")
    stopped = command("predict", str(digits_run), "bad.jpg", "good.png")
    assert stopped.code == 2
    assert "bad.jpg" in stopped.err
    went_on = command("predict", str(digits_run), "bad.jpg", "good.png", "--on-bad-image", "skip")
    assert went_on.code == 0
    assert "good.png" in went_on.out
    assert "bad.jpg" in went_on.err


def test_a_folder_of_photos_gets_a_recipe_and_its_reason(command: Command, photos: Path) -> None:
    stopped = command("train", str(photos), "epochs=1")
    assert stopped.code == 2
    assert "recipe folder/small: 49 images, 20 pixels" in stopped.err
    assert "broken.jpg" in stopped.err
    assert "skip" in stopped.err
    ran = command("train", str(photos), "epochs=6", "--on-bad-image", "skip", "--out", "photos-run")
    assert ran.code == 0, ran.err
    about = json.loads(Path("photos-run/run.json").read_text())
    assert [bad["name"] for bad in about["data"]["bad"]] == ["red/broken.jpg"]
    assert "broken.jpg" in Path("photos-run/report.html").read_text()


def test_copies_are_not_searched_again_for_a_run_that_goes_on(
    command: Command, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = ["epochs=1", "leave_out_copies=true", "--on-bad-image", "skip", "--out", "clean"]
    assert command("train", str(photos), *chosen).code == 0
    before = json.loads(Path("clean/scores.json").read_text())
    monkeypatch.setattr("eyebright.data.load.without_copies", lambda *_, **__: pytest.fail("searched again"))
    resumed = command("train", "--resume", "clean", "--on-bad-image", "skip")
    assert resumed.code == 0, resumed.err
    assert json.loads(Path("clean/scores.json").read_text()) == before


def test_a_run_is_judged_where_its_images_have_moved(command: Command, photos: Path, tmp_path: Path) -> None:
    images = tmp_path / "before"
    shutil.copytree(photos, images)
    (images / "red" / "broken.jpg").unlink()
    assert command("train", str(images), "epochs=1", "--out", "moved").code == 0
    images.rename(tmp_path / "after")
    assert command("evaluate", "moved").code == 2
    assert command("evaluate", "moved", "--data", str(tmp_path / "after")).code == 0
    assert command("train", "--resume", "moved", "--data", str(tmp_path / "after")).code == 0
    assert command("evaluate", "moved", "--data", str(photos), "--json").code == 2  # other images


def test_data_commands(command: Command, photos: Path) -> None:
    assert "cifar10" in command("data", "list").out
    info = command("data", "info", str(photos), "on_bad_image=skip")
    assert "left out: red/broken.jpg" in info.out.replace("\n", "")
    shown = command("data", "show", "digits", "--augment", "shift=0.2", "rotate=20", "--out", "sheet.png")
    assert shown.code == 0, shown.err
    with Image.open("sheet.png") as sheet:
        assert min(sheet.size) > 200
    assert command("data", "cache").code == 0
    assert "freed" in command("data", "cache", "--clear").out


def test_transforms_of_other_libraries_are_shown(command: Command) -> None:
    shown = command("data", "show", "digits", "--augment", "augment=table_e", "crop=1")
    assert shown.code == 0, shown.err
    with Image.open("sheet.png") as sheet:
        assert sheet.height > 4 * 128  # as they are, the pipeline, the crop, and both
    entries = "{_target_: albumentations.Rotate, limit: 5}, {_target_: albumentations.Normalize}"
    turned = command("data", "show", "digits", "--augment", f"augment.pipeline=[{entries}]")
    assert turned.code == 0, turned.err
    assert "Normalize at its end left out" in turned.err


def test_recipes_and_models_are_listed(command: Command) -> None:
    assert "cifar10/ladder_cnn" in command("recipes").out
    printed = command("recipes", "digits/cnn").out
    Path("mine.yaml").write_text(printed)
    assert command("recipes", "mine.yaml").out == printed
    listed = {row["name"]: row for row in json.loads(command("models", "--no-measure", "--json").out)}
    assert listed["simple_cnn"]["parameters"] == 545_098
    small = command("models", "--size", "2", "--no-measure")
    assert "resnet20" in small.out
    assert "simple_cnn" in small.err  # too large for such images, and said so


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train"], "nothing to train"),
        (["train", "cifar10/ladr_cnn"], "Did you mean 'cifar10/ladder_cnn'?"),
        (["train", "digits/cnn", "epcohs=1"], "Did you mean 'epochs'?"),
        (["train", "digits/cnn", "device=cuda:63"], "no device 'cuda:63'"),
        (["train", "cifar10/mlp", "download=false"], "cifar-10-python.tar.gz"),
        (["train", "emotions/mlp"], "emotions.zip"),
        (["train", "no-such-folder/"], "neither a recipe nor a folder"),
        (["train", "./photo"], "neither a recipe nor a folder"),
        (["train", "digits/cnn", "--data", "x"], "--data is for a run that is resumed"),
        (["train", "--resume", "nowhere"], "nowhere is not a run"),
        (["train", "digits/cnn", "--resume", "nowhere"], "--resume continues a run"),
        (["evaluate", "nowhere"], "nowhere is not a run"),
        (["predict", "nowhere", "x.png"], "nowhere is not a run"),
        (["data", "info", "no-such-set"], "no-such-set"),
        (["data", "show", "digits", "--split", "tset"], "Did you mean 'test'?"),
        (["train", "digits/mlp", "augment.pipeline=[{_target_: os.system, command: ls}]"], "no other code is run"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_costs_two_lines_and_exit_code_2(command: Command, arguments: list[str], message: str) -> None:
    ran = command(*arguments)
    assert ran.code == 2
    assert message in ran.err
    assert "Traceback" not in ran.err
    assert not list(Path.cwd().glob("runs/**/run.json"))


def test_brackets_in_names_are_printed_as_they_are(command: Command, photos: Path) -> None:
    named = Path("ph [red]")
    shutil.copytree(photos, named, ignore=shutil.ignore_patterns("broken.jpg"))
    (named / "red").rename(named / "[bold]x")
    (named / "blue").rename(named / "[-y]")
    assert "[bold]x" in command("data", "info", str(named)).out
    trained = command("train", str(named), "epochs=1", "model=mlp", "--out", "a [run]")
    assert trained.code == 0, trained.err
    assert "report: a [run]/report.html" in trained.out
    assert "a [run]" in command("runs", ".").out
    assert "[-y]" in command("predict", "a [run]", str(named)).out


def test_one_damaged_run_does_not_hide_the_others(command: Command, digits_run: Path, tmp_path: Path) -> None:
    for name in ("whole", "broken"):
        shutil.copytree(digits_run, tmp_path / name)
    (tmp_path / "broken" / "history.jsonl").write_text("{")
    listed = command("runs", ".")
    assert listed.code == 0
    statuses = {line.split()[0]: line.split()[1] for line in listed.out.splitlines() if line.split()[1:]}
    assert (statuses["whole"], statuses["broken"]) == ("finished", "damaged")
    assert "broken/history.jsonl is damaged" in listed.err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_results_that_cannot_be_written_are_an_error() -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "eyebright", "recipes"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert "error: the operating system refused" in done.stderr
    assert "Traceback" not in done.stderr
