"""Charts as SVG text, made for reading: direct labels, few ticks, colours that come from the page's style sheet.

Every chart carries a text alternative, scales with the page, and names its parts by CSS class only, so that
light, dark and printed pages share one drawing. Class names are escaped; nothing else in here is foreign text.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from eyebright.evaluation.score import Score
from eyebright.reporting.numbers import Show, count, number, percent

# Sizes are in units of the drawing. A chart is drawn about as wide as a phone, where a unit is then a pixel.
_WIDTH, _HEIGHT = 400.0, 250.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 40.0, 92.0, 22.0, 36.0
_LINE_HEIGHT = 14.0  # smallest distance of two labels
_CHARACTER = 6.2  # mean width of a character of a label, in a system font of 12 units
_LONGEST_NAME = 16  # characters of a class name before it is cut; the tooltip has all of it
_LEAST_MARGIN = 70.0  # beside a matrix: room for the word "predicted"
_COUNTED_CLASSES = 25  # a matrix of more classes has no room for numbers
_FLAT = 1e-9  # a smaller spread of values is none
LARGEST_MATRIX = 200  # classes; a larger matrix is a texture that nobody can read
# Strengths of a cell above which its count takes another ink; a test holds every contrast above 4.3.
STRONG, FULL = 0.63, 0.89


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


def lines(title: str, drawn: Sequence[Line], *, marked: float | None = None, shares: bool = False) -> str:
    """A chart of lines over epochs.

    Parameters
    ----------
    title : the text alternative begins with it.
    drawn : what to draw; lines without a finite point are left out.
    marked : the epoch to mark as the best.
    shares : values are 0..1 and shown in percent; otherwise the axis begins at 0.
    """
    finite = [dataclasses.replace(line, points=[p for p in line.points if math.isfinite(p[1])]) for line in drawn]
    finite = [line for line in finite if line.points]
    if not finite:
        return ""
    xs = [x for line in finite for x, _ in line.points]
    ys = [y for line in finite for _, y in line.points]
    x_axis = _Axis(min(xs), max(xs), _LEFT, _WIDTH - _RIGHT)
    y_ticks = _ticks(min(ys) if shares else 0.0, max(ys))
    top = min(1.0, y_ticks[-1]) if shares else y_ticks[-1]
    y_axis = _Axis(y_ticks[0], top, _HEIGHT - _BOTTOM, _TOP)
    show = percent if shares else number
    ends = ", ".join(f"{line.name} ends at {show(line.points[-1][1])}" for line in finite)
    parts = [
        *(_y_tick(y_axis(tick), _tick_text(tick, shares)) for tick in y_ticks if tick <= top),
        *(_x_tick(x_axis(tick), f"{tick:.0f}") for tick in _whole_ticks(min(xs), max(xs))),
        _text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 4, "epoch", "axis middle"),
        *(_band(line, x_axis, y_axis) for line in finite if line.band),
        *([_mark(x_axis(marked), f"best epoch {marked:.0f}")] if marked is not None else []),
        *(_polyline(line, x_axis, y_axis, marked, show) for line in finite),
        *_end_labels(finite, y_axis, show),
    ]
    return _svg(_WIDTH, _HEIGHT, "chart", f"{title} over {len(set(xs))} epochs: {ends}.", parts)


def interval(score: Score, low: float, high: float) -> str:
    """A score as a dot with its interval on a scale from `low` to `high`; as wide as its container."""

    def place(value: float) -> str:
        return f"{100 * (min(max(value, low), high) - low) / (high - low):.2f}%"

    label = f"{percent(score.value)}, 95 % interval {percent(score.low)} to {percent(score.high)}"
    return (
        f'<svg class="interval" width="100%" height="12" role="img" aria-label="{label}"><title>{label}</title>'
        '<line class="track" x1="0%" x2="100%" y1="6" y2="6"/>'
        f'<line class="range" x1="{place(score.low)}" x2="{place(score.high)}" y1="6" y2="6"/>'
        f'<circle class="value" cx="{place(score.value)}" cy="6" r="3.5"/></svg>'
    )


def confusion(matrix: NDArray[np.int64], classes: Sequence[str]) -> str:
    """A confusion matrix (K, K), rows are the true classes, as a heat map.

    The right answers on the diagonal and the mistakes off it have a hue each; strength follows the square
    root of the share of the true class, so that a confusion of some percent can be seen beside a diagonal of
    ninety. Up to 25 classes have their counts written in.
    """
    k = len(classes)
    cell, font = _cell_size(k)
    names = [_short(name) for name in classes]
    lengths = [len(name) * font * _CHARACTER / 12 for name in names]
    angle = 45 if k <= _COUNTED_CLASSES else 90  # names of thin columns stand upright, or they would overlap
    left, top = max(26 + max(lengths), _LEAST_MARGIN), 14 + max(lengths) * math.sin(math.radians(angle))
    # A leaning name may reach over the right edge.
    reach = max((p + 0.5) * cell + size * math.cos(math.radians(angle)) for p, size in enumerate(lengths))
    width, height = left + max(k * cell, reach + 4), top + k * cell
    parts = [f'<rect class="cells" x="{left:g}" y="{top:g}" width="{k * cell:g}" height="{k * cell:g}"/>']
    for position, (name, whole) in enumerate(zip(names, classes, strict=True)):
        middle = (position + 0.5) * cell
        x = left + middle + (font / 3 if angle == 90 else 0)
        text = f"{escape(name)}<title>{escape(whole)}</title></text>"
        size = f'style="font-size:{font:g}px"'
        turned = f'x="{x:g}" y="{top - 6:g}" transform="rotate({-angle} {x:g} {top - 6:g})"'
        parts.append(f'<text class="name end" {size} x="{left - 6:g}" y="{top + middle + font / 3:g}">{text}')
        parts.append(f'<text class="name" {size} {turned}>{text}')
    parts.extend(
        _cell(matrix, classes, (int(row), int(column)), (left + column * cell, top + row * cell), cell)
        for row, column in zip(*np.nonzero(matrix), strict=True)
    )
    middle = top + k * cell / 2
    parts.append(f'<text class="axis middle" x="12" y="{middle:g}" transform="rotate(-90 12 {middle:g})">true</text>')
    parts.append(_text(left - 6, top - 8, "predicted", "axis end"))
    right, images = int(matrix.diagonal().sum()), int(matrix.sum())
    label = f"Confusion matrix of {k} classes: {count(right)} of {count(images)} images on the diagonal."
    return _svg(width, height, "matrix", label, parts)


def _cell(
    matrix: NDArray[np.int64],
    classes: Sequence[str],
    at: tuple[int, int],
    corner: tuple[float, float],
    size: float,
) -> str:
    """One cell that is not empty."""
    (row, column), (x, y) = at, corner
    images, of = int(matrix[at]), int(matrix[row].sum())
    share = images / of
    counted = len(classes) <= _COUNTED_CLASSES
    # A cell without a number must be seen by its colour alone.
    strength = math.sqrt(share) if counted else 0.3 + 0.7 * math.sqrt(share)
    gap = 1.5 if size > 12 else 0.5
    verdict = "right" if row == column else f"taken for {classes[column]}"
    tip = escape(f"{classes[row]} {verdict}: {count(images)} of {count(of)} ({percent(share)})")
    style = "right" if row == column else "wrong"
    drawn = (
        f'<rect class="{style}" x="{x + gap / 2:g}" y="{y + gap / 2:g}" width="{size - gap:g}" height="{size - gap:g}" '
        f'rx="{size / 16:.2g}" fill-opacity="{strength:.3f}"><title>{tip}</title></rect>'
    )
    if not counted:
        return drawn
    digits = f"{images}"
    font = min(0.34 * size, 1.5 * size / len(digits))
    # The page's style sheet says which ink goes with which strength, in light and in dark.
    contrast = "count full" if strength > FULL else "count strong" if strength > STRONG else "count"
    centre, baseline = x + size / 2, y + size / 2 + font / 3
    place = f'style="font-size:{font:.3g}px" x="{centre:g}" y="{baseline:g}"'
    return f'{drawn}<text class="{contrast}" {place}>{digits}</text>'


def _cell_size(k: int) -> tuple[float, float]:
    """Edge of a cell and size of the names, for k classes."""
    if k <= 12:
        return 36.0, 12.0
    return (26.0, 11.0) if k <= _COUNTED_CLASSES else (10.0, 9.0)


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"


@dataclasses.dataclass(frozen=True)
class _Axis:
    """A linear map from values low..high to positions start..end."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        if self.high == self.low:
            return (self.start + self.end) / 2
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def _ticks(low: float, high: float) -> list[float]:
    """Three to six round numbers that enclose low..high."""
    span = high - low if high - low > _FLAT else 1.0
    power = 10.0 ** math.floor(math.log10(span / 4))
    step = next(factor * power for factor in (1, 2, 5, 10) if span / (factor * power) <= 5)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(position * step, 10) for position in range(first, max(last, first + 1) + 1)]


def _whole_ticks(low: float, high: float) -> list[float]:
    """The first and the last epoch, and a few round ones that do not touch them."""
    inner = [tick for tick in _ticks(low, high) if tick == int(tick)]
    room = (high - low) / 10
    return [low, *(tick for tick in inner if low + room < tick < high - room), *([high] if high > low else [])]


def _tick_text(tick: float, shares: bool) -> str:
    return f"{100 * tick:.4g}%" if shares else f"{tick:.4g}"


def _y_tick(y: float, text: str) -> str:
    grid = f'<line class="grid" x1="{_LEFT:g}" x2="{_WIDTH - _RIGHT:g}" y1="{y:.1f}" y2="{y:.1f}"/>'
    return grid + _text(_LEFT - 6, y + 4, text, "tick end")


def _x_tick(x: float, text: str) -> str:
    return _text(x, _HEIGHT - _BOTTOM + 16, text, "tick middle")


def _mark(x: float, label: str) -> str:
    # The label leans inwards at either end of the axis.
    share = (x - _LEFT) / (_WIDTH - _RIGHT - _LEFT)
    anchor = "start" if share < 0.2 else "end" if share > 0.8 else "middle"
    line = f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP - 4:g}" y2="{_HEIGHT - _BOTTOM:g}"/>'
    return line + _text(x, _TOP - 9, label, f"axis {anchor}")


def _band(line: Line, x_axis: _Axis, y_axis: _Axis) -> str:
    upper = [(x_axis(x), y_axis(min(high, y_axis.high))) for x, _, high in line.band]
    lower = [(x_axis(x), y_axis(max(low, y_axis.low))) for x, low, _ in line.band]
    outline = " ".join(f"{x:.1f},{y:.1f}" for x, y in [*upper, *reversed(lower)])
    return f'<polygon class="band {line.style}" points="{outline}"/>'


def _polyline(line: Line, x_axis: _Axis, y_axis: _Axis, marked: float | None, show: Show) -> str:
    places = [(x_axis(x), y_axis(y)) for x, y in line.points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    parts = [f'<polyline class="line {line.style}" points="{path}"/>'] if len(places) > 1 else []
    for (epoch, value), (x, y) in zip(line.points, places, strict=True):
        tip = f"<title>epoch {epoch:.0f}: {line.name} {show(value)}</title>"
        dot = epoch == marked or len(places) == 1
        style, radius = (f"dot {line.style}", 3.5) if dot else ("target", 6)
        parts.append(f'<circle class="{style}" cx="{x:.1f}" cy="{y:.1f}" r="{radius}">{tip}</circle>')
    return "".join(parts)


def _end_labels(drawn: Sequence[Line], y_axis: _Axis, show: Show) -> Iterator[str]:
    """Name and last value of each line, to the right of its end, pushed apart where they would touch."""
    ordered = sorted(drawn, key=lambda line: -line.points[-1][1])
    places = [y_axis(line.points[-1][1]) - 1 for line in ordered]  # of the names; the values stand below them
    for position in range(1, len(places)):
        places[position] = max(places[position], places[position - 1] + 2 * _LINE_HEIGHT)
    lowest = _HEIGHT - _BOTTOM - _LINE_HEIGHT
    for position in reversed(range(len(places))):
        places[position] = min(places[position], lowest)
        lowest = places[position] - 2 * _LINE_HEIGHT
    for line, y in zip(ordered, places, strict=True):
        yield _text(_WIDTH - _RIGHT + 8, y, line.name, f"label {line.style}")
        yield _text(_WIDTH - _RIGHT + 8, y + _LINE_HEIGHT, show(line.points[-1][1]), f"label value {line.style}")


def _text(x: float, y: float, text: str, style: str) -> str:
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'


def _svg(width: float, height: float, style: str, label: str, parts: Sequence[str]) -> str:
    size = f"0 0 {math.ceil(width)} {math.ceil(height)}"
    return (
        f'<svg class="{style}" viewBox="{size}" role="img" aria-label="{escape(label)}" '
        f'style="--natural:{math.ceil(width)}px">{"".join(parts)}</svg>'
    )
