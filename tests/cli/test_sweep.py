"""`eyebright sweep`: exit codes, what is printed where, and files."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from eyebright.core.recipe import recipe
from tests.cli.conftest import Command

QUICK = ["epochs=2", "batch_size=32", "threads=1", "data.limit=300"]


def test_a_grid_ends_with_a_tested_winner_and_a_report(command: Command) -> None:
    ran = command("sweep", "digits/mlp", "optimizer.lr=1e-4,1e-2,1e8", "hidden=[8],[16]", *QUICK, "--out", "s")
    assert ran.code == 0, ran.err
    lines = ran.err.splitlines()
    assert lines[0] == "sweep: s"
    trials = [line for line in lines if "trial " in line]
    assert re.match(r"1/6  trial 0  0\.\d{3} \[", trials[0])
    assert trials[5].startswith("6/6  trial 5  failed: DivergedError")
    assert "6 trials: 4 finished, 2 failed" in ran.out
    assert re.search(r"^validation accuracy 0\.\d{3} \[.*\] n=144, which chose it$", ran.out, re.MULTILINE)
    assert re.search(r"^test accuracy       0\.\d{3} \[.*\] n=360, which chose nothing$", ran.out, re.MULTILINE)
    assert "price of choosing   the best of 4: luck alone would show up to" in ran.out
    assert re.search(r"^against the recipe  [+-]\d", ran.out, re.MULTILINE)
    assert "failed: trial 4: DivergedError: training diverged" in ran.out
    assert Path("s/sweep.html").is_file()
    assert recipe("s/best.yaml", epochs=1).model == recipe("digits/mlp", hidden=[16]).model
    ran = command("sweep", "--resume", "s")
    assert ran.code == 0, ran.err
    assert "trial" not in ran.err  # nothing was left to do
    assert "6 trials: 4 finished, 2 failed" in ran.out


def test_a_search_is_made_longer(command: Command) -> None:
    how = ["--search", "tpe", "--trials", 2, "--pruner", "asha"]
    ran = command("sweep", "digits/mlp", "lr=tag(log,interval(1e-4,1e-1))", *QUICK, *how, "--out", "s")
    assert ran.code == 0, ran.err
    assert "2 trials: 2 finished" in ran.out
    ran = command("sweep", "--resume", "s", "--trials", 3)
    assert ran.code == 0, ran.err
    assert re.search(r"^3/3  trial 2 ", ran.err, re.MULTILINE)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["digits/mlp", "lrr=1e-3,1e-2"], "Did you mean 'lr'?"),
        (["digits/mlp", "optimizer.lrr=1e-3,1e-2"], "there is no field 'optimizer.lrr'."),
        (["digits/mlpp", "lr=1e-3,1e-2"], "Did you mean 'digits/mlp'?"),
        (["digits/mlp", "lr=1e-3"], "nothing to sweep"),
        (["digits/mlp", "lr=interval(1e-4,1e-1)"], "a grid cannot try every number"),
        (["digits/mlp", "lr=1e-3,1e-2", "data.validation=0"], "a sweep chooses by validation images"),
        (["digits/mlp", "lr=1e-3,1e-2", "--search", "tpe"], "Say how long: --trials 50 or --minutes 60"),
        ([], "nothing to sweep"),
        (["digits/mlp", "--resume", "s"], "--resume goes on with a sweep as it was begun."),
        (["--resume", "nowhere"], "nowhere is not a sweep"),
    ],
)
def test_bad_input_is_explained(command: Command, arguments: list[str], said: str) -> None:
    ran = command("sweep", *arguments)
    assert ran.code == 2
    assert said in ran.err
    assert "Traceback" not in ran.err
    assert not Path("sweeps").exists()


def test_ctrl_c_says_how_to_go_on(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("eyebright.sweeps.progress.SweepProgress.trial_begun", stop)
    ran = command("sweep", "digits/mlp", "lr=1e-3,1e-2", "epochs=1", "--out", "s")
    assert ran.code == 130
    assert "stopped. Continue exactly with: eyebright sweep --resume s" in ran.err


def test_without_optuna_the_extra_is_named(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith(("optuna", "eyebright.sweeps.ledger"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "optuna", None)
    ran = command("sweep", "digits/mlp", "lr=1e-3,1e-2", "epochs=1", "--out", "s")
    assert ran.code == 2
    assert "pip install 'eyebright[sweeps]'" in ran.err
