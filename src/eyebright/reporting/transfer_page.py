"""The page of a transfer: what a model is worth on other data, way by way and class by class. Computes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from eyebright.core.files import write_text
from eyebright.evaluation.score import Score
from eyebright.reporting.charts.intervals import difference, interval
from eyebright.reporting.render import render

if TYPE_CHECKING:
    from pathlib import Path

    from eyebright.transfers.result import Transfer, Way


def write_transfer_page(shown: Transfer, path: Path) -> Path:
    """Write the page to `path`, atomically.

    Raises
    ------
    MissingExtraError : Jinja2 is not installed.
    StorageError : the disk refuses.
    """
    write_text(path, render("transfer.html", _content(shown), {}))
    return path


def _content(shown: Transfer) -> dict[str, Any]:
    gains = [way.gain for way in shown.ways if way.gain is not None]
    return {
        "title": f"{shown.recipe} carried over to {shown.data}",
        "shown": shown,
        "ways": [(way, interval(way.scores.accuracy, 0.0, 1.0), _gain(way, _reach(gains))) for way in shown.ways],
        "classes": list(_classes(shown)),
    }


def _reach(gains: list[Score]) -> float:
    """The scale that holds all intervals."""
    return max((abs(end) for gain in gains for end in (gain.low, gain.high)), default=1.0)


def _gain(way: Way, reach: float) -> str:
    return "" if way.gain is None else difference(way.gain.value, (way.gain.low, way.gain.high), reach)


def _classes(shown: Transfer) -> Iterator[tuple[str, list[Way], list[tuple[str, list[Score | None]]]]]:
    """For each number of labels a title, the ways, and for each class its name and how much of it each way finds."""
    for labels in dict.fromkeys(way.labels for way in shown.ways):
        ways = [way for way in shown.ways if way.labels == labels]
        found = [{row.name: row.recall for row in way.scores.per_class if row.support} for way in ways]
        names = dict.fromkeys(name for each in found for name in each)
        title = f"With {labels:,} labels" if labels else "The model as it is"
        yield title, ways, [(name, [each.get(name) for each in found]) for name in names]
