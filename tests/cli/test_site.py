"""`eyebright export RUN site/`: what it refuses before the work, and what it writes where."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from eyebright.core.recipe import Recipe, recipe
from eyebright.data.image_set import Splits
from eyebright.exporting.bundle import Bundle, open_bundle
from tests.cli.conftest import Command
from tests.exporting.test_site import PARTS, npm_folder
from tests.serving.bundles import write_bundle


@dataclasses.dataclass(frozen=True)
class FakeRun:
    """What the command asks of a run."""

    recipe: Recipe
    splits: Splits

    def select(self, _splits: Splits) -> Splits:
        return self.splits

    def check_data(self, _splits: Splits) -> None:
        """They are."""


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch, shades: Splits) -> list[Path]:
    """Where bundles were written, by an export that takes no time."""
    paths: list[Path] = []

    def export(_run: Any, out: Path, **_options: Any) -> Bundle:
        paths.append(out)
        return open_bundle(write_bundle(out))

    run = FakeRun(recipe("digits/mlp"), shades)
    monkeypatch.setattr("eyebright.training.run.Run.open", lambda _path, **_options: run)
    monkeypatch.setattr("eyebright.data.load.load", lambda _settings, **_options: shades)
    monkeypatch.setattr("eyebright.exporting.write.export", export)
    return paths


@pytest.mark.parametrize(
    ("arguments", "site"),
    [(["site"], True), (["my-site/"], True), (["pages", "--format", "site"], True), (["bundle"], False)],
)
def test_the_name_or_the_format_makes_it_a_site(
    command: Command, written: list[Path], tmp_path: Path, arguments: list[str], site: bool
) -> None:
    runtime = ["--runtime", npm_folder(tmp_path / "npm")] if site else []
    ran = command("export", "RUN", *arguments, *runtime)
    assert ran.code == 0, ran.err
    out = Path(arguments[0])
    assert written == [out / "model" if site else out]
    assert (out / "index.html").is_file() == site
    assert ("python -m http.server --directory" in ran.out) == site
    if site:
        assert {path.name for path in (out / "runtime").iterdir()} == set(PARTS)


def test_a_bundle_may_have_any_name(command: Command, written: list[Path]) -> None:
    assert command("export", "RUN", "site", "--format", "onnx").code == 0
    assert written == [Path("site")]


def test_a_site_is_written_again(command: Command, written: list[Path], tmp_path: Path) -> None:
    runtime = npm_folder(tmp_path / "npm")
    for _ in range(2):
        assert command("export", "RUN", "site", "--runtime", runtime).code == 0


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["model.onnx", "--runtime", "npm"], "--runtime is for a site"),
        (["site", "--runtime", "nothing.tgz"], "nothing.tgz is not the npm package onnxruntime-web"),
        (["taken-site", "--runtime", "npm"], "taken-site exists and is no site"),
    ],
)
def test_what_cannot_become_a_site_is_refused_before_the_work(
    command: Command, written: list[Path], tmp_path: Path, arguments: list[str], why: str
) -> None:
    npm_folder(tmp_path / "npm")
    (tmp_path / "taken-site").mkdir()
    (tmp_path / "taken-site" / "thesis.txt").write_text("Years of work.", encoding="utf-8")
    ran = command("export", "RUN", *arguments)
    assert ran.code == 2
    assert why in ran.err
    assert written == []
