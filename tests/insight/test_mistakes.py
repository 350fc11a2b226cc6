from __future__ import annotations

import base64
import dataclasses
import io
import re
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from eyebright.core.errors import DataError
from eyebright.data.image_set import ImageSet, ImageStore
from eyebright.evaluation.predictions import Predictions
from eyebright.insight.mistakes import mistakes
from eyebright.insight.neighbours import LookAlikes, Neighbours

CLASSES = ("cat", "dog", "owl")
# Given class, and the probabilities of cat, dog and owl.
SAID = [
    (0, (0.9, 0.05, 0.05)),  # right
    (0, (0.2, 0.7, 0.1)),  # cat for dog, loss -ln 0.2
    (1, (0.6, 0.3, 0.1)),  # dog for cat
    (1, (0.25, 0.4, 0.35)),  # right, with the least certainty; loss -ln 0.4
    (2, (0.1, 0.1, 0.8)),  # right
    (0, (0.05, 0.15, 0.8)),  # cat for owl, loss -ln 0.05, the largest
    (0, (0.2, 0.7, 0.1)),  # cat for dog, as sure as the first
    (2, (0.02, 0.96, 0.02)),  # owl for dog: surest mistake; loss -ln 0.02
]
COLOURS = np.array([[31 * n, 255 - 31 * n, 90] for n in range(8)], dtype=np.uint8)  # (N, 3), all different


def made(said: Sequence[tuple[int, tuple[float, ...]]] = SAID, classes: tuple[str, ...] = CLASSES) -> Predictions:
    labels = np.array([label for label, _ in said], dtype=np.int64)
    logits = np.log(np.array([shares for _, shares in said])).astype(np.float32)
    return Predictions(logits, labels, 100 + 10 * np.arange(len(said)), classes, "test", "zoo")


def image_set(labels: NDArray[np.int64] | None = None, split: str = "test", source: str = "zoo") -> ImageSet:
    """Images of one colour each; those of `made` are rows 100, 110, ..., 170."""
    every = np.zeros(200, dtype=np.int64)
    every[100:180:10] = [label for label, _ in SAID] if labels is None else labels
    pixels = np.zeros((200, 4, 4, 3), dtype=np.uint8)
    pixels[100:180:10] = COLOURS[:, None, None]
    store = ImageStore(pixels, every, [f"{split}/<{row}>.png" for row in range(200)], CLASSES, source)
    return ImageSet(store, np.arange(90, 190), split)


def alike(index: list[int]) -> LookAlikes:
    """Each image with itself, and with image 100."""
    images = image_set()[index]
    position = np.array([[row - 90, 10] for row in index], dtype=np.int64)
    similarity = np.array([[1.0, 0.123]] * len(index), dtype=np.float32)
    return LookAlikes(images, image_set(split="train"), Neighbours(position, similarity))


def colours_in(picture: Image.Image) -> set[tuple[int, ...]]:
    return {tuple(colour) for colour in np.unique(np.asarray(picture).reshape(-1, 3), axis=0).tolist()}


def test_the_most_confident_mistakes_come_surest_first_and_equals_in_their_order() -> None:
    found = mistakes(made()).most_confident(4)
    assert found.position.tolist() == [7, 5, 1, 6]
    assert found.index.tolist() == [170, 150, 110, 160]
    assert np.allclose(found.confidence, [0.96, 0.8, 0.7, 0.7])
    assert np.allclose(found.loss, -np.log([0.02, 0.05, 0.2, 0.2]), rtol=1e-6)
    assert found.labels.tolist() == [2, 0, 0, 0]
    assert found.predicted.tolist() == [1, 2, 1, 1]
    assert mistakes(made()).most_confident(None).position.tolist() == [7, 5, 1, 6, 2]
    assert mistakes(made()).most_confident(0).position.tolist() == []


def test_confidence_keeps_an_order_where_float32_has_none_left() -> None:
    logits = np.array([[20, 0], [25, 0], [22, 0]], dtype=np.float32)
    sure = Predictions(logits, np.ones(3, dtype=np.int64), np.arange(3), ("cat", "dog"), "test", "zoo")
    assert (sure.probabilities[:, 0] == 1).all()
    assert mistakes(sure).most_confident().position.tolist() == [1, 2, 0]


def test_the_largest_losses_can_be_of_right_answers() -> None:
    found = mistakes(made()).top_losses(6)
    assert found.position.tolist() == [7, 5, 1, 6, 2, 3]
    assert found[-1].given == found[-1].predicted == "dog"


def test_the_least_certain_right_answers() -> None:
    found = mistakes(made()).least_certain_correct(2)
    assert found.position.tolist() == [3, 4]
    assert np.allclose(found.confidence, [0.4, 0.8])


def test_lists_of_a_class_and_of_a_pair() -> None:
    every = mistakes(made())
    assert every.of_class("cat").position.tolist() == [5, 1, 6]
    assert every.of_class("cat", 1).position.tolist() == [5]
    assert every.taken_for("dog").position.tolist() == [7, 1, 6]
    assert every.pair("cat", "dog").position.tolist() == [1, 6]
    assert every.pair("dog", "owl").position.tolist() == []


def test_pairs_count_both_directions() -> None:
    pairs = mistakes(made()).pairs()
    assert [(pair.first, pair.second, pair.count) for pair in pairs] == [
        ("cat", "dog", 3),
        ("cat", "owl", 1),
        ("owl", "dog", 1),
    ]
    assert pairs[0].there.position.tolist() == [1, 6]
    assert pairs[0].back.position.tolist() == [2]
    assert pairs[0].there_share is not None
    assert (pairs[0].there_share.value, pairs[0].there_share.n) == (2 / 4, 4)
    assert pairs[0].back_share is not None
    assert (pairs[0].back_share.value, pairs[0].back_share.n) == (1 / 2, 2)
    assert repr(pairs[2]).startswith("owl taken for dog: 1 (50.0% [")
    assert [pair.count for pair in mistakes(made()).pairs(1)] == [3]


def test_a_class_without_images_has_no_share() -> None:
    (pair,) = mistakes(made([(0, (0.1, 0.9)), (0, (0.8, 0.2))], ("cat", "dog"))).pairs()
    assert pair.back_share is None
    assert repr(pair).endswith("dog for cat: 0 (no images)")


def test_pairs_that_tie_stand_in_the_order_of_the_classes() -> None:
    there_and_back = [(2, (0.1, 0.7, 0.2)), (1, (0.1, 0.2, 0.7)), (1, (0.8, 0.1, 0.1)), (0, (0.1, 0.8, 0.1))]
    found = mistakes(made(there_and_back)).pairs()
    assert [(pair.first, pair.second, pair.count) for pair in found] == [("cat", "dog", 2), ("dog", "owl", 2)]


@given(st.data())
def test_lists_agree_with_a_plain_sort(data: st.DataObject) -> None:
    k = data.draw(st.integers(2, 4))
    # Few different logits: many ties.
    rows = data.draw(st.lists(st.tuples(st.integers(0, k - 1), *[st.integers(0, 3)] * k), min_size=1, max_size=30))
    logits = np.array([row[1:] for row in rows], dtype=np.float32)
    labels = np.array([row[0] for row in rows], dtype=np.int64)
    every = mistakes(Predictions(logits, labels, np.arange(len(rows)), tuple("abcd"[:k]), "test", "zoo"))
    wrong = [place for place in range(len(rows)) if logits[place].argmax() != labels[place]]
    assert len(every) == len(wrong)
    shares = np.exp(logits.astype(np.float64))
    shares /= shares.sum(axis=1, keepdims=True)
    sure, own = shares.max(axis=1), shares[np.arange(len(rows)), labels]
    right = sorted(set(range(len(rows))) - set(wrong))
    for found, places, falling in (
        (every.most_confident(None), wrong, sure),
        (every.least_certain_correct(None), right, -sure),
        (every.top_losses(None), list(range(len(rows))), -own),
    ):
        order = found.position
        assert sorted(order.tolist()) == places
        assert (np.diff(falling[order]) <= 1e-12).all()
        assert np.allclose(found.confidence, sure[order])
        assert np.allclose(found.loss, -np.log(own[order]))
        same = (logits[order[1:]] == logits[order[:-1]]).all(axis=1) & (labels[order[1:]] == labels[order[:-1]])
        assert (np.diff(order)[same] > 0).all()
    for one in (every.of_class, every.taken_for):
        assert sorted(np.concatenate([one(name).position for name in "abcd"[:k]]).tolist()) == wrong
    counts = [pair.count for pair in every.pairs(None)]
    assert sum(counts) == len(wrong)
    assert counts == sorted(counts, reverse=True)
    assert all(len(pair.there) >= len(pair.back) for pair in every.pairs(None))


def test_examples_are_a_sequence() -> None:
    found = mistakes(made()).most_confident()
    assert len(found) == 5
    first = found[0]
    assert (first.index, first.position, first.given, first.predicted) == (170, 7, "owl", "dog")
    assert first.confidence == pytest.approx(0.96)
    assert first.loss == pytest.approx(-np.log(0.02))
    assert found[-1].position == 2
    assert [example.position for example in found] == [7, 5, 1, 6, 2]
    assert found[1:3].position.tolist() == [5, 1]
    assert found[[2, 0]].position.tolist() == [1, 7]
    assert found[found.labels == 0].position.tolist() == [5, 1, 6]
    assert found[[]].position.tolist() == []
    with pytest.raises(IndexError):
        found[5]


def test_examples_lead_back_to_their_files() -> None:
    found = mistakes(made()).most_confident(2)
    assert found.files(image_set()) == ["test/<170>.png", "test/<150>.png"]
    assert found.among(image_set()).labels.tolist() == [2, 0]


@pytest.mark.parametrize(
    ("images", "cause"),
    [
        (image_set(split="train"), "of the test split of zoo, and not of ImageSet"),
        (image_set(source="farm"), "of the test split of zoo, and not of ImageSet"),
        (image_set().take(range(5)), "source image 170 is not in the test split"),
        (image_set(labels=np.zeros(8, dtype=np.int64)), "image 170 of zoo has another label"),
    ],
)
def test_another_set_is_refused(images: ImageSet, cause: str) -> None:
    with pytest.raises(DataError, match=cause):
        mistakes(made()).most_confident(2).show(images)


def test_a_list_prints_as_a_table() -> None:
    found = mistakes(made())
    assert repr(found) == "Mistakes(zoo test: 5 of 8 images)"
    assert repr(found.most_confident(2)).splitlines() == [
        "zoo test, most confident mistakes: 2 images",
        "  row  given  predicted  confidence  loss",
        "  170  owl    dog        0.960       3.91",
        "  150  cat    owl        0.800       3.00",
    ]
    assert repr(found.pair("dog", "owl")) == "zoo test, dog taken for owl: 0 images"
    assert repr(found.most_confident(1)).startswith("zoo test, most confident mistakes: 1 image\n")


def test_a_long_list_is_cut_in_print_only() -> None:
    found = mistakes(made(SAID * 5)).most_confident(None)
    assert len(found) == 25
    assert len(repr(found).splitlines()) == 23
    assert repr(found).endswith("\n  ... and 5 more")


def test_a_gallery_prints_files_and_look_alikes() -> None:
    found = mistakes(made()).most_confident(2)
    plain = repr(found.show(image_set())).splitlines()
    assert plain[2] == "  test/<170>.png  owl    dog        0.960       3.91"
    with_others = repr(found.show(image_set(), alike([170, 150]))).splitlines()
    assert with_others[1].endswith("loss  looks like")
    assert with_others[2].endswith("3.91  owl, same pixels, cat 0.12")
    assert repr(found[:0].show(image_set())) == "zoo test, most confident mistakes: 0 images"


def test_a_gallery_in_a_notebook_holds_every_picture_and_escapes_names() -> None:
    page = mistakes(made()).most_confident(2).show(image_set(), alike([170, 150]))._repr_html_()
    shown = []
    for data in re.findall(r'src="data:image/png;base64,([^"]+)"', page):
        picture = Image.open(io.BytesIO(base64.b64decode(data)))
        assert picture.size == (4, 4)
        (colour,) = colours_in(picture)
        shown.append(colour)
    colours = [tuple(colour) for colour in COLOURS.tolist()]
    assert shown == [colours[7], colours[7], colours[0], colours[5], colours[5], colours[0]]
    assert "test/&lt;170&gt;.png" in page
    assert "<170>" not in page
    assert "<b>dog</b> 96.0%<br>is owl" in page


def test_a_gallery_of_grey_and_of_large_images() -> None:
    pixels = np.random.default_rng(0).integers(256, size=(8, 300, 150, 1), dtype=np.uint8)
    labels = np.array([label for label, _ in SAID])
    store = ImageStore(pixels, labels, [f"{row}.png" for row in range(8)], CLASSES, "zoo")
    predictions = dataclasses.replace(made(), index=np.arange(8))
    page = mistakes(predictions).most_confident(1).show(ImageSet(store, np.arange(8), "test"))._repr_html_()
    (data,) = re.findall(r'base64,([^"]+)"', page)
    assert Image.open(io.BytesIO(base64.b64decode(data))).size == (56, 112)


def test_a_sheet_is_a_grid_or_a_row_an_example() -> None:
    found = mistakes(made()).most_confident(3)
    colours = [tuple(colour) for colour in COLOURS.tolist()]
    grid = found.show(image_set()).sheet(columns=2, edge=16)
    assert grid.width == 2 * (16 + 6) + 6
    assert {colours[7], colours[5], colours[1]} <= colours_in(grid)
    assert colours[0] not in colours_in(grid)
    rows = found.show(image_set(), alike([170, 150, 110])).sheet(edge=16)
    assert rows.width == 3 * (16 + 6) + 6
    assert {colours[7], colours[5], colours[1], colours[0]} <= colours_in(rows)


def test_a_sheet_of_nothing_is_refused() -> None:
    with pytest.raises(DataError, match="no image to draw: zoo test, dog taken for owl"):
        mistakes(made()).pair("dog", "owl").show(image_set()).sheet()


def test_look_alikes_of_other_images_are_refused() -> None:
    with pytest.raises(DataError, match="of other images than these 2"):
        mistakes(made()).most_confident(2).show(image_set(), alike([150, 170]))


@pytest.mark.parametrize("ask", ["of_class", "taken_for"])
def test_an_unknown_class_is_refused(ask: str) -> None:
    with pytest.raises(DataError, match=r"zoo has no class 'catt'\.\nDid you mean 'cat'"):
        getattr(mistakes(made()), ask)("catt")


def test_a_pair_of_one_class_is_refused() -> None:
    with pytest.raises(DataError, match="cat taken for cat is no mistake"):
        mistakes(made()).pair("cat", "cat")


def test_a_negative_count_is_refused() -> None:
    with pytest.raises(DataError, match="a list of -1 examples"):
        mistakes(made()).most_confident(-1)


def test_logits_that_are_not_finite_are_refused() -> None:
    broken = made()
    broken.logits[3, 1] = np.nan
    with pytest.raises(DataError, match="not finite, first for source image 130"):
        mistakes(broken)
