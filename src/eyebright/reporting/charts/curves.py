"""Lines over epochs: loss and accuracy."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence

from eyebright.reporting.charts.drawing import Axis, Frame, text, tick_label, ticks, whole_ticks
from eyebright.reporting.numbers import Show, number, percent

_FRAME = Frame()
_LINE_HEIGHT = 14.0  # smallest distance of two labels


@dataclasses.dataclass(frozen=True)
class Line:
    """One line of a chart.

    Attributes
    ----------
    name : its label.
    style : its CSS class.
    points : (x, y), with gaps where a value is missing or not finite.
    band : (x, low, high), drawn behind the line.
    """

    name: str
    style: str
    points: Sequence[tuple[float, float]]
    band: Sequence[tuple[float, float, float]] = ()


def lines(
    title: str,
    drawn: Sequence[Line],
    *,
    marked: float | None = None,
    shares: bool = False,
    include: Sequence[float] = (),
) -> str:
    """A chart of lines over epochs.

    Parameters
    ----------
    title : the text alternative begins with it.
    drawn : what to draw; lines without a finite point are left out.
    marked : the epoch to mark as the best.
    shares : values are 0..1 and shown in percent; otherwise the axis begins at 0.
    include : values that the y axis must reach too, so that two charts side by side share one scale.
    """
    finite = [dataclasses.replace(line, points=[p for p in line.points if math.isfinite(p[1])]) for line in drawn]
    finite = [line for line in finite if line.points]
    if not finite:
        return ""
    xs = [x for line in finite for x, _ in line.points]
    ys = [y for line in finite for _, y in line.points] + [y for y in include if math.isfinite(y)]
    x_axis = _FRAME.across(min(xs), max(xs))
    y_ticks = ticks(min(ys) if shares else 0.0, max(ys))
    top = min(1.0, y_ticks[-1]) if shares else y_ticks[-1]
    y_axis = _FRAME.upwards(y_ticks[0], top)
    show = percent if shares else number
    ends = ", ".join(f"{line.name} ends at {show(line.points[-1][1])}" for line in finite)
    parts = [
        *(_FRAME.y_tick(y_axis(tick), tick_label(tick, shares)) for tick in y_ticks if tick <= top),
        *(_FRAME.x_tick(x_axis(tick), f"{tick:.0f}") for tick in whole_ticks(min(xs), max(xs))),
        _FRAME.x_title("epoch"),
        *(_band(line, x_axis, y_axis) for line in finite if line.band),
        *([_mark(x_axis(marked), f"best epoch {marked:.0f}")] if marked is not None else []),
        *(_polyline(line, x_axis, y_axis, marked, show) for line in finite),
        *_end_labels(finite, y_axis, show),
    ]
    return _FRAME.drawing("chart epochs", f"{title} over {len(set(xs))} epochs: {ends}.", parts)


def _mark(x: float, label: str) -> str:
    left, right = _FRAME.left, _FRAME.width - _FRAME.right
    # The label leans inwards at either end of the axis.
    share = (x - left) / (right - left)
    anchor = "start" if share < 0.2 else "end" if share > 0.8 else "middle"
    bottom = _FRAME.height - _FRAME.bottom
    line = f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{_FRAME.top - 4:g}" y2="{bottom:g}"/>'
    return line + text(x, _FRAME.top - 9, label, f"axis {anchor}")


def _band(line: Line, x_axis: Axis, y_axis: Axis) -> str:
    upper = [(x_axis(x), y_axis(min(high, y_axis.high))) for x, _, high in line.band]
    lower = [(x_axis(x), y_axis(max(low, y_axis.low))) for x, low, _ in line.band]
    outline = " ".join(f"{x:.1f},{y:.1f}" for x, y in [*upper, *reversed(lower)])
    return f'<polygon class="band {line.style}" points="{outline}"/>'


def _polyline(line: Line, x_axis: Axis, y_axis: Axis, marked: float | None, show: Show) -> str:
    places = [(x_axis(x), y_axis(y)) for x, y in line.points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    parts = [f'<polyline class="line {line.style}" points="{path}"/>'] if len(places) > 1 else []
    for (epoch, value), (x, y) in zip(line.points, places, strict=True):
        tip = f"<title>epoch {epoch:.0f}: {line.name} {show(value)}</title>"
        dot = epoch == marked or len(places) == 1
        style, radius = (f"dot {line.style}", 3.5) if dot else ("target", 6)
        parts.append(f'<circle class="{style}" cx="{x:.1f}" cy="{y:.1f}" r="{radius}">{tip}</circle>')
    return "".join(parts)


def _end_labels(drawn: Sequence[Line], y_axis: Axis, show: Show) -> Iterator[str]:
    """Name and last value of each line, to the right of its end, pushed apart where they would touch."""
    ordered = sorted(drawn, key=lambda line: -line.points[-1][1])
    places = [y_axis(line.points[-1][1]) - 1 for line in ordered]  # of the names; the values stand below them
    for position in range(1, len(places)):
        places[position] = max(places[position], places[position - 1] + 2 * _LINE_HEIGHT)
    lowest = _FRAME.height - _FRAME.bottom - _LINE_HEIGHT
    for position in reversed(range(len(places))):
        places[position] = min(places[position], lowest)
        lowest = places[position] - 2 * _LINE_HEIGHT
    x = _FRAME.width - _FRAME.right + 8
    for line, y in zip(ordered, places, strict=True):
        yield text(x, y, line.name, f"label {line.style}")
        yield text(x, y + _LINE_HEIGHT, show(line.points[-1][1]), f"label value {line.style}")
