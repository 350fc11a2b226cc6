"""What the page of a sweep shows. Lays out what was gathered; computes nothing."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from eyebright.reporting import numbers
from eyebright.reporting.charts.drawing import Axis, tick_label, ticks
from eyebright.reporting.charts.intervals import interval
from eyebright.reporting.charts.parallel import Course, Scale, parallel
from eyebright.reporting.charts.search import Curve, Dot, best_so_far, learning_curves
from eyebright.sweeps.importance import FEWEST
from eyebright.sweeps.space import Choice, Interval, Values, described, short_names, shown

if TYPE_CHECKING:
    from eyebright.reporting.sweep_report import SweepReport
    from eyebright.sweeps.standing import Sweep
    from eyebright.sweeps.trial import Trial

# A page of more rows and lines than these is too heavy for a phone; of the others sweep.yaml and the study know.
_MOST = 400


def content(report: SweepReport) -> dict[str, Any]:
    """What the template names. Charts are HTML already; all else is escaped by Jinja."""
    sweep = report.sweep
    best = sweep.best
    every = _by_merit(sweep)
    drawn = [trial for trial in every if trial.outcome.same_as is None][:_MOST]
    scores = list(_scores(report))
    low = min((score.low for _, score in scores), default=0.0)
    scale = (max(0.0, math.floor(10 * low) / 10), 1.0)
    return {
        "title": f"{sweep.definition.recipe.name}: sweep",
        "recipe": sweep.definition.recipe,
        "path": str(sweep.path),
        "search": sweep.definition.search,
        "pruner": sweep.definition.pruner,
        "space": [(field, _described(values)) for field, values in sweep.definition.space.items()],
        "counts": Counter(trial.state for trial in sweep.trials),
        "trials_total": len(sweep.trials),
        "planned": sweep.definition.trials,
        "best": best,
        "price": report.price,
        "default": sweep.default,
        "default_failure": sweep.results.get("default", {}).get(
            "failure", "the two were not tested on the same images."
        ),
        "tested": sweep.results.get("tested", ()),
        "scores": [(name, score, interval(score, *scale)) for name, score in scores],
        "score_scale": scale,
        "parallel": _parallel(sweep, drawn),
        "curves": _curves(sweep, drawn),
        "history": _history(sweep),
        "importances": _importances(report),
        "fewest": FEWEST,
        "names": list(short_names(sweep.definition.space).values()),
        "rows": [_row(sweep, trial) for trial in every[:_MOST]],
        "failures": _failures(sweep),
        "left_out": max(0, len(every) - _MOST),
        "best_recipe": sweep.recipe(best).to_yaml() if best else "",
        "winner": str(report.winner.path) if report.winner else "",
    }


def _scores(report: SweepReport) -> Iterator[tuple[str, Any]]:
    """Names and accuracies of the headline."""
    price, best = report.price, report.sweep.best
    if best is not None and best.accuracy is not None:
        yield "Validation", best.accuracy
    if price is not None and price.test is not None:
        yield "Test", price.test
    if price is not None and price.against_default is not None:
        yield "Test, as it was", price.against_default.first


def _by_merit(sweep: Sweep) -> list[Trial]:
    """The finished trials, the best first; then the others by number."""
    ranked = sweep.ranked
    known = {trial.number for trial in ranked}
    return [*ranked, *(trial for trial in sweep.trials if trial.number not in known)]


def _described(values: Values) -> str:
    if isinstance(values, Choice):
        return ", ".join(map(shown, values.values))
    how = ", evenly in the exponent" if values.log else f" in steps of {shown(values.step)}" if values.step else ""
    return f"{shown(values.low)} to {shown(values.high)}{how}"


def _style(sweep: Sweep, trial: Trial) -> str:
    """CSS classes of a trial's line or dot."""
    if sweep.best is not None and trial.number == sweep.best.number:
        return "best"
    if sweep.default is not None and trial.number == sweep.default.number:
        return "default"
    return f"trial {trial.state}"


def _title(trial: Trial) -> str:
    return f"trial {trial.number}: {described(trial.values)}; {trial.ended}"


def _parallel(sweep: Sweep, trials: Sequence[Trial]) -> str:
    """The chart of all finished trials; "" before there are two."""
    ranked = [trial for trial in trials if trial.state == "finished"]
    accuracies = [trial.outcome.accuracy or 0.0 for trial in ranked]
    if len(ranked) < 2:
        return ""
    space = sweep.definition.space
    names = short_names(space)
    marks = ticks(min(accuracies), max(accuracies))
    height = Axis(marks[0], min(1.0, marks[-1]), 0.0, 1.0)
    scales = [Scale(names[field], _ticks(values)) for field, values in space.items()]
    scales.append(Scale("accuracy", [(height(mark), tick_label(mark, True)) for mark in marks if mark <= height.high]))
    courses = []
    for rank, (trial, accuracy) in enumerate(zip(ranked, accuracies, strict=True)):
        places = [_place(values, trial.values[field]) for field, values in space.items()]
        places.append(height(accuracy))
        courses.append(Course(places, _style(sweep, trial), 1 - rank / len(ranked), _title(trial)))
    label = f"{len(ranked)} finished trials as lines over {', '.join(names.values())} and validation accuracy."
    return parallel(scales, courses, label)


def _ticks(values: Values) -> list[tuple[float, str]]:
    if isinstance(values, Choice):
        return [(_place(values, value), shown(value)) for value in values.values]
    inner = _powers(values) if values.log else ticks(values.low, values.high)
    apart = [mark for mark in inner if values.low <= mark <= values.high and 0.08 < _place(values, mark) < 0.92]
    return [(_place(values, mark), shown(mark)) for mark in (values.low, *apart, values.high)]


def _powers(values: Interval) -> list[float]:
    """Of ten, between the ends."""
    first, last = math.ceil(math.log10(values.low)), math.floor(math.log10(values.high))
    return [10.0**power for power in range(first, last + 1)]


def _place(values: Values, value: Any) -> float:
    """From 0 to 1."""
    if isinstance(values, Choice):
        position = next(place for place, each in enumerate(values.values) if each == value)
        return position / (len(values.values) - 1)
    low, high = values.low, values.high
    if values.log:
        low, high, value = math.log(low), math.log(high), math.log(value)
    return float((value - low) / (high - low))


def _curves(sweep: Sweep, trials: Sequence[Trial]) -> str:
    curves = []
    for trial in reversed(trials):  # the best on top
        if trial.curve:
            style = _style(sweep, trial)
            label = {"best": "best", "default": "recipe"}.get(style, "")
            points = sorted((float(epoch), value) for epoch, value in trial.curve.items())
            curves.append(Curve(points, style, _title(trial), label))
    return learning_curves(curves) if curves else ""


def _history(sweep: Sweep) -> str:
    dots, steps = [], []
    highest = -1.0
    for trial in sweep.trials:
        accuracy = trial.outcome.accuracy
        if accuracy is None or trial.outcome.same_as is not None:
            continue
        dots.append(Dot(trial.number, accuracy, _style(sweep, trial), _title(trial)))
        if trial.state == "finished" and accuracy > highest:
            highest = accuracy
            steps.append((trial.number, accuracy))
    return best_so_far(dots[-_MOST:], steps) if dots else ""


def _importances(report: SweepReport) -> list[tuple[str, str, str]]:
    """Name, share and width of the bar of each field."""
    if report.importances is None:
        return []
    names = short_names(report.sweep.definition.space)
    return [
        (names[field], numbers.percent(share), f"{100 * share:.1f}%") for field, share in report.importances.items()
    ]


def _row(sweep: Sweep, trial: Trial) -> dict[str, Any]:
    outcome = trial.outcome
    return {
        "number": trial.number,
        "values": [shown(trial.values[field]) if field in trial.values else "" for field in sweep.definition.space],
        "accuracy": trial.accuracy,
        "state": trial.state,
        "same_as": outcome.same_as,
        "epochs": outcome.epochs,
        "epoch": outcome.epoch,
        "time": numbers.duration(outcome.seconds) if outcome.seconds else "",
        "style": _style(sweep, trial),
        "is_default": sweep.default is not None and trial.number == sweep.default.number,
    }


def _failures(sweep: Sweep) -> list[tuple[str, list[int], str]]:
    """Each kind of failure, the most frequent first: its name, the trials, and what the first of them said."""
    kinds: dict[str, list[Trial]] = {}
    for trial in sweep.of("failed"):
        kinds.setdefault(trial.outcome.failure.partition(":")[0], []).append(trial)
    return [
        (kind, [trial.number for trial in failed], failed[0].outcome.failure.partition(": ")[2])
        for kind, failed in sorted(kinds.items(), key=lambda item: -len(item[1]))
    ]
