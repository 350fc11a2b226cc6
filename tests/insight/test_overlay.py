"""Heat over images: colours by hand, readable without colour, and what does not fit."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from eyebright.core.errors import DataError
from eyebright.insight.overlay import overlay


@pytest.mark.parametrize("channels", [1, 3])
def test_overlay_by_hand(channels: int) -> None:
    images = np.full((1, 1, 3, channels), 100, dtype=np.uint8)
    found = overlay(images, np.array([[[0, 0.5, 1]]], dtype=np.float32))
    # 0.4 * 100 + 0.6 * viridis at 0, 1/2 and 1.
    assert found.tolist() == [[[[81, 41, 90], [60, 127, 124], [192, 179, 62]]]]
    assert found.dtype == np.uint8


def test_heat_grows_lighter_with_the_map() -> None:
    """So that it reads without colour."""
    values = np.linspace(0, 1, 50, dtype=np.float32).reshape(1, 1, 50)
    shown = overlay(np.zeros((1, 1, 50, 3), np.uint8), values)[0, 0] @ np.array([0.299, 0.587, 0.114])
    assert np.all(np.diff(shown) > -0.5)  # to rounding
    assert shown[-1] > shown[0] + 100


@pytest.mark.parametrize(
    "wrong", [np.zeros((1, 4, 5)), np.zeros((4, 4)), np.full((1, 4, 4), 1.1), np.full((1, 4, 4), np.nan)]
)
def test_an_overlay_of_what_does_not_fit_is_refused(wrong: NDArray[np.float32]) -> None:
    with pytest.raises(DataError, match="do not lie over images"):
        overlay(np.zeros((1, 4, 4, 3), np.uint8), wrong)
