from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy.stats import spearmanr
from torch import nn

from eyebright.core.device import choose
from eyebright.core.input_spec import InputSpec
from eyebright.core.settings.model import MLPSettings
from eyebright.data.image_set import ImageSet, ImageStore
from eyebright.evaluation.score import Score
from eyebright.insight import salience
from eyebright.insight.attribution import INPUT_METHODS, attribute
from eyebright.insight.faithfulness import Curves, Faithfulness, faithfulness
from eyebright.insight.sanity import Sanity, randomised, rank_correlation, sanity
from eyebright.insight.subject import Subject, studied
from eyebright.models.classifier import Classifier
from tests.insight import networks

PLAN = choose("cpu", "fp32", threads=1)
SIZE = 8
MAPS = arrays(np.float32, (2, 5, 4), elements=st.sampled_from([0.0, 0.25, 0.5, 1.0]))


# The order of the pixels


@given(MAPS)
def test_ranks_are_an_order_of_the_pixels_that_follows_the_map(maps: NDArray[np.float32]) -> None:
    places = salience.ranks(maps)
    for own, values in zip(places, maps, strict=True):
        assert sorted(own.ravel()) == list(range(20))
        in_order = values.ravel()[np.argsort(own.ravel())]
        assert np.all(np.diff(in_order) <= 0)


def test_of_equal_pixels_those_near_salient_ones_come_first() -> None:
    maps = np.zeros((1, 5, 5), dtype=np.float32)
    maps[0, 0, 0] = 1
    places = salience.ranks(maps)[0]
    assert places[0, 0] == 0
    assert {places[0, 1], places[1, 0]} == {1, 2}
    assert places[4, 4] == 24
    assert np.argwhere(places >= 15).sum(axis=1).min() >= 4  # one region in the far corner, no dust


def test_a_blank_map_is_ordered_row_by_row() -> None:
    assert np.array_equal(salience.ranks(np.zeros((1, 2, 3), np.float32))[0], [[0, 1, 2], [3, 4, 5]])


def test_moved_places_keep_their_shape() -> None:
    places = np.arange(2 * 20, dtype=np.int32).reshape(2, 5, 4)
    found = salience.moved(places, np.random.default_rng(0))
    for own, image in zip(places, found, strict=True):
        row, column = np.argwhere(image == own[0, 0])[0]
        assert np.array_equal(np.roll(own, (row, column), axis=(0, 1)), image)
    shifts = {int(salience.moved(places[:1], np.random.default_rng(seed))[0, 0, 0]) for seed in range(200)}
    assert shifts == set(range(20))  # every distance is drawn


def test_a_flat_map_is_in_random_order() -> None:
    maps = np.zeros((2, 4, 4), dtype=np.float32)
    maps[0, 1, 2] = 1
    places, elsewhere = salience.orders(maps, np.random.default_rng(3))
    assert places[0, 1, 2] == 0
    assert np.array_equal(places[0], salience.ranks(maps)[0])
    assert not np.array_equal(elsewhere[0], places[0])
    assert np.array_equal(places[1], elsewhere[1])


def test_positions_are_spread_evenly() -> None:
    assert salience.spread(100, 3).tolist() == [0, 50, 99]
    assert salience.spread(3, 16).tolist() == [0, 1, 2]
    assert salience.spread(1, 16).tolist() == [0]


# Deletion and insertion


def corner_model() -> Classifier:
    """Of grey images of 8 x 8, whose normalised pixels are those of the image / 51: logit 1 is the first pixel."""
    head = nn.Linear(SIZE * SIZE, 2)
    with torch.no_grad():
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
        head.weight[1, 0] = 1
    return Classifier(nn.Flatten(), head, InputSpec(SIZE, SIZE, 1, (0.0,), (0.2,), ("a", "b")), MLPSettings())


def lit(count: int) -> ImageSet:
    """Black images whose first pixel is 204, which is 4 after normalisation."""
    pixels = np.zeros((count, SIZE, SIZE, 1), dtype=np.uint8)
    pixels[:, 0, 0] = 204
    labels = np.ones(count, dtype=np.int64)
    return ImageSet(ImageStore(pixels, labels, ["x"] * count, ("a", "b"), "lit"), np.arange(count), "test")


@pytest.fixture
def corner() -> Iterator[Subject]:
    with studied(corner_model(), PLAN) as subject:
        yield subject


def probability(logit: float) -> float:
    return 1 / (1 + math.exp(-logit))


# Of a blurred image 4 x 4 patches are left, so 4 of the first pixel become 1; it is the only one that matters.
LIT, BLURRED, BLACK = probability(4), probability(1), probability(0)


@pytest.mark.parametrize(
    ("first_pixel", "deletion", "insertion"),
    [
        (0, BLACK, LIT),  # gone, or there, at 25 % and at 75 % of the pixels
        (63, LIT, BLURRED),
        (32, (LIT + BLACK) / 2, (BLURRED + LIT) / 2),
    ],
)
def test_areas_by_hand(corner: Subject, first_pixel: int, deletion: float, insertion: float) -> None:
    places = np.arange(64, dtype=np.int32).reshape(1, 8, 8)
    places[0].flat[first_pixel], places[0, 0, 0] = 0, first_pixel
    curves = Curves(corner, lit(1), np.ones(1, dtype=np.int64), 4, steps=2)
    assert curves.deletion(places) == pytest.approx([deletion])
    assert curves.insertion(places) == pytest.approx([insertion])


def test_areas_do_not_depend_on_the_batch() -> None:
    model, images = networks.plain_cnn(), networks.make_images(5)
    places = salience.ranks(np.random.default_rng(0).random((5, 32, 32), dtype=np.float32))
    with studied(model, PLAN) as subject:
        small, large = (Curves(subject, images, np.arange(5) % 4, size, 3).insertion(places) for size in (2, 5))
    assert np.allclose(small, large, atol=1e-6)


def test_maps_that_mark_what_decides_are_trusted_and_others_are_not(corner: Subject) -> None:
    right = np.zeros((16, SIZE, SIZE), dtype=np.float32)
    right[:, 0, 0] = 1
    wrong = np.zeros_like(right)
    wrong[:, 7, 7] = 1
    classes = np.ones(16, dtype=np.int64)
    good = faithfulness(corner, lit(16), right, classes)
    bad = faithfulness(corner, lit(16), wrong, classes)
    assert good.deletion.value == pytest.approx(BLACK)
    assert good.insertion.value == pytest.approx(LIT)
    assert good.random_deletion.value > good.deletion.value
    assert good.gain.low > 0
    assert good.trusted
    assert bad.gain.high < 0
    assert not bad.trusted
    assert "gain" in str(good)
    assert json.loads(json.dumps(good.to_dict()))["trusted"] is True


def test_a_blank_map_is_not_trusted(corner: Subject) -> None:
    """Though the one pixel that counts is the first, at which any order of equal pixels may begin."""
    blank = np.zeros((16, SIZE, SIZE), dtype=np.float32)
    found = faithfulness(corner, lit(16), blank, np.ones(16, dtype=np.int64))
    assert found.gain.value == 0
    assert not found.trusted


def test_few_images_prove_nothing(corner: Subject) -> None:
    right = np.zeros((7, SIZE, SIZE), dtype=np.float32)
    right[:, 0, 0] = 1
    found = faithfulness(corner, lit(7), right, np.ones(7, dtype=np.int64))
    assert found.gain.low > 0
    assert not found.trusted
    assert "fewer than 8 images" in str(found)


def test_the_seed_decides_the_control(corner: Subject) -> None:
    maps = np.random.default_rng(0).random((8, SIZE, SIZE), dtype=np.float32)
    classes = np.ones(8, dtype=np.int64)
    first, again, other = (faithfulness(corner, lit(8), maps, classes, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert first.random_deletion != other.random_deletion
    assert first.deletion.value == other.deletion.value


# Randomised weights


def test_rank_correlation_is_spearmans() -> None:
    random = np.random.default_rng(0)
    first, second = random.integers(0, 5, (2, 4, 6, 5)).astype(np.float32)  # with ties
    expected = [spearmanr(one.ravel(), other.ravel()).statistic for one, other in zip(first, second, strict=True)]
    assert np.allclose(rank_correlation(first, second), expected)
    assert np.allclose(rank_correlation(first, np.exp(first)), 1)
    assert np.allclose(rank_correlation(first, -first), -1)


def test_a_flat_map_has_no_order_to_compare() -> None:
    maps = np.stack([np.zeros((2, 2)), np.zeros((2, 2)), np.eye(2), np.eye(2)]).astype(np.float32)
    others = np.stack([np.ones((2, 2)), np.eye(2), np.ones((2, 2)), np.eye(2)]).astype(np.float32)
    assert np.isnan(rank_correlation(maps, others)).tolist() == [True, True, True, False]


def test_flat_maps_are_left_out_of_the_mean_and_pass_nothing_alone() -> None:
    model, images = networks.plain_cnn(), networks.make_images(4)
    maps = np.random.default_rng(0).random((4, 32, 32), dtype=np.float32)
    half = maps.copy()
    half[2:] = 0
    with studied(model, PLAN) as subject:
        x = networks.normalised(model, images)
        found = sanity(subject, maps, x, lambda _other: half)
        dead = sanity(subject, maps, x, lambda _other: np.zeros_like(maps))
    assert found.similarity is not None
    assert found.similarity.n == 2
    assert found.similarity.value == pytest.approx(1)
    assert dead.similarity is None
    assert not dead.passed
    assert "no map to compare" in str(dead)
    assert json.loads(json.dumps(dead.to_dict())) == {"similarity": None, "limit": 0.5, "passed": False}


def test_randomised_weights_are_the_same_numbers_in_another_order() -> None:
    model, images = networks.our_resnet(), networks.make_images(4)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with studied(model, PLAN) as subject:
        x = networks.normalised(model, images)
        other, again, another = (randomised(subject, x, seed).model for seed in (0, 0, 1))
        assert not any(layer.training for layer in other.modules())
    for (name, own), theirs in zip(model.named_parameters(), other.parameters(), strict=True):
        matrix = own.ndim > 1
        ordered = [(values.abs() if matrix else values).flatten().sort().values for values in (own, theirs)]
        assert torch.equal(*ordered), name
        assert torch.equal(theirs, dict(again.named_parameters())[name])
        if matrix:
            assert float((own == theirs).float().mean()) < 0.1
            assert not torch.equal(theirs, dict(another.named_parameters())[name])
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_batch_normalisation_measures_its_statistics_anew() -> None:
    model, images = networks.our_resnet(), networks.make_images(4)
    with studied(model, PLAN) as subject:
        x = networks.normalised(model, images)
        body = randomised(subject, x, 0).model.body
        both = torch.cat([x, x.flip(3)])
        seen = body.get_submodule("stem.convolution")(both)  # (8, 16, 32, 32)
    norm = body.get_submodule("stem.norm")
    assert torch.allclose(norm.get_buffer("running_mean"), seen.mean(dim=(0, 2, 3)), atol=1e-5)
    assert torch.allclose(norm.get_buffer("running_var"), seen.var(dim=(0, 2, 3)), rtol=1e-3)


def test_one_image_is_enough_for_batch_normalisation() -> None:
    body = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 6), nn.BatchNorm1d(6))
    model = networks.classifier(body)
    with studied(model, PLAN) as subject:
        other = randomised(subject, networks.normalised(model, networks.make_images(1)), 0)
        assert bool(other.logits(torch.zeros(1, 3, 32, 32)).isfinite().all())


@pytest.mark.parametrize("depends", [True, False])
def test_maps_that_ignore_the_weights_fail(depends: bool) -> None:
    model, images = networks.plain_cnn(), networks.make_images(8)
    classes = np.arange(8) % 4

    def explain(subject: Subject) -> NDArray[np.float32]:
        if depends:
            return attribute(subject, images, classes, INPUT_METHODS["integrated_gradients"], 64)
        edges: NDArray[np.float32] = np.abs(np.diff(images.images.mean(axis=3), axis=1, append=0)).astype(np.float32)
        return edges

    with studied(model, PLAN) as subject:
        found = sanity(subject, explain(subject), networks.normalised(model, images), explain)
    assert found.passed == depends
    assert found.similarity is not None
    assert found.similarity.n == 8
    assert (found.similarity.value == pytest.approx(1)) == (not depends)
    assert json.loads(json.dumps(found.to_dict()))["passed"] is depends


def test_the_whole_interval_must_lie_below_the_limit() -> None:
    found = Sanity(Score(0.4, 0.3, 0.6, 16, "bootstrap"))
    assert not found.passed
    assert dataclasses.replace(found, similarity=Score(0.4, 0.3, 0.45, 16, "bootstrap")).passed


def test_a_gain_that_may_be_chance_is_not_trusted() -> None:
    score = Score(0.1, -0.1, 0.3, 32, "bootstrap")
    assert not Faithfulness(score, score, score, score, score).trusted
