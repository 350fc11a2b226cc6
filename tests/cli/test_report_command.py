"""`eyebright report` as a user meets it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from eyebright.core.recipe import recipe
from eyebright.data.load import load
from eyebright.training.fit import fit, judge
from eyebright.training.run import Run
from tests.cli.conftest import Command


def train(name: str, folder: Path) -> Path:
    """A judged run of an epoch."""
    chosen = recipe(name, epochs=1)
    splits = load(chosen.data)
    judge(fit(chosen, splits, folder=folder, callbacks=()), splits)
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """An MLP and a CNN on the digits."""
    folder = tmp_path_factory.mktemp("runs")
    return train("digits/mlp", folder / "mlp"), train("digits/cnn", folder / "cnn")


def page_data(path: Path) -> dict[str, Any]:
    text = path.read_text().split('<script type="application/json" id="page-data">')[1].split("</script>")[0]
    data: dict[str, Any] = json.loads(text)
    return data


def test_a_report_goes_into_the_folder_of_the_run(command: Command, runs: tuple[Path, Path]) -> None:
    ran = command("report", str(runs[1]))
    assert ran.code == 0, ran.err
    assert f"report: {runs[1] / 'report.html'}" in ran.out
    data = page_data(runs[1] / "report.html")
    assert len(data["images"]["given"]) == 360
    assert data["maps"]
    assert data["nearest"]


def test_without_images_it_is_quick_and_says_how_to_get_them(command: Command, runs: tuple[Path, Path]) -> None:
    ran = command("report", str(runs[0]), "--no-images", "--out", "page.html")
    assert ran.code == 0, ran.err
    assert set(page_data(Path("page.html"))) == {"points"}
    assert "The images are not on this page" in Path("page.html").read_text()


def test_images_that_are_gone_are_named_on_the_page(command: Command, runs: tuple[Path, Path], tmp_path: Path) -> None:
    shutil.copytree(runs[0], tmp_path / "run")
    text = (tmp_path / "run" / "recipe.yaml").read_text()
    (tmp_path / "run" / "recipe.yaml").write_text(text.replace("source: digits", "source: gone"))
    ran = command("report", "run")
    assert ran.code == 0
    assert "'gone' is neither" in ran.err
    html = (tmp_path / "run" / "report.html").read_text()
    assert "What this page cannot show" in html
    assert "neither the name of a data set nor the path" in html
    assert "What is taken for what" in html
    moved = command("report", "run", str(runs[1]), "--data", "digits", "--out", "two.html")
    assert moved.code == 0
    assert page_data(Path("two.html"))["images"]["source"] == "digits"


def test_a_model_that_is_gone_is_named_on_the_page(command: Command, runs: tuple[Path, Path], tmp_path: Path) -> None:
    shutil.copytree(runs[0], tmp_path / "run")
    (tmp_path / "run" / "checkpoints" / "best.safetensors").unlink()
    assert command("report", "run").code == 0
    html = (tmp_path / "run" / "report.html").read_text()
    assert "what needs the model" in html
    assert len(page_data(tmp_path / "run" / "report.html")["images"]["given"]) == 360


def test_two_runs_go_side_by_side(command: Command, runs: tuple[Path, Path]) -> None:
    ran = command("report", *map(str, runs))
    assert ran.code == 0, ran.err
    path = runs[1] / "side_by_side.html"
    assert f"report: {path}" in ran.out
    data = page_data(path)
    assert [answer["title"] for answer in data["answers"]] == ["digits/mlp", "digits/cnn"]
    flipped = len(data["groups"]["mended"]) + len(data["groups"]["broken"])
    assert len(data["images"]["given"]) == flipped > 0
    quick = command("report", *map(str, runs), "--no-images", "--out", "two.html")
    assert quick.code == 0
    assert page_data(Path("two.html")) == {}


def test_two_runs_without_their_images_keep_the_numbers(command: Command, runs: tuple[Path, Path]) -> None:
    ran = command("report", *map(str, runs), "--data", "gone", "--out", "two.html")
    assert ran.code == 0
    assert "the images</b>: &#39;gone&#39; is neither" in Path("two.html").read_text()


def test_more_than_two_runs_are_refused(command: Command, runs: tuple[Path, Path]) -> None:
    ran = command("report", *map(str, [*runs, runs[0]]))
    assert ran.code == 2
    assert "a page compares two runs and not 3" in ran.err


def test_runs_on_other_images_are_refused(command: Command, runs: tuple[Path, Path], tmp_path: Path) -> None:
    chosen = recipe("digits/mlp", epochs=1, **{"data.split_seed": 5})
    splits = load(chosen.data)
    judge(fit(chosen, splits, folder=tmp_path / "other", callbacks=()), splits)
    ran = command("report", str(runs[0]), "other")
    assert ran.code == 2
    assert "cannot be compared" in ran.err
    assert not (tmp_path / "other" / "side_by_side.html").exists()


def test_a_run_that_was_not_judged_gets_a_page_of_what_there_is(command: Command, tmp_path: Path) -> None:
    chosen = recipe("digits/mlp", epochs=1)
    Run.create(tmp_path / "run", chosen, load(chosen.data), {"plan": "cpu"})
    ran = command("report", "run")
    assert ran.code == 0
    assert "has no predictions yet" in ran.err
    html = (tmp_path / "run" / "report.html").read_text()
    assert "Nothing was measured yet" in html
    assert "What this page cannot show" in html
