"""`eyebright compare`, `doctor` and `data fix`: exit codes, what is printed where, and files."""

from __future__ import annotations

import json
import shlex
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from eyebright.core.recipe import recipe
from eyebright.data.load import load
from eyebright.training.fit import fit, judge
from tests.cli.conftest import Command


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Three short trainings on digits: one good, one far too slow, one divided otherwise."""
    folder = tmp_path_factory.mktemp("runs")
    choices = {
        "good [run]": ["epochs=5"],
        "slow": ["epochs=2", "optimizer.lr=1e-6"],
        "other": ["epochs=1", "data.split_seed=5"],
    }
    for name, overrides in choices.items():
        chosen = recipe("digits/mlp", overrides)
        splits = load(chosen.data)
        judge(fit(chosen, splits, folder=folder / name, callbacks=()), splits)
    return {name: str(folder / name) for name in choices}


def test_compare_prints_both_runs(command: Command, runs: dict[str, str]) -> None:
    ran = command("compare", runs["slow"], runs["good [run]"])
    assert ran.code == 0, ran.err
    lines = [" ".join(line.split()) for line in ran.out.splitlines()]
    assert lines[:2] == [f"first {runs['slow']}", f"second {runs['good [run]']}"]
    assert "optimizer.lr 1e-06 0.001" in lines
    assert "training.epochs 2 5" in lines
    # Curves: five epochs, of which the first run has two.
    assert [line.split()[0] for line in lines if line[:1].isdigit() and len(line.split()) <= 5] == list("12345")
    summary = next(line for line in lines if line.startswith("test "))
    assert " +0." in summary
    assert "p=" in summary
    assert any(line.startswith("gap to training ") for line in lines)
    assert sum(line.startswith(tuple("0123456789")) and "n=" in line for line in lines) == 10  # a row a class
    assert any("mended (only the second is right)" in line for line in lines)
    assert "another seed" in lines[-1]


def test_compare_as_json_has_the_rows_of_the_flips(command: Command, runs: dict[str, str]) -> None:
    ran = command("compare", runs["slow"], runs["good [run]"], "--split", "validation", "--json")
    found = json.loads(ran.out)
    assert found["comparison"]["split"] == "validation"
    gained, lost = len(found["comparison"]["mended"]), len(found["comparison"]["broken"])
    assert found["comparison"]["difference"]["value"] == pytest.approx((gained - lost) / 144)
    assert [len(history) for history in found["histories"]] == [2, 5]


def test_compare_refuses_other_images(command: Command, runs: dict[str, str]) -> None:
    ran = command("compare", runs["good [run]"], runs["other"])
    assert ran.code == 2
    assert "of other images" in ran.err
    assert "data.split_seed" in ran.err
    assert command("compare", runs["good [run]"], "nowhere").code == 2


def test_doctor_has_nothing_to_say_of_a_good_run(command: Command, runs: dict[str, str]) -> None:
    ran = command("doctor", runs["good [run]"])
    assert (ran.code, ran.out) == (0, "No fault found: neither in the training nor in the images.\n")
    assert command("doctor", runs["good [run]"], "--json").out == "[]\n"


def test_doctor_prints_a_command_that_can_be_run(command: Command, runs: dict[str, str]) -> None:
    ran = command("doctor", runs["slow"])
    assert ran.code == 0, ran.err
    lines = ran.out.splitlines()
    assert lines[0] == "serious: learning rate too low"
    eyebright, train, file, override = shlex.split(lines[3])
    assert [eyebright, train] == ["eyebright", "train"]
    assert recipe(file, [override]).optimizer.lr >= 1e-4
    remark = json.loads(command("doctor", runs["slow"], "--json").out)[0]
    assert (remark["fault"], remark["overrides"]) == ("learning_rate_too_low", [override])


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Ten images in each of two classes."""
    for label, name in enumerate(("cat", "dog")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(10):
            colour = (200 * label, 20 * number, 0)
            Image.new("RGB", (8, 8), colour).save(tmp_path / "photos" / name / f"{number}.png")
    return tmp_path / "photos"


def write_patch(path: Path, source: str, changes: list[dict[str, object]], split: str = "test") -> None:
    content = {"eyebright_label_patch": 1, "source": source, "split": split, "changes": changes}
    path.write_text(json.dumps(content))


def test_fix_moves_files_and_takes_them_back(command: Command, photos: Path, tmp_path: Path) -> None:
    change = {"index": 3, "file": "cat/3.png", "given": "cat", "proposed": "dog"}
    write_patch(tmp_path / "labels.json", "photos", [change])
    ran = command("data", "fix", "photos", "labels.json")
    assert (ran.code, ran.out) == (0, "images moved in photos: 1\n")
    assert "eyebright data fix photos labels.json --revert" in ran.err
    assert (photos / "dog" / "3-2.png").is_file()
    assert command("data", "fix", "photos", "labels.json").out == "images moved in photos: 0\n"
    back = command("data", "fix", "photos", "labels.json", "--revert")
    assert (back.code, back.out) == (0, "images moved back in photos: 1\n")
    assert sorted(path.name for path in photos.rglob("*.png")) == sorted(2 * [f"{n}.png" for n in range(10)])
    assert command("data", "fix", "photos", "labels.json", "--revert").code == 2


def test_fix_prints_an_override_for_what_cannot_be_moved(command: Command, photos: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as packed:
        for path in sorted(photos.rglob("*.png")):
            packed.write(path, path.relative_to(photos))
    change = {"index": 3, "file": "cat/3.png", "given": "cat", "proposed": "dog"}
    write_patch(tmp_path / "my labels.json", "photos", [change])
    ran = command("data", "fix", "photos.zip", "my labels.json")
    assert ran.code == 0, ran.err
    assert ran.out.startswith("labels that fit photos.zip: 1; its files stay as they are.\n")
    (override,) = shlex.split(ran.out.splitlines()[-1])
    chosen = recipe("digits/mlp", ["data=folder", override], **{"data.source": "photos.zip"})
    splits = load(chosen.data)
    labels = {name: label for part in splits for name, label in zip(part.names, part.labels.tolist(), strict=True)}
    assert labels["cat/3.png"] == 1
    reverted = command("data", "fix", "photos.zip", "my labels.json", "--revert")
    assert reverted.code == 2
    assert "Train without data.label_patches" in reverted.err


def test_fix_of_a_known_data_set_is_checked_against_it(command: Command, tmp_path: Path) -> None:
    rows = load("digits").test.index
    labels = load("digits").test.labels
    given, other = str(labels[0]), str((labels[0] + 1) % 10)
    change: dict[str, object] = {"index": int(rows[0]), "file": None, "given": given, "proposed": other}
    write_patch(tmp_path / "labels.json", "digits", [change])
    assert "data.label_patches=" in command("data", "fix", "digits", "labels.json").out
    write_patch(tmp_path / "labels.json", "digits", [change | {"given": other, "proposed": given}])
    refused = command("data", "fix", "digits", "labels.json")
    assert refused.code == 2
    assert f"its label is '{given}' and not '{other}'" in refused.err


@pytest.mark.parametrize("name", ["compare", "doctor"])
def test_commands_have_help(command: Command, name: str) -> None:
    ran = command(name, "--help")
    assert ran.code == 0
    assert f"eyebright {name} runs/" in ran.out
