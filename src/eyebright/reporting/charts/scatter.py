"""The embedding map: a dot an image, a colour a class, a cross over each mistake.

The dots of one class are one path of zero-length strokes with round ends, so that ten thousand of them weigh
little and stay vectors. Hues are Paul Tol's "muted" scheme ("Colour Schemes", SRON note, 2021),
which people with any kind of colour vision can tell apart; from the tenth class on they return as squares, and
every class carries its name on the map, for nobody can tell twenty colours apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from eyebright.reporting.charts.drawing import short, svg
from eyebright.reporting.numbers import count

HUES = 10  # of the scheme, the CSS classes hue0 to hue9
EDGE = 640.0  # of the drawing, units
_MARGIN = 14.0  # from the edge to the outermost dots
_LABELLED_CLASSES = 30  # names of more cover the map
_LOWEST = 0.5  # a drawing's height as a share of its width, however flat the map
_CROSS = 2.6  # half the edge of a cross, units


def placed(points: NDArray[np.float32]) -> tuple[NDArray[np.float64], float]:
    """Points (N, 2) moved into a drawing as wide as `EDGE`, and its height; both axes by the same factor.

    One decimal is enough for a screen. A y axis of a drawing grows downwards.
    """
    low, high = points.min(axis=0).astype(np.float64), points.max(axis=0).astype(np.float64)
    width, height = high - low
    room = EDGE - 2 * _MARGIN
    factor = room / max(width, height, 1e-9)
    tall = min(room, max(room * _LOWEST, height * factor))
    offset = np.array([EDGE / 2, _MARGIN + tall / 2])
    centred = (points - (low + high) / 2) * factor * np.array([1.0, -1.0])
    return np.round(centred + offset, 1), tall + 2 * _MARGIN


def embedding(
    points: NDArray[np.float32], labels: NDArray[np.int64], wrong: NDArray[np.bool_], names: Sequence[str]
) -> str:
    """The map of points (N, 2), coloured by their class (N,), with a cross over each mistake (N,)."""
    places, height = placed(points)
    held = [position for position in range(len(names)) if (labels == position).any()]
    parts = [_dots(places[labels == position], position, names[position]) for position in held]
    parts += [_crosses(places[wrong & (labels == position)], position) for position in held]
    if len(names) <= _LABELLED_CLASSES:
        parts.extend(_name(places[labels == position], position, names[position]) for position in held)
    parts.append('<circle class="found" r="6" cx="-20" cy="-20"/>')
    label = (
        f"Map of {count(len(points))} images of {len(held)} classes; images that the model finds alike lie close. "
        f"{count(int(wrong.sum()))} are mistaken."
    )
    return svg(EDGE, height, "embedding", label, parts)


def style(position: int) -> str:
    """CSS classes of a class's dots: its hue, and squares from the eleventh class on."""
    return f"hue{position % HUES}" + (" square" if position // HUES % 2 else "")


def _dots(places: NDArray[np.float64], position: int, name: str) -> str:
    path = "".join(f"M{x:g} {y:g}h0" for x, y in places.tolist())
    # A path of zero length has no square ends in every browser; a hair of a length has.
    drawn = path.replace("h0", "h.01") if "square" in style(position) else path
    title = f"<title>{escape(name)}</title>"
    return f'<path class="points {style(position)}" data-class="{position}" d="{drawn}">{title}</path>'


def _crosses(places: NDArray[np.float64], position: int) -> str:
    half, edge = _CROSS, 2 * _CROSS
    cross = f"l{edge:g} {edge:g}m0 -{edge:g}l-{edge:g} {edge:g}"
    path = "".join(f"M{x - half:.1f} {y - half:.1f}{cross}" for x, y in places)
    return f'<path class="errors" data-class="{position}" d="{path}"/>' if path else ""


def _name(places: NDArray[np.float64], position: int, name: str) -> str:
    """The name of a class at the middle of its dots."""
    x, y = np.median(places, axis=0)
    return f'<text class="class-label" data-class="{position}" x="{x:.1f}" y="{y:.1f}">{escape(short(name))}</text>'
