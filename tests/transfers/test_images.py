from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eyebright.core.errors import DataError
from eyebright.core.input_spec import InputSpec
from eyebright.data.decode import fit
from eyebright.data.image_set import ImageSet, ImageStore, Splits
from eyebright.data.sources.arrays import with_channels
from eyebright.transfers import images as module
from eyebright.transfers.images import fitted, labelled

SPEC = InputSpec(6, 10, 1, (0.5,), (0.25,), ("a", "b"), resize="pad", interpolation="nearest")


def test_images_get_the_size_and_channels_of_the_model(shades: Splits, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CHUNK", 7)
    made = fitted(shades, SPEC)
    for part, before in zip(made, shades, strict=True):
        assert part.shape == (6, 10, 1)
        assert np.array_equal(part.labels, before.labels)
        assert np.array_equal(part.index, before.index)
        assert (part.store.resize, part.store.interpolation) == ("pad", "nearest")
    grey = with_channels(shades.test.images[-1:], 1)[0]
    assert np.array_equal(made.test.images[-1], fit(grey, 6, 10, "pad", "nearest"))


def test_images_that_fit_stay_as_they_are(shades: Splits) -> None:
    made = fitted(shades, dataclasses.replace(SPEC, height=8, width=8, channels=3))
    assert made.train.store is shades.train.store


def test_a_store_that_splits_share_is_fitted_once(shades: Splits) -> None:
    train = shades.train
    made = fitted(Splits(train.take(range(9)), train.take(range(9, 12)), train.take(range(12, 20))), SPEC)
    assert made.train.store is made.test.store


def lots(counts: list[int]) -> ImageSet:
    labels = np.repeat(np.arange(len(counts)), counts)
    store = ImageStore(np.zeros((len(labels), 1, 1, 1), np.uint8), labels, [""], tuple("abcd"), "lots")
    return ImageSet(store, np.arange(len(labels)), "train")


@given(
    counts=st.lists(st.integers(20, 200), min_size=4, max_size=4),
    budgets=st.tuples(st.integers(50, 300), st.integers(50, 300)),
    seed=st.integers(0, 9),
)
def test_every_budget_is_in_proportion_and_inside_the_next(
    counts: list[int], budgets: tuple[int, int], seed: int
) -> None:
    images = lots(counts)
    few, many = (labelled(images, budget, seed) for budget in sorted(budgets))
    assert set(few.index) <= set(many.index)
    for chosen, budget in ((few, min(budgets)), (many, max(budgets))):
        assert len(chosen) == min(budget, len(images))
        found = np.bincount(chosen.labels, minlength=4)
        expected = np.array(counts) * len(chosen) / len(images)
        assert np.abs(found - expected).max() <= 2


def test_other_seeds_choose_other_images() -> None:
    images = lots([90, 90, 90, 90])
    assert set(labelled(images, 20, 0).index) != set(labelled(images, 20, 1).index)
    assert labelled(images, 999, 0) is images


def test_a_class_without_an_image_is_named() -> None:
    with pytest.raises(DataError, match="4 of the 403 train images of lots are too few: none is 'd'"):
        labelled(lots([200, 100, 100, 3]), 4, 0)
