"""Selecting images: by row, by position, by mask, and never silently by something else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from eyebright.core.errors import DataError
from eyebright.data.image_set import Splits
from tests.conftest import make_images


def test_rows_are_those_of_the_source_and_positions_those_of_the_selection() -> None:
    part = make_images(10, "train", 0).take([3, 5, 7])
    assert part[[7, 3]].index.tolist() == [7, 3]
    assert part.take([2, 0]).index.tolist() == [7, 3]
    assert part.take(np.array([True, False, True])).index.tolist() == [3, 7]
    assert part.take([]).index.tolist() == []
    assert np.array_equal(part[7].images[0], make_images(10, "train", 0).images[7])


@pytest.mark.parametrize("rows", [[True, False, True], slice(0, 2), [1.0], [4]])
def test_what_names_no_row_is_refused(rows: Any) -> None:
    with pytest.raises(DataError):
        make_images(10, "train", 0).take([3, 5, 7])[rows]


def test_a_mask_of_another_length_is_refused() -> None:
    with pytest.raises(DataError):
        make_images(10, "train", 0).take(np.array([True, False]))


def test_the_fingerprint_is_of_content_and_order() -> None:
    one, other = make_images(10, "train", 0), make_images(10, "train", 1)
    assert one.fingerprint == make_images(10, "test", 0).fingerprint
    assert one.fingerprint != other.fingerprint
    assert one.take([1, 0]).fingerprint != one.take([0, 1]).fingerprint


def test_parts_are_named_by_their_place() -> None:
    whole = make_images(10, "train", 0)
    splits = Splits(whole.take(range(6)), whole.take(range(6, 8)), whole.take(range(8, 10)))
    assert [part.split for part in splits] == ["train", "validation", "test"]
