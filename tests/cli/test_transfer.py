"""`eyebright transfer`."""

from __future__ import annotations

from pathlib import Path

import pytest

from eyebright.core.recipe import recipe
from eyebright.data.load import load
from eyebright.training.fit import fit
from tests.cli.conftest import Command


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A run on five digits."""
    chosen = recipe("digits/mlp", epochs=2, **{"data.classes": ["0", "1", "2", "3", "4"]})
    return fit(chosen, load(chosen.data), folder=tmp_path / "five", callbacks=()).path


def test_a_model_is_carried_over_and_reported(command: Command, source: Path) -> None:
    ran = command("transfer", source, "digits", "test=0.3", "--budget", "30", "--epochs", "1", "--map", "0=9")
    assert ran.code == 0, ran.err
    for expected in ("linear probe", "fine-tuned", "30 labels, against training from scratch"):
        assert expected in ran.out
    assert "fine-tuned, 30 labels" in ran.err
    folder = Path("runs/transfer/five-to-digits")
    assert "report: runs/transfer/five-to-digits/transfer.html" in ran.out
    assert {"transfer.md", "transfer.json", "transfer.html"} <= {path.name for path in folder.iterdir()}
    assert " 540 " in ran.out  # test images: 30 % of 1,797
    assert "0 = 9" in (folder / "transfer.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tset=0.3"], "Did you mean 'test'?"),
        (["--map", "cat"], "--map cat is no pair of classes"),
        (["--budget", "50,many"], "--budget 50,many is no list of numbers"),
        (["--map", "7=8"], "the model has no class '7'"),
        (["--budget", "4"], "are too few"),
    ],
)
def test_mistakes(command: Command, source: Path, arguments: list[str], message: str) -> None:
    ran = command("transfer", source, "digits", *arguments)
    assert ran.code == 2
    assert message in ran.err
