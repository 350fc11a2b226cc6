"""Learning curves and confusion matrix as pictures, for notebooks, slides and folders without a browser."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from eyebright.core.errors import MissingExtraError
from eyebright.core.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SCREEN, PRINT = 100, 150  # dots per inch
_INK, _QUIET, _LINE = "#1b1e22", "#5c636c", "#e5e2dc"
_COLOURS = {"train": "#767c85", "validation": "#0072b2"}  # as in the report: grey, and Okabe and Ito's blue
_LABEL_SHARE = 0.07  # of the height of the axes that a label takes
_COUNTED_CLASSES = 25  # a matrix of more classes has no room for numbers


def curves(history: Sequence[Mapping[str, float]], *, best: int | None = None, dpi: int = SCREEN) -> Image.Image:
    """Draw loss and accuracy over the epochs, of training and, where there is one, of validation.

    Parameters
    ----------
    history : a record an epoch, as `Run.history`.
    best : position in `history` of the epoch to mark.
    dpi : dots per inch; the picture is about 10 inches wide.

    Raises
    ------
    MissingExtraError : Matplotlib is not installed.
    """
    figure = _figure(10, 3.8)
    for position, quantity in enumerate(("loss", "accuracy")):
        axes = figure.add_subplot(1, 2, position + 1)
        axes.set_title(quantity.capitalize(), loc="left", color=_INK, fontweight="bold", fontsize=11)
        _clean(axes)
        axes.grid(axis="y", color=_LINE, linewidth=0.8)
        axes.set_xlabel("epoch", color=_QUIET)
        axes.locator_params(axis="x", integer=True)
        _curves(axes, history, quantity)
        if best is not None and best < len(history):
            epoch = history[best].get("epoch", best + 1)
            early = best < len(history) / 2  # then the label stands right of its line, off the ticks
            axes.axvline(epoch, color=_QUIET, linewidth=1, linestyle=(0, (2, 3)))
            axes.annotate(
                f"best epoch {epoch:.0f}",
                (epoch, 1),
                xycoords=("data", "axes fraction"),
                xytext=(4 if early else -4, -2),
                textcoords="offset points",
                ha="left" if early else "right",
                va="top",
                fontsize=9,
                color=_QUIET,
            )
        if quantity == "accuracy":
            axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g}%")
    return _picture(figure, dpi)


def confusion(matrix: NDArray[np.int64], classes: Sequence[str], *, dpi: int = SCREEN) -> Image.Image:
    """Draw a confusion matrix (K, K), rows are the true classes; colour is the share of the row.

    Up to 25 classes have their counts written in.

    Raises
    ------
    MissingExtraError : Matplotlib is not installed.
    """
    k = len(classes)
    side = min(24.0, max(4.5, 0.55 * k)) if k <= _COUNTED_CLASSES else min(24.0, 0.14 * k + 2)  # inches
    figure = _figure(side + 1, side)
    axes = figure.add_subplot()
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)  # (K, K), rows sum to 1 or 0
    # The square root lets a confusion of some percent be seen beside a diagonal of ninety; a cell without a
    # number must be seen by its colour alone.
    floor = 0.0 if k <= _COUNTED_CLASSES else 0.3
    strength = np.where(matrix > 0, floor + (1 - floor) * np.sqrt(shares), 0)
    axes.imshow(strength, cmap="Blues", vmin=0, vmax=1.1)
    _clean(axes)
    size = 9 if k <= _COUNTED_CLASSES else 6
    # A class name is text, even where it holds dollar signs.
    axes.set_xticks(range(k), labels=list(classes), rotation=90, fontsize=size, color=_INK, parse_math=False)
    axes.set_yticks(range(k), labels=list(classes), fontsize=size, color=_INK, parse_math=False)
    axes.set_xlabel("predicted", color=_QUIET)
    axes.set_ylabel("true", color=_QUIET)
    if k <= _COUNTED_CLASSES:
        for row, column in zip(*np.nonzero(matrix), strict=True):
            colour = "white" if shares[row, column] > 0.4 else _INK
            axes.text(column, row, f"{matrix[row, column]}", ha="center", va="center", fontsize=8, color=colour)
    return _picture(figure, dpi)


def write_png(picture: Image.Image, path: Path) -> Path:
    """Write a picture to `path`, atomically.

    Raises
    ------
    StorageError : the disk refuses.
    """
    with atomic_path(path) as temporary:
        picture.save(temporary, "PNG")
    return path


def _curves(axes: Axes, history: Sequence[Mapping[str, float]], quantity: str) -> None:
    """The lines of both splits, each with its name and last value at its end."""
    ends = []
    for split, colour in _COLOURS.items():
        found = [
            (record.get("epoch", position + 1), record[f"{split}_{quantity}"])
            for position, record in enumerate(history)
            if math.isfinite(record.get(f"{split}_{quantity}", math.nan))
        ]
        if found:
            epochs, values = zip(*found, strict=True)
            axes.plot(epochs, values, color=colour, linewidth=2, marker="o" if len(found) == 1 else "")
            ends.append((values[-1], epochs[-1], split, colour))
    if quantity == "loss":
        axes.set_ylim(bottom=0)
    bottom, top = axes.get_ylim()
    # Where two labels would touch, the lower hangs from its end and the upper stands on it.
    close = len(ends) == 2 and abs(ends[0][0] - ends[1][0]) < _LABEL_SHARE * (top - bottom)
    for (value, epoch, split, colour), side in zip(sorted(ends), ("top", "bottom"), strict=False):
        last = f"{100 * value:.1f}%" if quantity == "accuracy" else f"{value:.3f}"
        axes.annotate(
            f"{split} {last}",
            (epoch, value),
            (6, 0),
            textcoords="offset points",
            va=side if close else "center",
            color=colour,
        )


def _figure(width: float, height: float) -> Figure:
    """A figure of its own, in inches; pyplot's global state is the caller's."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("matplotlib", "report") from error
    return Figure(figsize=(width, height), layout="constrained")


def _clean(axes: Axes) -> None:
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, colors=_QUIET, labelsize=9)


def _picture(figure: Figure, dpi: int) -> Image.Image:
    content = io.BytesIO()
    with warnings.catch_warnings():
        # A class name in a script that the font lacks is drawn as boxes; the report shows it right.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(content, format="png", dpi=dpi, bbox_inches="tight", pad_inches=0.15)
    return Image.open(content).convert("RGB")
