"""What all charts share: a drawing with its text alternative, axes, ticks, and text.

Sizes are in units of the drawing. A chart is drawn about as wide as a phone, where a unit is then a pixel.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from html import escape

CHARACTER = 7.2  # mean width of a character of a label, in a wide system font of 12 units
_LONGEST_NAME = 16  # characters of a class name before it is cut; a tooltip or the page beside has all of it
_FLAT = 1e-9  # a smaller spread of values is none


@dataclasses.dataclass(frozen=True)
class Frame:
    """The plot inside its drawing: where the axes are.

    Attributes
    ----------
    width, height : of the whole drawing.
    left, right, top, bottom : margins around the plot, for ticks and labels.
    """

    width: float = 400.0
    height: float = 250.0
    left: float = 40.0
    right: float = 92.0
    top: float = 22.0
    bottom: float = 36.0

    def across(self, low: float, high: float) -> Axis:
        """The axis from left to right."""
        return Axis(low, high, self.left, self.width - self.right)

    def upwards(self, low: float, high: float) -> Axis:
        """The axis from the bottom to the top."""
        return Axis(low, high, self.height - self.bottom, self.top)

    def y_tick(self, y: float, label: str) -> str:
        """A line across the plot and its number."""
        grid = f'<line class="grid" x1="{self.left:g}" x2="{self.width - self.right:g}" y1="{y:.1f}" y2="{y:.1f}"/>'
        return grid + text(self.left - 6, y + 4, label, "tick end")

    def x_tick(self, x: float, label: str) -> str:
        """A number below the plot."""
        return text(x, self.height - self.bottom + 16, label, "tick middle")

    def x_title(self, label: str) -> str:
        """What the x axis counts."""
        return text((self.left + self.width - self.right) / 2, self.height - 4, label, "axis middle")

    def drawing(self, style: str, label: str, parts: Sequence[str]) -> str:
        """The finished chart."""
        return svg(self.width, self.height, style, label, parts)


@dataclasses.dataclass(frozen=True)
class Axis:
    """A linear map from values low..high to positions start..end."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        if self.high == self.low:
            return (self.start + self.end) / 2
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def ticks(low: float, high: float) -> list[float]:
    """Three to six round numbers that enclose low..high."""
    span = high - low if high - low > _FLAT else 1.0
    power = 10.0 ** math.floor(math.log10(span / 4))
    step = next(factor * power for factor in (1, 2, 5, 10) if span / (factor * power) <= 5)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(position * step, 10) for position in range(first, max(last, first + 1) + 1)]


def whole_ticks(low: float, high: float) -> list[float]:
    """The first and the last epoch, and a few round ones that do not touch them."""
    inner = [tick for tick in ticks(low, high) if tick == int(tick)]
    room = (high - low) / 10
    return [low, *(tick for tick in inner if low + room < tick < high - room), *([high] if high > low else [])]


def tick_label(tick: float, shares: bool) -> str:
    """A number beside an axis; a share in percent."""
    return f"{100 * tick:.4g}%" if shares else f"{tick:.4g}"


def text(x: float, y: float, content: str, style: str) -> str:
    """A piece of text, escaped."""
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}">{escape(content)}</text>'


def svg(width: float, height: float, style: str, label: str, parts: Sequence[str]) -> str:
    """A drawing of this size, with a text alternative."""
    size = f"0 0 {math.ceil(width)} {math.ceil(height)}"
    return (
        f'<svg class="{style}" viewBox="{size}" role="img" aria-label="{escape(label)}" '
        f'style="--natural:{math.ceil(width)}px">{"".join(parts)}</svg>'
    )


def short(name: str) -> str:
    """A class name as a chart has room for it."""
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"
