"""Rows that are hard to write: names with commas, line breaks and bytes that are no UTF-8."""

from __future__ import annotations

from pathlib import Path

import pytest

from eyebright.evaluation.answer import Answer
from eyebright.exporting.answer_tables import table_for
from tests.exporting.test_bulk import rows_of

ANSWERS = (
    Answer('a,"b"\n.png', ("cat, tabby", "dog"), (0.75, 0.25)),
    Answer("caf\udce9.png", (), (), "is no image"),
)


@pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl"])
def test_rows_come_back(tmp_path: Path, ending: str) -> None:
    target = tmp_path / f"table.{ending}"
    table = table_for(target, top=2)
    parts = [tmp_path / "first", tmp_path / "second"]
    for answer, part in zip(ANSWERS, parts, strict=True):
        table.write([answer], part)
    table.merge(parts, target)
    first, second = rows_of(target)
    assert list(first) == ["name", "class_1", "probability_1", "class_2", "probability_2", "problem"]
    assert list(first.values()) == ['a,"b"\n.png', "cat, tabby", 0.75, "dog", 0.25, None]
    assert list(second.values()) == ["caf\\udce9.png", None, None, None, None, "is no image"]
