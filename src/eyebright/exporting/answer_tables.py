"""Tables of answers, a row an image: parts that are written one by one, and joined at the end. No torch."""

from __future__ import annotations

import abc
import csv
import io
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from eyebright.core.errors import DataError, MissingExtraError
from eyebright.core.files import atomic_path, write_bytes
from eyebright.evaluation.answer import Answer

_ROW_GROUP = 65_536  # rows that Parquet compresses together
_PROBABILITY_DIGITS = 6  # after the point, in text; float32 has no more


class Table(abc.ABC):
    """One kind of file, with the columns name, class_1, probability_1, ..., problem.

    Parameters
    ----------
    top : classes of a row.
    """

    def __init__(self, top: int) -> None:
        self.top = top

    @property
    def columns(self) -> list[str]:
        """The header."""
        ranked = [f"{what}_{rank}" for rank in range(1, self.top + 1) for what in ("class", "probability")]
        return ["name", *ranked, "problem"]

    @abc.abstractmethod
    def write(self, answers: Sequence[Answer], path: Path) -> None:
        """Write a part, atomically."""

    @abc.abstractmethod
    def merge(self, parts: Sequence[Path], target: Path) -> None:
        """Join parts in their order, a few in memory at a time, and put the whole in place atomically."""


class _Text(Table):
    """A kind whose parts are joined as they are."""

    header = ""

    @abc.abstractmethod
    def lines(self, answers: Sequence[Answer]) -> str:
        """The rows as text."""

    def write(self, answers: Sequence[Answer], path: Path) -> None:
        # A file's name may hold bytes that are no UTF-8; they become escapes.
        write_bytes(path, self.lines(answers).encode(errors="backslashreplace"))

    def merge(self, parts: Sequence[Path], target: Path) -> None:
        with atomic_path(target) as whole, whole.open("wb") as joined:
            joined.write(self.header.encode())
            for part in parts:
                with part.open("rb") as rows:
                    shutil.copyfileobj(rows, joined)


class CsvTable(_Text):
    """Comma-separated values in UTF-8, with a header."""

    def __init__(self, top: int) -> None:
        super().__init__(top)
        self.header = _csv([self.columns])

    def lines(self, answers: Sequence[Answer]) -> str:
        return _csv(self._row(answer) for answer in answers)

    def _row(self, answer: Answer) -> list[str]:
        pairs = zip(answer.classes, answer.probabilities, strict=True)
        ranked = [cell for name, value in pairs for cell in (name, f"{value:.{_PROBABILITY_DIGITS}f}")]
        return [answer.name, *(ranked or [""] * (2 * self.top)), answer.problem]


class JsonLinesTable(_Text):
    """A JSON object a line; `null` where there is nothing."""

    def lines(self, answers: Sequence[Answer]) -> str:
        rows = (dict(zip(self.columns, _values(answer, self.top), strict=True)) for answer in answers)
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


class ParquetTable(Table):
    """Apache Parquet: probabilities are float32, null where there is nothing."""

    def write(self, answers: Sequence[Answer], path: Path) -> None:
        arrow, parquet = _pyarrow()
        columns = zip(*(_values(answer, self.top) for answer in answers), strict=True)
        arrays = [arrow.array(column, kind.type) for column, kind in zip(columns, self._schema(arrow), strict=True)]
        with atomic_path(path) as unfinished:
            parquet.write_table(arrow.Table.from_arrays(arrays, schema=self._schema(arrow)), unfinished)

    def merge(self, parts: Sequence[Path], target: Path) -> None:
        arrow, parquet = _pyarrow()
        with atomic_path(target) as whole, parquet.ParquetWriter(whole, self._schema(arrow)) as writer:
            waiting: list[Any] = []
            for part in parts:
                waiting.append(parquet.read_table(part))
                if sum(map(len, waiting)) >= _ROW_GROUP:
                    writer.write_table(arrow.concat_tables(waiting))
                    waiting.clear()
            if waiting:
                writer.write_table(arrow.concat_tables(waiting))

    def _schema(self, arrow: Any) -> Any:
        kinds = {name: arrow.float32() if name.startswith("probability") else arrow.string() for name in self.columns}
        return arrow.schema(list(kinds.items()))


_TABLES: dict[str, type[Table]] = {".parquet": ParquetTable, ".csv": CsvTable, ".jsonl": JsonLinesTable}


def table_for(path: Path, top: int) -> Table:
    """The kind of table that the ending of `path` says.

    Raises
    ------
    DataError : there is none of that ending.
    MissingExtraError : its package is not installed.
    """
    kind = _TABLES.get(path.suffix.lower())
    if kind is None:
        raise DataError(f"{path} has no ending that says which table to write.", f"Use one of: {', '.join(_TABLES)}")
    if kind is ParquetTable:
        _pyarrow()  # asked before the work, not after it
    return kind(top)


def _values(answer: Answer, top: int) -> Iterator[str | float | None]:
    # Names may hold bytes that are no UTF-8.
    yield answer.name.encode(errors="backslashreplace").decode()
    for rank in range(top):
        known = rank < len(answer.classes)
        yield answer.classes[rank] if known else None
        yield answer.probabilities[rank] if known else None
    yield answer.problem or None


def _csv(rows: Any) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError("pyarrow", "export") from error
    return pyarrow, pyarrow.parquet
