"""What the page of two runs shows. Lays out what was gathered; computes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from eyebright.reporting import page_data
from eyebright.reporting.charts.intervals import difference, interval
from eyebright.reporting.run_content import curves, facts, gap_words, reproduction

if TYPE_CHECKING:
    from eyebright.audit.comparison import ClassDifference, Comparison
    from eyebright.reporting.side_by_side import SideBySide

_SIGNIFICANT = 0.05  # below it, a p-value is called more than chance


def content(shown: SideBySide) -> dict[str, Any]:
    """What the template names. Charts are HTML already; all else is escaped by Jinja."""
    compared = shown.comparison.comparison
    names = labels(shown)
    scores = (compared.first, compared.second)
    low = min(score.low for score in scores)
    scale = (max(0.0, np.floor(10 * low) / 10), 1.0)
    reach = max(abs(end) for row in compared.classes for end in (row.difference.low, row.difference.high))
    return {
        "title": f"{names[1]} against {names[0]}",
        "names": names,
        "paths": shown.comparison.names,
        "compared": compared,
        "significant": compared.p < _SIGNIFICANT,
        "accuracies": [(name, score, interval(score, *scale)) for name, score in zip(names, scores, strict=True)],
        "accuracy_scale": scale,
        "gaps": list(_gaps(shown, names)),
        "settings": [(each.field, _value(each.first), _value(each.second)) for each in shown.comparison.settings],
        "curves": _curves(shown),
        "classes": list(_classes(compared, reach)),
        "significant_classes": sum(row.adjusted < _SIGNIFICANT for row in compared.classes),
        "flips": shown.flips,
        "missing": shown.missing,
        "runs": [
            (name, list(facts(report)), reproduction(report))
            for name, report in zip(names, (shown.first, shown.second), strict=True)
        ],
    }


def labels(shown: SideBySide) -> tuple[str, str]:
    """What the runs are called on the page: by their recipes, where that tells them apart."""
    first, second = shown.first.recipe.name, shown.second.recipe.name
    return (first, second) if first != second else (f"{first}, first run", f"{second}, second run")


def script_data(shown: SideBySide) -> dict[str, Any]:
    """What the page's script reads: the images that flipped, what both models said of them, and who is right."""
    if shown.flips is None or not len(shown.flips):
        return {}
    compared, rows = shown.comparison.comparison, shown.flips.position
    reports = (shown.first, shown.second)
    predictions = [report.predictions[compared.split] for report in reports]
    mended = np.isin(predictions[0].index[rows], compared.mended)
    return {
        "images": page_data.of_images(shown.flips, predictions[0]),
        "answers": [
            page_data.of_answers(made, rows, name) for made, name in zip(predictions, labels(shown), strict=True)
        ],
        "groups": {"mended": np.flatnonzero(mended).tolist(), "broken": np.flatnonzero(~mended).tolist()},
    }


def _gaps(shown: SideBySide, names: tuple[str, str]) -> Iterator[tuple[str, dict[str, str]]]:
    """Name and gap of the runs that have one."""
    for name, report in zip(names, (shown.first, shown.second), strict=True):
        if report.gap is not None:
            yield name, gap_words(report.gap)


def _curves(shown: SideBySide) -> list[tuple[str, list[str]]]:
    """Each quantity with the charts of both runs, on one scale."""
    first = dict(curves(shown.first, include=[shown.second]))
    second = dict(curves(shown.second, include=[shown.first]))
    return [(title, [first.get(title, ""), second.get(title, "")]) for title in dict.fromkeys([*first, *second])]


def _classes(compared: Comparison, reach: float) -> Iterator[tuple[ClassDifference, str]]:
    """The classes with a bar each, those that gained most first."""
    for row in sorted(compared.classes, key=lambda row: -row.difference.value):
        yield row, difference(row.difference.value, (row.difference.low, row.difference.high), reach)


def _value(value: Any) -> str:
    return "\u2013" if value is None else str(value)
