"""What a training says on a terminal, in a file, and below the cell of a notebook."""

from __future__ import annotations

import io
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from eyebright.core.recipe import Recipe
from eyebright.data.image_set import Splits
from eyebright.training import progress
from eyebright.training.fit import fit
from eyebright.training.progress import ProgressBar, clock

TINY = Recipe.from_dict(
    {
        "name": "test/tiny",
        "data": {"source": "shades"},
        "model": {"name": "mlp", "hidden": [8]},
        "training": {"epochs": 3, "batch_size": 16, "threads": 1, "device": "cpu"},
    }
)


class Output:
    """What IPython gives to write below a cell: one text, which may be replaced."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def display(self, content: dict[str, str], *, raw: bool) -> None:
        self.update(content, raw=raw)

    def update(self, content: dict[str, str], *, raw: bool) -> None:
        assert raw
        self.texts.append(content["text/plain"])


@pytest.fixture
def cell(monkeypatch: pytest.MonkeyPatch) -> Output:
    """A notebook's cell; no text is too soon after another."""
    output = Output()
    display = types.SimpleNamespace(DisplayHandle=lambda: output)
    monkeypatch.setitem(sys.modules, "IPython", types.ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    monkeypatch.setattr(progress, "_CELL_EVERY", 0.0)
    return output


def train(splits: Splits, folder: Path, **console: Any) -> None:
    fit(TINY, splits, folder=folder, callbacks=[ProgressBar(Console(highlight=False, markup=False, **console))])


def test_without_a_terminal_there_is_a_line_an_epoch(shades: Splits, tmp_path: Path) -> None:
    written = io.StringIO()
    train(shades, tmp_path / "run", file=written, width=20)  # lines are longer than the console is wide
    lines = written.getvalue().splitlines()
    assert lines[0].startswith("test/tiny: 130 training images, 3 epochs of batches of 16; cpu")
    assert lines[1] == f"run: {tmp_path / 'run'}"
    assert [line.split()[:3] for line in lines[2:]] == [["epoch", str(epoch), "train:"] for epoch in (1, 2, 3)]
    assert all("validation: loss" in line for line in lines[2:])


def test_long_epochs_say_where_they_are(shades: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_LINE_EVERY", 0.0)
    written = io.StringIO()
    train(shades, tmp_path / "run", file=written)
    assert "epoch 1/3  11 %  loss " in written.getvalue()


def test_a_notebook_shows_one_text_and_keeps_a_line_an_epoch(shades: Splits, tmp_path: Path, cell: Output) -> None:
    train(shades, tmp_path / "run", force_jupyter=True)
    under_way = [text for text in cell.texts if text.endswith(" left")]
    assert len(under_way) == 3 * 9  # batches
    lines = cell.texts[-1].splitlines()
    assert [line.split()[0] for line in lines] == ["test/tiny:", "run:", "epoch", "epoch", "epoch"]


def test_a_notebook_is_not_flooded(
    shades: Splits, tmp_path: Path, cell: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "_CELL_EVERY", 3600.0)
    train(shades, tmp_path / "run", force_jupyter=True)
    assert sum(" left" in text for text in cell.texts) == 1


@pytest.mark.parametrize(("seconds", "shown"), [(0.4, "0:00"), (65, "1:05"), (7207, "2:00:07"), (float("nan"), "?")])
def test_durations(seconds: float, shown: str) -> None:
    assert clock(seconds) == shown
