"""Shared images, and statistics of pixels, both by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from eyebright.audit.leakage import leaks
from eyebright.audit.pixel_statistics import pixel_statistics
from eyebright.data.image_set import ImageSet, ImageStore, Splits
from eyebright.data.statistics import mean_and_deviation
from tests.conftest import make_images


def images_of(values: list[int], labels: list[int], split: str) -> ImageSet:
    """One grey value an image; the rows of the source are counted from 50."""
    pixels = np.zeros((50 + len(values), 2, 2, 1), np.uint8)
    pixels[50:] = np.array(values, np.uint8)[:, None, None, None]
    every = np.zeros(len(pixels), np.int64)
    every[50:] = labels
    names = [str(row) for row in range(len(pixels))]
    return ImageSet(ImageStore(pixels, every, names, ("a", "b"), "greys"), np.arange(50, len(pixels)), split)


def test_leaks_by_hand() -> None:
    splits = Splits(
        train=images_of([1, 2, 2, 3, 4], [0, 0, 1, 1, 0], "train"),
        validation=images_of([5, 3], [0, 0], "validation"),
        test=images_of([2, 6, 3, 2], [1, 0, 1, 0], "test"),
    )
    found = {(leak.seen, leak.split): leak for leak in leaks(splits)}
    assert list(found) == [("train", "validation"), ("train", "test"), ("validation", "test")]
    test = found["train", "test"]
    assert test.index.tolist() == [50, 52, 53]
    assert test.twin.tolist() == [51, 53, 51]  # the first of the two images of value 2
    assert test.relabelled.tolist() == [False, False, False]  # value 2 has both labels in training
    assert test.share == 3 / 4
    assert len(test) == 3
    assert found["train", "validation"].relabelled.tolist() == [True]
    assert found["validation", "test"].index.tolist() == [52]
    assert str(test) == "Leak(3 images of test are in train too, 75.0%)"


def test_splits_that_share_nothing(shades: Splits) -> None:
    assert leaks(shades) == ()
    assert leaks(dataclasses.replace(shades, validation=shades.validation.take([]))) == ()


def test_statistics_of_all_images_are_those_of_the_normalisation(shades: Splits) -> None:
    found = pixel_statistics(shades.train)
    mean, deviation = mean_and_deviation(shades.train)
    assert found.n == 130
    assert found.mean == pytest.approx(mean)
    assert found.deviation == pytest.approx(deviation)


def test_standard_errors_by_hand() -> None:
    # Images of 0, 51, 204 and 255: means 0, 0.2, 0.8 and 1 around 0.5; squared distances 0.25, 0.09, 0.09 and 0.25.
    found = pixel_statistics(images_of([0, 51, 204, 255], [0, 1, 0, 1], "test"))
    variance = (0.25 + 0.09 + 0.09 + 0.25) / 4
    assert found.mean == pytest.approx((0.5,))
    assert found.deviation == pytest.approx((variance**0.5,))
    assert found.mean_error == pytest.approx(((variance / 4) ** 0.5,))
    assert found.deviation_error == pytest.approx((0.08 / 2 / (2 * variance**0.5),))


def test_standard_errors_foretell_the_spread_of_samples() -> None:
    drawn = [pixel_statistics(make_images(60, "test", seed)) for seed in range(30)]
    # The shades go round, so only the noise differs from set to set; with random shades it is the whole error.
    assert np.std([each.mean[0] for each in drawn]) < drawn[0].mean_error[0]
    whole = make_images(3000, "train", 0)
    samples = [pixel_statistics(whole, count=60, seed=seed) for seed in range(60)]
    for value, error in (("mean", "mean_error"), ("deviation", "deviation_error")):
        spread = np.std([getattr(each, value)[0] for each in samples])
        assert spread == pytest.approx(np.mean([getattr(each, error)[0] for each in samples]), rel=0.3)


def test_a_channel_that_never_changes_and_chunks(monkeypatch: pytest.MonkeyPatch, shades: Splits) -> None:
    flat = pixel_statistics(images_of([7, 7, 7], [0, 1, 0], "test"))
    assert flat.deviation == pytest.approx((0,), abs=1e-9)
    assert flat.mean_error == pytest.approx((0,), abs=1e-9)
    whole = pixel_statistics(shades.test)
    monkeypatch.setattr("eyebright.audit.pixel_statistics._CHUNK_BYTES", 1000)
    assert pixel_statistics(shades.test).mean == pytest.approx(whole.mean)
