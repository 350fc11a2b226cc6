"""A score, or a difference of two, as a dot on its interval; as wide as the container."""

from __future__ import annotations

from eyebright.evaluation.score import Score
from eyebright.reporting.numbers import percent, points


def interval(score: Score, low: float, high: float) -> str:
    """A score on a scale from `low` to `high`."""
    label = f"{percent(score.value)}, 95 % interval {percent(score.low)} to {percent(score.high)}"
    return _drawn(label, "interval", (score.value, score.low, score.high), (low, high))


def difference(value: float, ends: tuple[float, float], reach: float) -> str:
    """A difference of two shares on a scale from `-reach` to `reach`, with a line at none."""
    label = f"{points(value)}, 95 % interval {points(ends[0])} to {points(ends[1])}"
    side = "better" if ends[0] > 0 else "worse" if ends[1] < 0 else "unclear"
    return _drawn(label, f"interval difference {side}", (value, *ends), (-reach, reach))


def _drawn(label: str, style: str, values: tuple[float, float, float], scale: tuple[float, float]) -> str:
    lowest, highest = scale

    def place(value: float) -> str:
        return f"{100 * (min(max(value, lowest), highest) - lowest) / (highest - lowest):.2f}%"

    value, low, high = values
    zero = f'<line class="zero" x1="{place(0)}" x2="{place(0)}" y1="0" y2="12"/>' if lowest < 0 else ""
    return (
        f'<svg class="{style}" width="100%" height="12" role="img" aria-label="{label}"><title>{label}</title>'
        f'<line class="track" x1="0%" x2="100%" y1="6" y2="6"/>{zero}'
        f'<line class="range" x1="{place(low)}" x2="{place(high)}" y1="6" y2="6"/>'
        f'<circle class="value" cx="{place(value)}" cy="6" r="3.5"/></svg>'
    )
