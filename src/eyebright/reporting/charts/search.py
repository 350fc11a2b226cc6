"""The trials of a sweep over time: how each learned, and how the best so far rose."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from html import escape

from eyebright.reporting.charts.drawing import Axis, Frame, text, tick_label, ticks, whole_ticks
from eyebright.reporting.numbers import percent

_FRAME = Frame()
_APART = 14.0  # smallest distance of two labels


@dataclasses.dataclass(frozen=True)
class Curve:
    """The validation accuracies of a trial.

    Attributes
    ----------
    points : (epoch, accuracy); one at least.
    style : CSS classes.
    title : what a tooltip says.
    label : beside its end; "" for none.
    """

    points: Sequence[tuple[float, float]]
    style: str
    title: str
    label: str = ""


@dataclasses.dataclass(frozen=True)
class Dot:
    """A trial by itself.

    Attributes
    ----------
    number : of the trial.
    accuracy : on the validation images.
    style : CSS classes.
    title : what a tooltip says.
    """

    number: int
    accuracy: float
    style: str
    title: str


def learning_curves(curves: Sequence[Curve]) -> str:
    """Accuracy over the epochs, a line a trial; the last ones lie on top."""
    epochs = [epoch for curve in curves for epoch, _ in curve.points]
    x_axis, y_axis, parts = _plot(epochs, [value for curve in curves for _, value in curve.points], "epoch")
    for curve in curves:
        places = [(x_axis(x), y_axis(y)) for x, y in curve.points]
        title = f"<title>{escape(curve.title)}</title>"
        if len(places) > 1:
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
            parts.append(f'<polyline class="line {curve.style}" points="{path}">{title}</polyline>')
        x, y = places[-1]
        parts.append(f'<circle class="dot {curve.style}" cx="{x:.1f}" cy="{y:.1f}" r="2.5">{title}</circle>')
    parts.extend(_end_labels(curves, y_axis))
    highest = max(value for curve in curves for _, value in curve.points)
    label = (
        f"Validation accuracy of {len(curves)} trials over at most {max(epochs):.0f} epochs, up to {percent(highest)}."
    )
    return _FRAME.drawing("chart epochs", label, parts)


def best_so_far(dots: Sequence[Dot], steps: Sequence[tuple[int, float]]) -> str:
    """The accuracy of each trial, and the best that was known after it.

    Parameters
    ----------
    dots : one at least.
    steps : (number of the trial, best accuracy until then), where it rose.
    """
    numbers = [float(dot.number) for dot in dots]
    x_axis, y_axis, parts = _plot(numbers, [dot.accuracy for dot in dots], "trial")
    corners: list[tuple[float, float]] = []
    for number, value in steps:
        if corners:
            corners.append((x_axis(number), corners[-1][1]))
        corners.append((x_axis(number), y_axis(value)))
    if corners:
        corners.append((x_axis(max(numbers)), corners[-1][1]))
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)
        parts.append(f'<polyline class="line best" points="{path}"/>')
        parts.append(text(corners[-1][0] + 8, corners[-1][1] + 4, percent(steps[-1][1]), "label best"))
    for dot in dots:
        place = f'cx="{x_axis(dot.number):.1f}" cy="{y_axis(dot.accuracy):.1f}"'
        parts.append(f'<circle class="dot {dot.style}" {place} r="4"><title>{escape(dot.title)}</title></circle>')
    rises = f"The best rose {len(steps) - 1} times, to {percent(steps[-1][1])}." if steps else "None is finished."
    return _FRAME.drawing("chart", f"Validation accuracy of {len(dots)} trials. {rises}", parts)


def _plot(xs: Sequence[float], shares: Sequence[float], title: str) -> tuple[Axis, Axis, list[str]]:
    """Axes that hold all points, and their drawing."""
    marks = ticks(min(shares), max(shares))
    top = min(1.0, marks[-1])
    x_axis, y_axis = _FRAME.across(min(xs), max(xs)), _FRAME.upwards(marks[0], top)
    parts = [
        *(_FRAME.y_tick(y_axis(mark), tick_label(mark, True)) for mark in marks if mark <= top),
        *(_FRAME.x_tick(x_axis(mark), f"{mark:.0f}") for mark in whole_ticks(min(xs), max(xs))),
        _FRAME.x_title(title),
        text(_FRAME.left, _FRAME.top - 9, "right on the validation images", "axis"),
    ]
    return x_axis, y_axis, parts


def _end_labels(curves: Sequence[Curve], y_axis: Axis) -> list[str]:
    """Name and last value of the curves that have a label, the higher above the lower."""
    named = sorted((curve for curve in curves if curve.label), key=lambda curve: -curve.points[-1][1])
    x, lowest = _FRAME.width - _FRAME.right + 8, 0.0
    parts = []
    for curve in named:
        y = max(y_axis(curve.points[-1][1]), lowest)
        lowest = y + 2 * _APART
        parts.append(text(x, y, curve.label, f"label {curve.style}"))
        parts.append(text(x, y + _APART, percent(curve.points[-1][1]), f"label value {curve.style}"))
    return parts
