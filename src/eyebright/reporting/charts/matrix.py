"""The confusion matrix as a heat map whose cells the page's script makes into buttons."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from eyebright.reporting.charts.drawing import CHARACTER, short, svg, text
from eyebright.reporting.numbers import count, percent

_LEAST_MARGIN = 70.0  # beside a matrix: room for the word "predicted"
_COUNTED_CLASSES = 25  # a matrix of more classes has no room for numbers
LARGEST_MATRIX = 200  # classes; a larger matrix is a texture that nobody can read
# Strengths of a cell above which its count takes another ink; a test holds every contrast above 4.3.
STRONG, FULL = 0.63, 0.89


def confusion(matrix: NDArray[np.int64], classes: Sequence[str]) -> str:
    """A confusion matrix (K, K), rows are the true classes, as a heat map.

    The right answers on the diagonal and the mistakes off it have a hue each; strength follows the square
    root of the share of the true class, so that a confusion of some percent can be seen beside a diagonal of
    ninety. Up to 25 classes have their counts written in.
    """
    k = len(classes)
    cell, font = _cell_size(k)
    names = [short(name) for name in classes]
    lengths = [len(name) * font * CHARACTER / 12 for name in names]
    angle = 45 if k <= _COUNTED_CLASSES else 90  # names of thin columns stand upright, or they would overlap
    left, top = max(26 + max(lengths), _LEAST_MARGIN), 14 + max(lengths) * math.sin(math.radians(angle))
    # A leaning name may reach over the right edge.
    reach = max((p + 0.5) * cell + size * math.cos(math.radians(angle)) for p, size in enumerate(lengths))
    width, height = left + max(k * cell, reach + 4), top + k * cell
    parts = [f'<rect class="cells" x="{left:g}" y="{top:g}" width="{k * cell:g}" height="{k * cell:g}"/>']
    for position, (name, whole) in enumerate(zip(names, classes, strict=True)):
        middle = (position + 0.5) * cell
        x = left + middle + (font / 3 if angle == 90 else 0)
        label = f"{escape(name)}<title>{escape(whole)}</title></text>"
        size = f'style="font-size:{font:g}px"'
        turned = f'x="{x:g}" y="{top - 6:g}" transform="rotate({-angle} {x:g} {top - 6:g})"'
        parts.append(f'<text class="name end" {size} x="{left - 6:g}" y="{top + middle + font / 3:g}">{label}')
        parts.append(f'<text class="name" {size} {turned}>{label}')
    parts.extend(
        _cell(matrix, classes, (int(row), int(column)), (left + column * cell, top + row * cell), cell)
        for row, column in zip(*np.nonzero(matrix), strict=True)
    )
    middle = top + k * cell / 2
    parts.append(f'<text class="axis middle" x="12" y="{middle:g}" transform="rotate(-90 12 {middle:g})">true</text>')
    parts.append(text(left - 6, top - 8, "predicted", "axis end"))
    right, images = int(matrix.diagonal().sum()), int(matrix.sum())
    label = f"Confusion matrix of {k} classes: {count(right)} of {count(images)} images on the diagonal."
    return svg(width, height, "matrix", label, parts)


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
        f'<rect class="cell {style}" data-given="{row}" data-predicted="{column}" x="{x + gap / 2:g}" '
        f'y="{y + gap / 2:g}" width="{size - gap:g}" height="{size - gap:g}" '
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
