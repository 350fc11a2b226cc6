"""From a `Report` to HTML: what is shown where, and how it is written. Computes nothing."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import math
from collections.abc import Iterable, Iterator
from importlib import resources
from typing import TYPE_CHECKING, Any

from eyebright.core.errors import MissingExtraError
from eyebright.evaluation.intervals import proportion
from eyebright.evaluation.score import Score
from eyebright.evaluation.scores import Scores, worst_first
from eyebright.reporting import charts, numbers

if TYPE_CHECKING:
    from eyebright.reporting.report import Report

_TITLES = {"train": "Training", "validation": "Validation", "test": "Test"}
_JUDGED_FIRST = ("test", "validation", "train")  # the page is about the first of these that there is
# What each score means, for a reader who has not met it.
_MEANINGS = {
    "accuracy": "images whose first guess is right",
    "top-5 accuracy": "images whose class is among the first five guesses",
    "macro precision": "how often a guess is right, averaged over the classes",
    "macro recall": "how much of a class is found, averaged over the classes",
    "macro F1": "precision and recall in one number, averaged over the classes",
    "log loss": "nats; 0 is certain and right, large is certain and wrong",
    "calibration error": "how far confidence is from accuracy; biased upwards",
}


def render(report: Report) -> str:
    """The whole page.

    Raises
    ------
    MissingExtraError : Jinja2 is not installed.
    """
    try:
        import jinja2
    except ImportError as error:
        raise MissingExtraError("jinja2", "report") from error

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        show.__name__: show
        for show in (numbers.percent, numbers.number, numbers.count, numbers.points, numbers.range_of)
    }
    script = _part("script.js")
    # The browser may run this one script and no other, whatever a class or a file is called.
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.from_string(_part("template.html")).render(
        style=_part("style.css"), script=script, script_digest=digest, **_content(report)
    )


def _part(name: str) -> str:
    return resources.files("eyebright.reporting").joinpath(name).read_text(encoding="utf-8")


def _content(report: Report) -> dict[str, Any]:
    """What the template names. Charts are HTML already; all else is escaped by Jinja."""
    split = next((name for name in _JUDGED_FIRST if name in report.scores), "")
    headline = next((name for name in _JUDGED_FIRST if name in report.accuracies), "")
    scores = report.scores.get(split)
    scale = _scale(report.accuracies.values())
    return {
        "recipe": report.recipe,
        "split": split,
        "scores": scores,
        "headline": (headline, report.accuracies[headline]) if headline else None,
        "accuracies": [(_TITLES[name], s, charts.interval(s, *scale)) for name, s in report.accuracies.items()],
        "accuracy_scale": scale,
        "gap": report.gap,
        "gap_range": _gap_range(report.gap) if report.gap else "",
        "measured_in_training": "train" in report.accuracies and "train" not in report.scores,
        "facts": list(_facts(report)),
        "best_epoch": _best_epoch(report),
        "curves": list(_curves(report)),
        "overall": list(_overall(scores)) if scores else [],
        "bootstrap": scores.bootstrap if scores else 0,
        "matrix": _matrix(scores) if scores else "",
        "confusions": _confusions(scores) if scores else [],
        "classes": _classes(scores) if scores else [],
        "class_scale": _class_scale(scores) if scores else (0, 1),
        "bad": report.data.get("bad", []),
        "parts": [(_TITLES[name], report.data[name]) for name in _held(report)],
        "command": report.environment.get("command", ""),
        "environment": {name: text for name, text in report.environment.items() if name != "command"},
    }


def _gap_range(gap: tuple[float, float, float]) -> str:
    """Ends of the interval in points, in the direction in which the gap is told."""
    value, low, high = gap
    ends = (low, high) if value >= 0 else (-high, -low)
    return f"{numbers.points(ends[0]).removesuffix(' points')} to {numbers.points(ends[1])}"


def _facts(report: Report) -> Iterator[tuple[str, str]]:
    """What the run was, a line each."""
    recipe, history = report.recipe, report.history
    images = [f"{numbers.count(report.data[split]['n'])} {split}" for split in _held(report)]
    yield "Images", f"{recipe.data.source}: {', '.join(images)}" if images else recipe.data.source
    yield "Model", _choice(recipe.model, dataclasses.asdict(recipe.model))
    yield "Augmentation", _listed(_changed(recipe.augment)) or "none"
    yield "Optimiser", _choice(recipe.optimizer, {"lr": recipe.optimizer.lr} | _changed(recipe.optimizer))
    yield "Schedule", _choice(recipe.schedule, _changed(recipe.schedule))
    length = f"{len(history)} of {recipe.training.epochs} epochs, batches of {recipe.training.batch_size}"
    if (best := _best_epoch(report)) is not None:
        length += f"; epoch {best:.0f} was best by validation {recipe.training.monitor}"
    yield "Training", length
    said = {"epochs", "batch_size", "monitor"}
    changed = {name: value for name, value in _changed(recipe.training).items() if name not in said}
    if changed:
        yield "Also", _listed(changed)
    seconds = sum(record.get("seconds", 0.0) for record in history)
    machine = (report.environment.get("processor", ""), report.environment.get("plan", ""))
    yield "Machine", "; ".join(filter(None, (*machine, numbers.duration(seconds) if seconds else ""))) or "not recorded"


def _held(report: Report) -> list[str]:
    """The splits that hold images."""
    return [split for split in _TITLES if report.data.get(split, {}).get("n", 0)]


def _best_epoch(report: Report) -> float | None:
    """The epoch that was kept, by its own number."""
    return None if report.best is None else report.history[report.best].get("epoch", report.best + 1)


def _choice(settings: Any, shown: dict[str, Any]) -> str:
    """Name and settings of a model, an optimiser or a schedule: "adam, lr 0.001"."""
    listed = _listed({name: value for name, value in shown.items() if name != "name"})
    return f"{settings.name}, {listed}" if listed else str(settings.name)


def _changed(settings: Any) -> dict[str, Any]:
    """The settings that are not at their default."""
    defaults = {field.name: field.default for field in dataclasses.fields(settings)}
    return {name: value for name, value in dataclasses.asdict(settings).items() if value != defaults[name]}


def _listed(settings: dict[str, Any]) -> str:
    return ", ".join(f"{_words(name)} {_value(value)}".removesuffix(" on") for name, value in settings.items())


def _words(name: str) -> str:
    return name.replace("_", " ")


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, (list, tuple)):
        return f"({', '.join(map(_value, value))})"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _curves(report: Report) -> Iterator[tuple[str, str]]:
    """Titles and charts of loss and accuracy over the epochs."""
    for quantity, shares in (("loss", False), ("accuracy", True)):
        drawn = [_line(report, split, quantity) for split in ("train", "validation")]
        chart = charts.lines(quantity.capitalize(), drawn, marked=_best_epoch(report), shares=shares)
        if chart:
            yield quantity.capitalize(), chart


def _line(report: Report, split: str, quantity: str) -> charts.Line:
    key = f"{split}_{quantity}"
    found = [
        (float(record.get("epoch", position + 1)), record[key])
        for position, record in enumerate(report.history)
        if math.isfinite(record.get(key, math.nan))
    ]
    n = report.data.get(split, {}).get("n", 0)
    band: list[tuple[float, float, float]] = []
    if quantity == "accuracy" and split == "validation" and n:
        ends = [proportion(round(value * n), n) for _, value in found]
        band = [(epoch, end.low, end.high) for (epoch, _), end in zip(found, ends, strict=True)]
    return charts.Line(split, split, found, band)


def _overall(scores: Scores) -> Iterator[tuple[str, str, str, str]]:
    """Name, value, interval and meaning of each score of the whole split."""
    for name, score in scores.overall.items():
        if name == "log loss":
            yield name, numbers.number(score.value), numbers.plain_range_of(score), _MEANINGS[name]
        else:
            yield name, numbers.percent(score.value), numbers.range_of(score), _MEANINGS[name]


def _matrix(scores: Scores) -> str:
    readable = len(scores.classes) <= charts.LARGEST_MATRIX
    return charts.confusion(scores.confusion, scores.classes) if readable else ""


def _confusions(scores: Scores) -> list[tuple[Any, str]]:
    """The most frequent mistakes with a bar each, all on one scale."""
    found = scores.confusions()
    high = max((pair.share.high for pair in found), default=1.0)
    return [(pair, charts.interval(pair.share, 0.0, high)) for pair in found]


def _classes(scores: Scores) -> list[tuple[Any, list[tuple[Score | None, str]]]]:
    """The rows of the table of classes, the weakest first: the class, then each score with its bar."""
    scale = _class_scale(scores)

    def cell(score: Score | None) -> tuple[Score | None, str]:
        return score, charts.interval(score, *scale) if score else ""

    return [(row, [cell(row.precision), cell(row.recall), cell(row.f1)]) for row in worst_first(scores.per_class)]


def _class_scale(scores: Scores) -> tuple[float, float]:
    found = [score for row in scores.per_class for score in (row.precision, row.recall, row.f1) if score]
    return _scale(found)


def _scale(scores: Iterable[Score]) -> tuple[float, float]:
    """A scale for bars: up to 1, from the tenth below the lowest interval."""
    lowest = min((score.low for score in scores), default=0.0)
    return min(math.floor(10 * lowest) / 10, 0.9), 1.0
