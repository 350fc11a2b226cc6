"""What any page says of a run: its choices, its curves, and how to run it again. Computes nothing."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from eyebright.evaluation.intervals import proportion
from eyebright.reporting import numbers
from eyebright.reporting.charts.curves import Line, lines

if TYPE_CHECKING:
    from eyebright.evaluation.gap import Gap
    from eyebright.reporting.report import Report

TITLES = {"train": "Training", "validation": "Validation", "test": "Test"}
QUANTITIES = (("loss", False), ("accuracy", True))  # of the curves, and whether they are shares


def facts(report: Report) -> Iterator[tuple[str, str]]:
    """What the run was, a line each."""
    recipe, history = report.recipe, report.history
    images = [f"{numbers.count(report.data[split]['n'])} {split}" for split in _held(report)]
    held = f"{recipe.data.source}: {', '.join(images)}" if images else recipe.data.source
    chosen = _changed(recipe.data, besides={"source", "root", "download"})
    yield "Images", f"{held}; {_listed(chosen)}" if chosen else held
    yield "Model", _choice(recipe.model, dataclasses.asdict(recipe.model))
    yield "Augmentation", _listed(_changed(recipe.augment)) or "none"
    yield "Optimiser", _choice(recipe.optimizer, {"lr": recipe.optimizer.lr} | _changed(recipe.optimizer))
    yield "Schedule", _choice(recipe.schedule, _changed(recipe.schedule))
    length = f"{len(history)} of {recipe.training.epochs} epochs, batches of {recipe.training.batch_size}"
    if (best := best_epoch(report)) is not None:
        length += f"; epoch {best:.0f} was best by validation {recipe.training.monitor}"
    yield "Training", length
    if changed := _changed(recipe.training, besides={"epochs", "batch_size", "monitor"}):
        yield "Also", _listed(changed)
    seconds = sum(record.get("seconds", 0.0) for record in history)
    machine = (report.environment.get("processor", ""), report.environment.get("plan", ""))
    yield "Machine", "; ".join(filter(None, (*machine, numbers.duration(seconds) if seconds else ""))) or "not recorded"


def best_epoch(report: Report) -> float | None:
    """The epoch that was kept, by its own number."""
    return None if report.best is None else report.history[report.best].get("epoch", report.best + 1)


def smaller_until(report: Report) -> float | None:
    """The share of the training that saw smaller images than the rest; None where all had one size."""
    stages = report.recipe.training.progressive
    return max((until for until, scale in stages if scale < 1), default=None)


def curves(report: Report, include: Sequence[Report] = ()) -> Iterator[tuple[str, str]]:
    """Titles and charts of loss and accuracy over the epochs.

    Parameters
    ----------
    report : of the run.
    include : reports of other runs, whose values the axes reach too.
    """
    for quantity, shares in QUANTITIES:
        drawn = [_line(report, split, quantity) for split in ("train", "validation")]
        others = [
            y for other in include for split in ("train", "validation") for _, y in _points(other, split, quantity)
        ]
        chart = lines(quantity.capitalize(), drawn, marked=best_epoch(report), shares=shares, include=others)
        if chart:
            yield quantity.capitalize(), chart


def reproduction(report: Report) -> dict[str, Any]:
    """Everything that another run of the same needs."""
    return {
        "recipe": report.recipe,
        "parts": [(TITLES[name], report.data[name]) for name in _held(report)],
        "command": report.environment.get("command", ""),
        "environment": {name: text for name, text in report.environment.items() if name != "command"},
    }


def gap_words(gap: Gap) -> dict[str, str]:
    """How the gap is told: its size in points, the ends of its interval, and where training stands."""
    ahead = gap.value >= 0
    low, high = (gap.low, gap.high) if ahead else (-gap.high, -gap.low)
    return {
        "size": numbers.points(abs(gap.value)),
        "range": f"{numbers.points(low).removesuffix(' points')} to {numbers.points(high)}",
        "side": f"{'ahead of' if ahead else 'behind'} {gap.split}",
    }


def _held(report: Report) -> list[str]:
    """The splits that hold images."""
    return [split for split in TITLES if report.data.get(split, {}).get("n", 0)]


def _choice(settings: Any, shown: dict[str, Any]) -> str:
    """Name and settings of a model, an optimiser or a schedule: "adam, lr 0.001"."""
    listed = _listed({name: value for name, value in shown.items() if name != "name"})
    return f"{settings.name}, {listed}" if listed else str(settings.name)


def _changed(settings: Any, besides: Collection[str] = ()) -> dict[str, Any]:
    """The settings that are not at their default, and not said elsewhere."""
    fields = type(settings).__pydantic_fields__  # the dataclass itself knows no defaults that are made anew each time
    defaults = {name: field.get_default(call_default_factory=True) for name, field in fields.items()}
    return {
        name: value
        for name, value in dataclasses.asdict(settings).items()
        if name not in besides and value != defaults[name]
    }


def _listed(settings: dict[str, Any]) -> str:
    return ", ".join(f"{_words(name)} {_value(value)}".removesuffix(" on") for name, value in settings.items())


def _words(name: str) -> str:
    return name.replace("_", " ")


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, (list, tuple)):
        return f"({', '.join(map(_value, value))})"
    if isinstance(value, dict):
        listed = ", ".join(f"{name} {_value(each)}" for name, each in value.items())
        return str(value["_target_"]).rpartition(".")[2] if "_target_" in value else f"({listed})"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _line(report: Report, split: str, quantity: str) -> Line:
    found = _points(report, split, quantity)
    n = report.data.get(split, {}).get("n", 0)
    band: list[tuple[float, float, float]] = []
    if quantity == "accuracy" and split == "validation" and n:
        ends = [proportion(round(value * n), n) for _, value in found]
        band = [(epoch, end.low, end.high) for (epoch, _), end in zip(found, ends, strict=True)]
    return Line(split, split, found, band)


def _points(report: Report, split: str, quantity: str) -> list[tuple[float, float]]:
    """Epochs and values, where they are finite."""
    key = f"{split}_{quantity}"
    return [
        (float(record.get("epoch", position + 1)), record[key])
        for position, record in enumerate(report.history)
        if math.isfinite(record.get(key, math.nan))
    ]
