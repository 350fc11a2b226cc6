"""`eyebright reproduce`."""

from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import Command
from tests.tables.conftest import TABLE


def test_without_a_name_the_tables_are_listed(command: Command) -> None:
    ran = command("reproduce")
    assert ran.code == 0
    assert "c_ladder" in ran.out
    assert "batch_norm, dropout" in ran.out


def test_a_table_is_run_and_printed(command: Command) -> None:
    Path("example.yaml").write_text(TABLE)
    quick = ["epochs=1", "data.limit=200", "--seeds", "1", "--rows", "mlp,cnn", "--out", "done"]
    ran = command("reproduce", "example.yaml", *quick)
    assert ran.code == 0, ran.err
    assert "run 2 of 2: cnn, seed 0" in ran.err
    for expected in ("An MLP", "accuracy (%)", "99 to 100", "one seed", "cnn > mlp", "mlp: Changed to win: Nothing."):
        assert expected in ran.out
    assert "done/table.md" in ran.out
    assert {"table.md", "table.json", "mlp", "cnn"} == {path.name for path in Path("done").iterdir()}


def test_mistakes(command: Command) -> None:
    ran = command("reproduce", "c_lader")
    assert (ran.code, "Did you mean 'c_ladder'" in ran.err) == (2, True)
    assert command("reproduce", "c_ladder", "--rows", "plane").code == 2
