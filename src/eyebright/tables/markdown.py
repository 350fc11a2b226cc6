"""A reproduction as text: the cells that every form of it shows, and the Markdown page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from eyebright.tables.table import Published

if TYPE_CHECKING:
    from eyebright.tables.reproduction import Line, Order, Reproduction, RowResult

HEADINGS = ("row", "quantity", "theirs", "ours", "over images", "over seeds", "verdict")
ORDER_HEADINGS = ("claim", "difference", "over images", "over seeds", "p of each seed", "verdict")
INTERVALS = (
    "Ours is the mean over the seeds. Over images: the mean of the seeds' 95 % intervals, what another draw of test "
    "images could have given with these models. Over seeds: Student's 95 % interval, what other seeds of training "
    "could have given on these images."
)
ORDERS = (
    "Differences in points of test accuracy between runs of the same seed, paired by image. Over images: the mean of "
    "Tango's intervals; over seeds: Student's t; p: McNemar's exact test. An order holds where both intervals lie "
    "above zero."
)


def cells(result: RowResult) -> Iterator[tuple[str, ...]]:
    """The lines of a row, as `HEADINGS` name their cells."""
    title = result.row.title
    if not result.lines:
        theirs = ", ".join(_published(value) for value in result.row.theirs.values()) or "-"
        yield title, "", theirs, "no result" if result.failures else "not run", "", "", ""
    for number, line in enumerate(result.lines):
        yield (title if number == 0 else "", *_line_cells(line))
    if result.row.fails:
        fault = result.row.fails.replace("_", " ")
        verdict = "as published" if result.failed else "unlike published"
        yield "", "training", "fails", fault if result.failed else f"no {fault}", "", "", verdict


def order_cells(order: Order) -> tuple[str, ...]:
    """An order, as `ORDER_HEADINGS` name its cells."""
    return (
        f"{order.better} > {order.than}",
        f"{order.value:+.1f}",
        _signed_range(order.images),
        _signed_range(order.seeds) if order.seeds else "one seed",
        ", ".join("<0.001" if p < 0.001 else f"{p:.3f}" for p in order.p),
        order.verdict,
    )


def remarks(result: RowResult) -> Iterator[str]:
    """What is to be said below the table of a row, a sentence each."""
    row = result.row
    if row.protocol:
        yield row.protocol
    if row.changed:
        yield f"Changed to win: {row.changed}"
    for seed, message in result.failures.items():
        yield f"Seed {seed} has no result: {message}"
    for seed, found in result.remarks.items():
        yield from (f"The training doctor on seed {seed}: {remark}" for remark in found)


def markdown(shown: Reproduction) -> str:
    """The whole reproduction as a page of Markdown."""
    table = shown.table
    parts = [f"# {table.title}", f"Theirs: {table.source}", f"Ours: {table.protocol}"]
    if shown.overrides:
        parts.append(f"**Not the table as it stands:** run with {' '.join(shown.overrides)}.")
    parts.append(_table(HEADINGS, (line for result in shown.rows for line in cells(result))))
    parts.append(f"{INTERVALS} Seeds: {', '.join(map(str, shown.seeds))}.")
    if shown.orders:
        parts += ["## Order", _table(ORDER_HEADINGS, map(order_cells, shown.orders)), ORDERS]
    rows = [f"- **{result.row.title}** (`{_command(result)}`): {' '.join(remarks(result))}" for result in shown.rows]
    parts += ["## Rows", "\n".join(line.removesuffix(": ") for line in rows)]
    if table.notes:
        parts += ["## Notes", "\n".join(f"- {note}" for note in table.notes)]
    return "\n\n".join(parts) + "\n"


def _line_cells(line: Line) -> tuple[str, ...]:
    return (
        f"{line.quantity} ({line.unit})",
        _published(line.theirs),
        f"{line.value:.1f}",
        _range(line.images) if line.images else "-",
        _range(line.seeds) if line.seeds else "one seed",
        line.verdict,
    )


def _published(value: Published | None) -> str:
    if value is None:
        return "-"
    return f"{value[0]:g} to {value[1]:g}" if isinstance(value, tuple) else f"{value:g}"


def _range(ends: tuple[float, float]) -> str:
    return f"{ends[0]:.1f} to {ends[1]:.1f}"


def _signed_range(ends: tuple[float, float]) -> str:
    return f"{ends[0]:+.1f} to {ends[1]:+.1f}"


def _command(result: RowResult) -> str:
    return " ".join(["eyebright train", result.row.recipe, *result.row.overrides])


def _table(headings: Iterable[str], rows: Iterable[tuple[str, ...]]) -> str:
    """A table of Markdown; a bar inside a cell would end it."""
    lines = [tuple(headings)]
    lines.append(("---",) * len(lines[0]))
    lines += rows
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
