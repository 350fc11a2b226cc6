"""`eyebright compare`: two runs side by side."""

from __future__ import annotations

import enum
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eyebright.cli.terminal import output

if TYPE_CHECKING:
    from collections.abc import Mapping

    from eyebright.audit.comparison import Comparison, RunComparison
    from eyebright.evaluation.gap import Gap
    from eyebright.evaluation.score import Score

_SHOWN_EPOCHS = 10  # rows of the curves, evenly spread; --json has all
_SHOWN_CLASSES = 20  # of more, those that differ most clearly; --json has all


class Split(enum.StrEnum):
    """What the models are compared on."""

    test = "test"
    validation = "validation"
    train = "train"


def compare(
    first: Annotated[Path, typer.Argument(metavar="RUN", help="The one to start from.")],
    second: Annotated[Path, typer.Argument(metavar="RUN", help="The one to judge against it.")],
    split: Annotated[Split, typer.Option(help="Images to compare on.")] = Split.test,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with the rows of all flipped images.")] = False,
) -> None:
    """Put two runs side by side: settings, curves, gap, flips in both directions, significance.

    \b
    eyebright compare runs/cifar10/simple_cnn/20260101-120000-1a2b runs/cifar10/regularized_cnn/20260101-130000-3c4d
    """
    from eyebright.audit.comparison import compare_runs
    from eyebright.training.run import Run

    found = compare_runs(Run.open(first), Run.open(second), split=split.value)
    if as_json:
        sys.stdout.write(json.dumps(found.to_dict(), indent=2, default=str) + "\n")
        return
    for name, path in zip(("first", "second"), found.names, strict=True):
        output().print(f"{name:<7} {path}", soft_wrap=True)
    _print_settings(found)
    _print_curves(found)
    _print_summary(found)
    _print_classes(found.comparison)
    _print_flips(found.comparison)


def _print_settings(found: RunComparison) -> None:
    from eyebright.cli.lists import table

    if found.settings:
        listing = table("setting", "first", "second")
        for setting in found.settings:
            listing.add_row(
                setting.field, *("-" if value is None else str(value) for value in (setting.first, setting.second))
            )
        output().print(listing)


def _print_curves(found: RunComparison) -> None:
    from eyebright.cli.lists import table

    columns = ("train", "validation")
    listing = table("epoch", *(f"{name}, {column}" for name in ("first", "second") for column in columns))
    longest = max(len(history) for history in found.histories)
    if not longest:
        return
    for epoch in sorted({round(1 + step * (longest - 1) / (_SHOWN_EPOCHS - 1)) for step in range(_SHOWN_EPOCHS)}):
        records = [history[epoch - 1] if epoch <= len(history) else {} for history in found.histories]
        listing.add_row(str(epoch), *(_accuracy(record, column) for record in records for column in columns))
    output().print(listing)


def _print_summary(found: RunComparison) -> None:
    from eyebright.cli.lists import table

    comparison = found.comparison
    listing = table("accuracy", "first", "second", "second minus first")
    change = f"{_signed(comparison.difference)}  p={comparison.p:.2g}"
    listing.add_row(comparison.split, str(comparison.first), str(comparison.second), change)
    listing.add_row("gap to training", *map(_gap, found.gaps))
    output().print(listing)


def _print_classes(comparison: Comparison) -> None:
    from eyebright.cli.lists import table

    rows = comparison.classes
    if len(rows) > _SHOWN_CLASSES:
        rows = tuple(sorted(rows, key=lambda row: row.p)[:_SHOWN_CLASSES])
    listing = table("class", "first", "second", "second minus first", "p (Holm)")
    for row in rows:
        listing.add_row(row.name, str(row.first), str(row.second), _signed(row.difference), f"{row.adjusted:.2g}")
    output().print(listing)


def _print_flips(comparison: Comparison) -> None:
    mended, broken = len(comparison.mended), len(comparison.broken)
    output().print(f"flips: {mended} mended (only the second is right), {broken} broken (only the first is)")
    output().print(f"the same answer, right or wrong: {comparison.agreement}")
    output().print("p is that of McNemar's exact test; it knows nothing of another seed of training.", soft_wrap=True)


def _accuracy(record: Mapping[str, float], split: str) -> str:
    value = record.get(f"{split}_accuracy")
    return "" if value is None else f"{value:.3f}"


def _signed(score: Score) -> str:
    return f"{score.value:+.3f} [{score.low:+.3f}, {score.high:+.3f}]"


def _gap(gap: Gap | None) -> str:
    return "-" if gap is None else f"{gap.value:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}] {gap.split}"
