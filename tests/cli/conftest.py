"""A command as a user gives it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from eyebright.cli import terminal
from eyebright.cli.main import main


class Ran(NamedTuple):
    """What a command gave back."""

    code: int
    out: str
    err: str


Command = Callable[..., Ran]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Command:
    """Run `eyebright` in an empty folder, without known data sets."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EYEBRIGHT_DATA", str(tmp_path / "no-data"))
    monkeypatch.setenv("COLUMNS", "200")

    def command(*arguments: object) -> Ran:
        terminal.output.cache_clear()
        terminal.remarks.cache_clear()
        monkeypatch.setattr(sys, "argv", ["eyebright", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        captured = capsys.readouterr()
        code = stopped.value.code
        return Ran(code if isinstance(code, int) else 0, captured.out, captured.err)

    return command
