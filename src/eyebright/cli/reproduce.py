"""`eyebright reproduce`: a published table, theirs and ours."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eyebright.cli.terminal import output, remarks, show_log

if TYPE_CHECKING:
    from eyebright.tables.reproduction import Reproduction


def reproduce(
    table: Annotated[str | None, typer.Argument(metavar="[TABLE]", help="Its name, or a YAML file.")] = None,
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[FIELD=VALUE]...", help="Fields of all recipes to change.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each row.")] = 3,
    rows: Annotated[str | None, typer.Option(metavar="ROW,...", help="Only these rows.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the runs; default: runs/tables/TABLE.")] = None,
    data_root: Annotated[str | None, typer.Option(help="Folder of the known data sets.")] = None,
) -> None:
    """Run a published table and put our numbers beside theirs; without a name, list the tables.

    Given again after an interruption or a crash, the same command goes on exactly where it stopped.
    What a table beside it (another --out in the same folder) has trained by the same recipe and seed is copied.

    \b
    eyebright reproduce
    eyebright reproduce c_ladder --seeds 3
    eyebright reproduce c_ladder --rows batch_norm,dropout --seeds 1 data.limit=2000 epochs=2 --out quick
    """
    if table is None:
        _list()
        return
    from eyebright.tables.reproduce import reproduce as run_table

    show_log()
    chosen = [name.strip() for name in rows.split(",")] if rows else None
    try:
        found = run_table(
            table, overrides or (), seeds=seeds, rows=chosen, out=out, data_root=data_root, progress=_tell
        )
    except KeyboardInterrupt:
        remarks().print("stopped. The same command goes on exactly from here.")
        raise
    _print(found)


def _list() -> None:
    from eyebright.cli.lists import table as listed
    from eyebright.tables.table import table, tables

    listing = listed("table", "what it is", "rows")
    for name in tables():
        found = table(name)
        listing.add_row(name, found.title, ", ".join(row.name for row in found.rows))
    output().print(listing)


def _tell(what: str, done: int, total: int) -> None:
    remarks().print(f"\nrun {done + 1} of {total}: {what}", soft_wrap=True)


def _print(found: Reproduction) -> None:
    from eyebright.cli.lists import table
    from eyebright.tables import markdown

    output().print(found.table.title, soft_wrap=True)
    listing = table(*markdown.HEADINGS)
    for column in listing.columns[2:6]:
        column.justify = "right"
    for result in found.rows:
        for line in markdown.cells(result):
            listing.add_row(*line)
    output().print(listing)
    if found.orders:
        orders = table(*markdown.ORDER_HEADINGS)
        for order in found.orders:
            orders.add_row(*markdown.order_cells(order))
        output().print(orders)
    for result in found.rows:
        for remark in markdown.remarks(result):
            output().print(f"{result.row.name}: {remark}", soft_wrap=True)
    output().print(f"the whole table, and how to read it: {found.folder / 'table.md'}", soft_wrap=True)
