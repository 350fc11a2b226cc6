"""Confidence against accuracy, and accuracy against coverage."""

from __future__ import annotations

import math
from collections.abc import Sequence

from eyebright.evaluation.confidence import ConfidenceBin, OperatingPoint
from eyebright.reporting.charts.drawing import Axis, Frame, text, tick_label, ticks
from eyebright.reporting.numbers import count, percent

_SQUARE = Frame(width=360.0, height=330.0, left=46.0, right=14.0, top=14.0, bottom=40.0)
_WIDE = Frame(width=400.0, height=250.0, left=46.0, right=16.0, top=14.0, bottom=40.0)


def reliability(bins: Sequence[ConfidenceBin]) -> str:
    """Each bin at its mean confidence and its accuracy, with its interval; on the diagonal confidence is deserved."""
    lowest = min(min(each.confidence, each.accuracy.low) for each in bins)
    low = min(math.floor(10 * lowest) / 10, 0.9)
    x_axis, y_axis = _SQUARE.across(low, 1.0), _SQUARE.upwards(low, 1.0)
    marks = [tick for tick in ticks(low, 1.0) if low <= tick <= 1.0]
    inner = low + 0.5 * (1.0 - low)
    ends = f'x1="{x_axis(low):.1f}" y1="{y_axis(low):.1f}" x2="{x_axis(1):.1f}" y2="{y_axis(1):.1f}"'
    parts = [
        *(_SQUARE.y_tick(y_axis(tick), tick_label(tick, True)) for tick in marks),
        *(_SQUARE.x_tick(x_axis(tick), tick_label(tick, True)) for tick in marks),
        _SQUARE.x_title("confidence"),
        text(_SQUARE.left, 9, "accuracy", "axis"),
        f'<line class="ideal" {ends}/>',
        text(x_axis(low) + 10, y_axis(inner + 0.35 * (1 - low)), "too modest", "axis"),
        text(x_axis(1.0) - 6, y_axis(low + 0.06 * (1 - low)), "too sure of itself", "axis end"),
        *(_bin(each, x_axis, y_axis) for each in bins),
    ]
    below = sum(each.accuracy.high < each.confidence for each in bins)
    label = (
        f"Accuracy by confidence in {len(bins)} bins, from {percent(bins[0].confidence)} to "
        f"{percent(bins[-1].confidence)} sure: in {below} of them the model is surer than it is right."
    )
    return _SQUARE.drawing("chart reliability", label, parts)


def _bin(each: ConfidenceBin, x_axis: Axis, y_axis: Axis) -> str:
    score, x = each.accuracy, x_axis(each.confidence)
    tip = (
        f"{count(score.n)} images, {percent(each.confidence)} sure on average: {percent(score.value)} right, "
        f"95 % interval {percent(score.low)} to {percent(score.high)}"
    )
    return (
        f'<g><title>{tip}</title><line class="whisker" x1="{x:.1f}" x2="{x:.1f}" '
        f'y1="{y_axis(score.low):.1f}" y2="{y_axis(score.high):.1f}"/>'
        f'<circle class="dot validation" cx="{x:.1f}" cy="{y_axis(score.value):.1f}" r="4"/></g>'
    )


def coverage(points: Sequence[OperatingPoint]) -> str:
    """Accuracy of the answers against the share of images answered; vertex i of the line is operating point i.

    The page's script moves the dot along the line as the reader moves the threshold.
    """
    x_axis = _WIDE.across(0.0, 1.0)
    lowest = min(point.accuracy.low for point in points)
    low = min(math.floor(20 * lowest) / 20, 0.95)
    y_axis = _WIDE.upwards(low, 1.0)
    line = " ".join(f"{x_axis(p.coverage):.1f},{y_axis(p.accuracy.value):.1f}" for p in points)
    upper = [(x_axis(p.coverage), y_axis(p.accuracy.high)) for p in points]
    lower = [(x_axis(p.coverage), y_axis(p.accuracy.low)) for p in reversed(points)]
    outline = " ".join(f"{x:.1f},{y:.1f}" for x, y in [*upper, *lower])
    first, last = points[0], points[-1]
    parts = [
        *(_WIDE.y_tick(y_axis(tick), tick_label(tick, True)) for tick in ticks(low, 1.0) if low <= tick <= 1.0),
        *(_WIDE.x_tick(x_axis(tick), tick_label(tick, True)) for tick in (0.0, 0.25, 0.5, 0.75, 1.0)),
        _WIDE.x_title("images that get an answer"),
        text(_WIDE.left, 9, "right among the answers", "axis"),
        f'<polygon class="band validation" points="{outline}"/>',
        f'<polyline class="line validation" points="{line}"/>',
        f'<circle class="dot validation here" cx="{x_axis(first.coverage):.1f}" '
        f'cy="{y_axis(first.accuracy.value):.1f}" r="6"/>',
    ]
    label = (
        f"Accuracy against coverage: {percent(first.accuracy.value)} of all answers are right; of the surest "
        f"{percent(last.coverage)} of the images, {percent(last.accuracy.value)}."
    )
    return _WIDE.drawing("chart coverage", label, parts)
