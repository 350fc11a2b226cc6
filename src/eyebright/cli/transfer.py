"""`eyebright transfer`: what a model is worth on other data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eyebright.cli.terminal import complain, output, remarks, show_log
from eyebright.core.errors import DataError, MissingExtraError

if TYPE_CHECKING:
    from eyebright.transfers.result import Transfer


def transfer(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Whose model is carried over.")],
    data: Annotated[str, typer.Argument(metavar="DATA", help="A known data set, or a folder or zip of images.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[FIELD=VALUE]...", help="Fields of data to change.")
    ] = None,
    pairs: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="CLASS=CLASS", help="A class of the model, and what the data calls it."),
    ] = None,
    budget: Annotated[str, typer.Option(metavar="N,...", help="Numbers of labelled images.")] = "50,250,1000",
    epochs: Annotated[int, typer.Option(min=1, help="Of each training.")] = 30,
    out: Annotated[Path | None, typer.Option(help="Folder; default: runs/transfer/RUN-to-DATA.")] = None,
    data_root: Annotated[str | None, typer.Option(help="Folder of the known data sets.")] = None,
    trust: Annotated[bool, typer.Option("--trust", help="Run the code that a custom model names.")] = False,
) -> None:
    """Ask a model about other data: as it is, by a linear probe, fine-tuned, and against training from scratch.

    Images are brought to the size and channels of the model. Given again after an interruption, the command goes on.

    \b
    eyebright transfer runs/cifar10/ladder_cnn/20260101-120000-1a2b emotions
    eyebright transfer RUN emotions leave_out_copies=true --budget 1000
    eyebright transfer RUN path/to/photos --map cat=feline --map dog=hound --budget 50,250
    """
    from eyebright.core.recipe import recipe
    from eyebright.training.run import Run
    from eyebright.transfers.transfer import transfer as carry_over

    show_log()
    place = {"data.source": data} | ({"data.root": data_root} if data_root else {})
    settings = recipe("folder/small", ["data=folder", *(overrides or [])], **place).data
    found = carry_over(
        Run.open(run, trust=trust),
        settings,
        classes=dict(map(_pair, pairs or ())),
        budgets=_numbers(budget),
        epochs=epochs,
        out=out,
        progress=_Lines(),
    )
    _print(found)


class _Lines:
    """A `Progress` that names what begins: beside the bar of a training there can be no other."""

    def __init__(self) -> None:
        self._last = ""

    def __call__(self, what: str, done: int, total: int) -> None:  # noqa: ARG002 - what it does is enough
        if what != self._last:
            remarks().print(what, soft_wrap=True)
            self._last = what


def _pair(text: str) -> tuple[str, str]:
    name, sign, other = text.partition("=")
    if not (name and sign and other):
        raise DataError(f"--map {text} is no pair of classes.", "Write --map CLASS_OF_THE_MODEL=CLASS_OF_THE_DATA")
    return name, other


def _numbers(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) for part in parts):
        raise DataError(f"--budget {text} is no list of numbers of labels.", "Write such as --budget 50,250,1000")
    return [int(part) for part in parts]


def _print(found: Transfer) -> None:
    from eyebright.cli.lists import table
    from eyebright.reporting.transfer_page import write_transfer_page
    from eyebright.transfers.result import HEADINGS

    listing = table(*HEADINGS)
    for row in found.rows():
        listing.add_row(*row)
    output().print(listing)
    for sentence in found.sentences:
        output().print(sentence, soft_wrap=True)
    for part in found.missing:
        output().print(f"not tried: {part.what}, for {part.cause} {part.remedy}", soft_wrap=True)
    try:
        page = write_transfer_page(found, found.folder / "transfer.html")
    except MissingExtraError as error:
        complain(error)
        page = found.folder / "transfer.md"
    output().print(f"report: {page}", soft_wrap=True)
