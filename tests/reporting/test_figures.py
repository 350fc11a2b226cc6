from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from eyebright.core.errors import MissingExtraError
from eyebright.reporting.figures import confusion, curves, write_png

from .conftest import ANIMALS, history


def pixels(picture: Image.Image) -> NDArray[np.uint8]:
    assert picture.mode == "RGB"
    return np.asarray(picture)


def has(picture: NDArray[np.uint8], colour: tuple[int, int, int]) -> int:
    """How many pixels have about this colour."""
    return int((np.abs(picture.astype(int) - colour).max(axis=2) < 12).sum())


TRAIN, VALIDATION = (0x76, 0x7C, 0x85), (0x00, 0x72, 0xB2)


def test_curves_of_both_splits() -> None:
    picture = pixels(curves(history(6), best=2, dpi=150))
    assert picture.shape[1] > 1200
    assert has(picture, TRAIN) > 1000
    assert has(picture, VALIDATION) > 1000


def test_curves_without_validation() -> None:
    empty, dot, short = (pixels(curves(history(epochs, validation=False))) for epochs in (0, 1, 3))
    assert has(empty, VALIDATION) == has(dot, VALIDATION) == has(short, VALIDATION) == 0
    assert has(empty, TRAIN) + 100 < has(dot, TRAIN) < has(short, TRAIN) - 100  # the empty one has grey letters


def test_curves_with_values_that_are_not_finite() -> None:
    records = [record | {"train_loss": float("nan")} for record in history(3)]
    assert has(pixels(curves(records)), VALIDATION) > 500


def test_confusion_is_dark_where_the_share_is_large() -> None:
    matrix = np.array([[0, 10], [0, 1000]])
    picture = pixels(confusion(matrix, ("a", "b")))
    dark = picture.sum(axis=2) < 330
    columns = np.flatnonzero(dark.mean(axis=0) > 0.5)  # the second column is dark in both rows
    assert len(columns) > 100
    assert not dark[:, : columns[0] - 200].all(axis=0).any()


@pytest.mark.parametrize("k", [1, 2, 10, 26, 100])
def test_confusion_of_any_size(k: int) -> None:
    matrix = np.eye(k, dtype=np.int64) * 9
    matrix[0, -1] += 1
    names = [f"class {position}" for position in range(k)]
    picture = pixels(confusion(matrix, names, dpi=150))
    assert min(picture.shape[:2]) > 500
    assert max(picture.shape[:2]) < 4000
    assert picture.std() > 10


def test_a_class_without_images_and_names_with_signs() -> None:
    matrix = np.array([[3, 1, 0], [0, 0, 0], [0, 0, 2]])
    assert pixels(confusion(matrix, ("$5$ and ^", "_x_", "<b>"))).std() > 10


def test_written_as_png(tmp_path: Path) -> None:
    picture = curves(history(2))
    path = write_png(picture, tmp_path / "folder" / "curves.png")
    assert path == tmp_path / "folder" / "curves.png"
    with Image.open(path) as read:
        assert (read.format, read.tobytes()) == ("PNG", picture.tobytes())


def test_without_matplotlib_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'eyebright\[report\]'"):
        curves(history(2))
    with pytest.raises(MissingExtraError, match=r"pip install 'eyebright\[report\]'"):
        confusion(np.eye(4, dtype=np.int64), ANIMALS)


def test_leaves_pyplot_alone() -> None:
    code = (
        "import sys, numpy; from eyebright.reporting.figures import confusion; "
        "confusion(numpy.eye(2, dtype=int), ('a', 'b')); "
        "print('matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
