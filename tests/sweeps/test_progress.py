from __future__ import annotations

import io
import re

from rich.console import Console

from eyebright.sweeps.progress import SweepProgress

from .conftest import Begin


def test_a_line_a_trial_with_the_best_and_the_time_left(begin: Begin) -> None:
    text = io.StringIO()
    begin({"lr": [1e-3, 1e8, 1e-2]}, watcher=SweepProgress(Console(file=text, width=200)))
    first, second, third = text.getvalue().splitlines()
    number = r"0\.\d{3}"
    score = rf"{number} \[{number}, {number}\] n=30"
    assert re.fullmatch(rf"1/3  trial 0  {score}  lr=0\.001  0\.\d s  best {number} \(trial 0\)  \d+:\d\d left", first)
    assert re.match(r"2/3  trial 1  failed: DivergedError: training diverged: .* lr=1e\+08  best", second)
    assert re.fullmatch(rf"3/3  trial 2  {score}  lr=0\.01  \d\.\d s  best {number} \(trial [02]\)", third)


def test_on_a_terminal_a_bar_moves(begin: Begin) -> None:
    text = io.StringIO()
    begin({"lr": [1e-3, 1e-2]}, watcher=SweepProgress(Console(file=text, width=200, force_terminal=True)))
    assert "trial 1  lr=0.01" in text.getvalue()
    assert "epoch 2/2  accuracy" in text.getvalue()
    assert "2/2" in text.getvalue()
