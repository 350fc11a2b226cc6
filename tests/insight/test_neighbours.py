from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import ArrayLike, NDArray
from torch import nn

from eyebright.core.device import choose
from eyebright.core.errors import DataError, ModelError
from eyebright.core.input_spec import InputSpec
from eyebright.core.settings.model import MLPSettings, ModelSettings
from eyebright.data.image_set import ImageSet, ImageStore
from eyebright.evaluation.predict import predict
from eyebright.insight import neighbours as module
from eyebright.insight.neighbours import features, look_alikes, nearest
from eyebright.models import registry
from eyebright.models.classifier import Classifier

CLASSES = ("cat", "dog", "owl")
PLAN = choose(device="cpu", precision="fp32", threads=1)


def image_set(number: int = 40, split: str = "train", seed: int = 0, size: int = 16) -> ImageSet:
    generator = np.random.default_rng(seed)
    pixels = generator.integers(256, size=(number, size, size, 3), dtype=np.uint8)
    names = [f"{split}/{row}.png" for row in range(number)]
    store = ImageStore(pixels, generator.integers(3, size=number), names, CLASSES, "made up")
    return ImageSet(store, np.arange(number), split)


def classifier() -> Classifier:
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.5), nn.Flatten())
    spec = InputSpec(16, 16, 3, (0.5, 0.4, 0.3), (0.2, 0.2, 0.2), CLASSES)
    return Classifier(body, nn.Linear(8 * 7 * 7, 3), spec, MLPSettings())


def rows(values: Any) -> NDArray[np.float32]:
    return np.array(values, dtype=np.float32)


@pytest.mark.parametrize("batch_size", [1, 7, 500])
def test_features_are_what_goes_into_the_head(batch_size: int) -> None:
    model, images = classifier().train(), image_set().take([5, 3, 11, 0, 39, 2, 8])
    told: list[tuple[str, int, int]] = []
    found = features(
        model, images, batch_size=batch_size, plan=PLAN, progress=lambda what, done, of: told.append((what, done, of))
    )
    assert found.shape == (7, 8 * 7 * 7)
    assert found.dtype == np.float32
    assert model.training
    with torch.no_grad():
        logits = model.head(torch.from_numpy(found)).numpy()
    assert np.allclose(logits, predict(model, images, plan=PLAN).logits, atol=1e-5)
    assert told[-1] == ("features train", 7, 7)


@pytest.mark.parametrize("settings", registry.example_settings(), ids=registry.names())
def test_every_model_has_features(settings: ModelSettings) -> None:
    spec = InputSpec(16, 16, 3, (0.5, 0.4, 0.3), (0.2, 0.2, 0.2), CLASSES)
    model = registry.build(settings, spec)
    assert isinstance(model.head, nn.Linear)
    images = image_set(3)
    found = features(model, images, plan=PLAN)
    assert found.shape == (3, model.head.in_features)
    # Whatever the network, each image is most similar to itself.
    assert nearest(found, found, 1).position[:, 0].tolist() == [0, 1, 2]


def test_features_of_no_images_or_of_another_size_are_refused() -> None:
    with pytest.raises(DataError, match="the train split of made up is empty"):
        features(classifier(), image_set().take([]))
    with pytest.raises(ModelError, match="takes images"):
        features(classifier(), image_set(size=15), plan=PLAN)


def test_nearest_by_hand() -> None:
    reference = rows([[0, 5], [3, 0], [2, 2], [-1, 0], [3, 4]])
    found = nearest(rows([[10, 0], [0.3, 0.4]]), reference, 3)
    assert found.position.tolist() == [[1, 2, 4], [4, 2, 0]]
    assert np.allclose(found.similarity, [[1, np.sqrt(0.5), 0.6], [1, 1.4 * np.sqrt(0.5), 0.8]])
    assert found.position.dtype == np.int64
    assert found.similarity.dtype == np.float32
    assert nearest(rows([[1, 0]]), reference, 5).position.tolist() == [[1, 2, 4, 0, 3]]


@given(st.data())
def test_nearest_is_the_exact_order_of_all_pairs(data: st.DataObject) -> None:
    """Small whole numbers: cosines compare as fractions, and many of them tie."""
    small = hnp.arrays(np.float32, st.tuples(st.integers(1, 9), st.just(3)), elements=st.sampled_from([-1, 0, 1, 2]))
    query, reference = data.draw(small), data.draw(small)
    k = data.draw(st.integers(1, len(reference)))

    def cosine(a: NDArray[np.float32], b: NDArray[np.float32]) -> Fraction:
        """With its sign, squared: it keeps the order."""
        a_empty, b_empty = not a.any(), not b.any()
        if a_empty or b_empty:
            return Fraction(int(a_empty and b_empty))
        dot = int(a @ b)
        return Fraction(dot * abs(dot), int(a @ a) * int(b @ b))

    cosines = [[cosine(row, other) for other in reference] for row in query]
    wanted = [sorted(range(len(reference)), key=lambda place: -row[place])[:k] for row in cosines]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_QUERIES", data.draw(st.integers(1, 9)))
        patch.setattr(module, "_REFERENCES", data.draw(st.integers(1, 9)))
        found = nearest(query, reference, k)
    assert found.position.tolist() == wanted
    exact = [[float(row[place]) for place in places] for row, places in zip(cosines, wanted, strict=True)]
    signed = np.array(exact)
    assert np.allclose(found.similarity, np.sign(signed) * np.sqrt(np.abs(signed)), atol=1e-7)


def test_blocks_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(1)
    query, reference = generator.random((50, 33), np.float32), generator.random((500, 33), np.float32)
    reference[[400, 499]] = reference[17]  # ties across blocks
    whole = nearest(query, reference, 20)
    unit = [
        x.astype(np.float64) / np.linalg.norm(x.astype(np.float64), axis=1, keepdims=True) for x in (query, reference)
    ]
    assert np.array_equal(whole.position, np.argsort(-(unit[0] @ unit[1].T).round(9), axis=1, kind="stable")[:, :20])
    monkeypatch.setattr(module, "_QUERIES", 7)
    monkeypatch.setattr(module, "_REFERENCES", 64)
    parts = nearest(query, reference, 20)
    assert np.array_equal(whole.position, parts.position)
    assert np.array_equal(whole.similarity, parts.similarity)


def test_no_more_than_a_block_is_compared_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    directions = module._directions

    def watched(block: NDArray[np.float32]) -> torch.Tensor:
        sizes.append(len(block))
        return directions(block)

    monkeypatch.setattr(module, "_directions", watched)
    nearest(np.ones((1500, 2), np.float32), np.ones((9000, 2), np.float32), 1)
    assert sizes == [1024, 4096, 4096, 808, 476, 4096, 4096, 808]


def test_features_that_differ_by_a_rounding_are_the_same() -> None:
    """As those of one image are that come from batches of different sizes."""
    row = np.random.default_rng(2).random(512, np.float32)
    reference = np.stack([1 - row, row * np.float32(1 + 1e-6), row])
    found = nearest(row[None], reference, 2)
    assert found.position.tolist() == [[1, 2]]
    assert found.similarity.tolist() == [[1, 1]]
    assert nearest(row[None], reference, 1, skip_identical=True).position.tolist() == [[0]]


def test_rows_of_zeros_are_alike_and_unlike_all_else() -> None:
    found = nearest(rows([[0, 0], [1, 1]]), rows([[1, 1], [0, 0], [-1, -1]]), 3)
    assert found.position.tolist() == [[1, 0, 2], [0, 1, 2]]
    assert found.similarity.tolist() == [[1, 0, 0], [1, 0, -1]]


def test_too_few_that_are_not_identical_is_refused() -> None:
    reference = rows([[1, 0], [2, 0], [0, 1]])
    with pytest.raises(DataError, match="fewer than k=2 references that are not identical"):
        nearest(rows([[3, 0]]), reference, 2, skip_identical=True)


@pytest.mark.parametrize(
    ("query", "reference", "k", "cause"),
    [
        ([[1, 2]], [[1, 2, 3]], 1, r"features \(1, 2\) cannot be compared with features \(1, 3\)"),
        ([1, 2], [[1, 2]], 1, "cannot be compared"),
        (np.zeros((0, 2)), [[1, 2]], 1, "cannot be compared"),
        ([[1, 2]], [[1, 2]], 2, "there are 1 references, and k=2"),
        ([[1, 2]], [[1, 2]], 0, "k=0 is asked for"),
        ([[1, np.nan]], [[1, 2]], 1, "the query holds features that are not finite"),
        ([[1, 2]], [[1, np.inf]], 1, "the reference holds features that are not finite"),
    ],
)
def test_what_cannot_be_compared_is_refused(query: ArrayLike, reference: ArrayLike, k: int, cause: str) -> None:
    with pytest.raises(DataError, match=cause):
        nearest(rows(query), rows(reference), k)


def test_look_alikes_show_duplicates_and_lead_back_to_their_images() -> None:
    model, reference = classifier(), image_set(40)
    images = image_set(6, "test", seed=3)
    images.store.pixels[4] = reference.images[33]  # type: ignore[index]  # an array, as made above
    reference = reference.take(np.arange(39, -1, -1))  # rows are not positions
    found = look_alikes(model, images.take([2, 4]), reference, 3, plan=PLAN)
    assert found.index[1, 0] == 33
    assert found.neighbours.similarity[1, 0] == 1
    assert found.duplicate.tolist() == [[False] * 3, [True, False, False]]
    assert found.of(1).names[0] == "train/33.png"
    assert np.array_equal(found.of(1).images[0], images.images[4])
    assert np.array_equal(found.labels, reference.store.labels[found.index])
    name = CLASSES[reference.store.labels[33]]
    assert found.captions(1)[0] == f"{name}, same pixels"
    assert found.captions(0)[0] == f"{CLASSES[found.labels[0, 0]]} {found.neighbours.similarity[0, 0]:.2f}"
    assert repr(found) == "LookAlikes(2 images of test, each with 3 of made up train)"
    assert repr(found.neighbours) == "Neighbours(2 queries, 3 each)"


def test_look_alikes_within_one_set_can_leave_out_the_image_itself() -> None:
    model, images = classifier(), image_set(12)
    own = look_alikes(model, images, images, 2, plan=PLAN)
    assert own.neighbours.position[:, 0].tolist() == list(range(12))
    others = look_alikes(model, images, images, 1, skip_identical=True, plan=PLAN)
    assert others.neighbours.position[:, 0].tolist() == own.neighbours.position[:, 1].tolist()
    assert not others.duplicate.any()
