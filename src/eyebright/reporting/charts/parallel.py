"""Parallel coordinates: an axis a field, a line a trial (Inselberg, "The plane with parallel coordinates", 1985)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from html import escape

from eyebright.reporting.charts.drawing import short, svg, text

_GAP, _HEIGHT = 132.0, 300.0  # between two axes; of the drawing
_SIDE, _TOP, _BOTTOM = 66.0, 40.0, 18.0
_FAINTEST = 0.15  # opacity of the line that matters least


@dataclasses.dataclass(frozen=True)
class Scale:
    """One axis.

    Attributes
    ----------
    name : above it.
    ticks : places from 0 (bottom) to 1 (top), and their labels.
    """

    name: str
    ticks: Sequence[tuple[float, str]]


@dataclasses.dataclass(frozen=True)
class Course:
    """One line.

    Attributes
    ----------
    places : on each axis, from 0 (bottom) to 1 (top).
    style : CSS classes.
    strength : 0..1, how clearly it is drawn; stronger lines lie above fainter ones.
    title : what a tooltip says.
    """

    places: Sequence[float]
    style: str
    strength: float
    title: str


def parallel(scales: Sequence[Scale], courses: Sequence[Course], label: str) -> str:
    """The chart, with `label` as its text alternative."""
    width = 2 * _SIDE + (len(scales) - 1) * _GAP
    parts = [_course(course) for course in sorted(courses, key=lambda course: course.strength)]
    for position, scale in enumerate(scales):
        last = position == len(scales) - 1
        parts.extend(_axis(scale, _SIDE + position * _GAP, last))
    return svg(width, _HEIGHT, "chart parallel", label, parts)


def _axis(scale: Scale, x: float, last: bool) -> list[str]:
    top, bottom = _y(1.0), _y(0.0)
    parts = [f'<line class="upright" x1="{x:.1f}" x2="{x:.1f}" y1="{top:.1f}" y2="{bottom:.1f}"/>']
    parts.append(text(x, _TOP - 18, short(scale.name), "label middle"))
    for place, label in scale.ticks:
        y = _y(place)
        outwards = 5 if last else -5  # the numbers of the last axis stand where no line passes
        parts.append(f'<line class="upright" x1="{x:.1f}" x2="{x + outwards:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>')
        side = "" if last else " end"
        parts.append(text(x + 1.6 * outwards, y + 4, short(label), f"tick halo{side}"))
    return parts


def _course(course: Course) -> str:
    points = " ".join(f"{_SIDE + number * _GAP:.1f},{_y(place):.1f}" for number, place in enumerate(course.places))
    opacity = _FAINTEST + (1 - _FAINTEST) * course.strength
    title = f"<title>{escape(course.title)}</title>"
    return f'<polyline class="line {course.style}" stroke-opacity="{opacity:.2f}" points="{points}">{title}</polyline>'


def _y(place: float) -> float:
    return _HEIGHT - _BOTTOM - place * (_HEIGHT - _TOP - _BOTTOM)
