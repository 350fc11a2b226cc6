from __future__ import annotations

import sys

import pytest

from eyebright.core.device import choose
from eyebright.training import environment


@pytest.mark.parametrize(
    ("program", "said"),
    [("/usr/bin/eyebright", "eyebright train x"), ("/lib/eyebright/__main__.py", "python -m eyebright train x")],
)
def test_the_command_can_be_run_again(program: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [program, "train", "x"])
    assert environment.describe(choose("cpu"))["command"] == said
