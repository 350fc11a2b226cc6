from __future__ import annotations

import sys
import types
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from eyebright.core.errors import DataError, EyebrightError, MissingExtraError
from eyebright.evaluation.predictions import Predictions
from eyebright.insight import embedding as module
from eyebright.insight.embedding import METHODS, Embedding, embed


def drawn(count: int = 60, features: int = 7, seed: int = 0) -> NDArray[np.float32]:
    """Features with a spread of their own along each axis, turned into no axis in particular."""
    generator = np.random.default_rng(seed)
    turned, _ = np.linalg.qr(generator.normal(size=(features, features)))
    spread = 2.0 ** -np.arange(features)
    values: NDArray[np.float64] = (generator.normal(size=(count, features)) * spread) @ turned + 3
    return values.astype(np.float32)


def predictions(labels: NDArray[np.int64], wrong: int = 0, k: int = 3) -> Predictions:
    """Predictions of which the first `wrong` are."""
    said = labels.copy()
    said[:wrong] = (said[:wrong] + 1) % k
    logits = np.eye(k, dtype=np.float32)[said]
    names = tuple(rf"$\wrong{position}$" for position in range(k))  # no formula, though it looks like a bad one
    return Predictions(logits, labels, np.arange(len(labels)), names, "test", "zoo")


def test_pca_by_hand() -> None:
    """Points on a line in the direction (3, 4) / 5, at -10, 0, 0 and 10."""
    line = np.array([[-6, -8], [0, 0], [0, 0], [6, 8]], dtype=np.float32) + 100
    found = embed(line)
    assert np.allclose(found.points, [[-10, 0], [0, 0], [0, 0], [10, 0]], atol=1e-5)
    assert found.points.dtype == np.float32
    assert found.explained == pytest.approx((1, 0))
    assert repr(found) == "Embedding(4 points by PCA with 100% of the variance)"


def test_pca_is_the_singular_value_decomposition_with_a_fixed_sign() -> None:
    features = drawn()
    _, singular, axes = np.linalg.svd(features.astype(np.float64) - features.mean(axis=0, dtype=np.float64))
    axes = np.stack([axis * np.sign(axis[np.abs(axis).argmax()]) for axis in axes[:2]])
    found = embed(features)
    assert np.allclose(found.points, (features - features.mean(axis=0)) @ axes.T, atol=1e-5)
    assert found.explained == pytest.approx(tuple(singular[:2] ** 2 / (singular**2).sum()))


def test_pca_does_not_depend_on_the_order_of_the_images() -> None:
    features = drawn()
    order = np.random.default_rng(1).permutation(len(features))
    assert np.allclose(embed(features[order]).points, embed(features).points[order], atol=1e-5)


def test_more_features_than_pca_takes_exactly_come_close(monkeypatch: pytest.MonkeyPatch) -> None:
    features = np.random.default_rng(0).normal(size=(501, 60)).astype(np.float32)  # from 501 images on it projects
    features[:, :2] *= (2.5, 2)
    exact = embed(features)
    monkeypatch.setattr(module, "_EXACT_FEATURES", 59)
    found = embed(features)
    assert not np.array_equal(found.points, exact.points)
    assert np.allclose(found.points, exact.points, atol=0.05)
    assert found.explained == pytest.approx(exact.explained, rel=1e-3)


@pytest.mark.parametrize("count", [2, 3])
def test_one_feature_has_one_axis(count: int) -> None:
    found = embed(np.arange(count, dtype=np.float32)[:, None])
    assert np.allclose(found.points, np.stack([np.arange(count) - (count - 1) / 2, np.zeros(count)], axis=1))
    assert found.explained == pytest.approx((1, 0))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("count", [1, 40])
def test_equal_features_coincide(method: str, count: int) -> None:
    found = embed(np.full((count, 5), 0.1, dtype=np.float32), method)
    assert found.points.tolist() == [[0, 0]] * count
    assert found.explained == ((0, 0) if method == "pca" else None)


def test_tsne_keeps_clusters_apart_and_repeats() -> None:
    features = drawn(90, 60)
    features[::3] += 20
    features[1::3] -= 20
    found = embed(features, "tsne", seed=4)
    assert np.array_equal(found.points, embed(features, "tsne", seed=4).points)
    assert found.points.shape == (90, 2)
    assert repr(found) == "Embedding(90 points by t-SNE)"
    clusters = found.points.reshape(30, 3, 2)
    middles = clusters.mean(axis=0)
    radius = np.linalg.norm(clusters - middles, axis=2).max()
    apart = min(float(np.linalg.norm(middles[a] - middles[b])) for a, b in ((0, 1), (0, 2), (1, 2)))
    assert apart > 2 * radius


@pytest.mark.parametrize("count", [2, 3, 5])
def test_tsne_lays_out_few_images(count: int) -> None:
    found = embed(drawn(count), "tsne")
    assert found.points.shape == (count, 2)
    assert np.isfinite(found.points).all()


def test_umap_that_is_not_installed_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(MissingExtraError, match=r"'umap-learn'(.|\n)*pip install 'eyebright\[insight\]'"):
        embed(drawn(), "umap")


def test_umap_is_told_to_repeat(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the library is asked for; it takes minutes to install, so most machines that test have none."""
    asked: dict[str, Any] = {}

    class Fake:
        def __init__(self, **options: Any) -> None:
            asked.update(options)

        def fit_transform(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
            return features[:, :2].astype(np.float64)

    library: Any = types.ModuleType("umap")
    library.UMAP = Fake
    monkeypatch.setitem(sys.modules, "umap", library)
    features = drawn()
    found = embed(features, "umap", seed=3)
    assert asked == {"n_neighbors": 15, "random_state": 3, "n_jobs": 1}
    assert np.array_equal(found.points, features[:, :2])
    assert found.points.dtype == np.float32
    assert (found.method, found.explained) == ("umap", None)
    with pytest.raises(DataError, match="cannot find 15 neighbours among 15 images"):
        embed(features[:15], "umap")


def test_umap_keeps_clusters_apart_and_repeats() -> None:
    pytest.importorskip("umap", exc_type=ImportError)
    features = drawn(60)
    features[::2] += 20
    found = embed(features, "umap", seed=4)
    assert np.array_equal(found.points, embed(features, "umap", seed=4).points)
    clusters = found.points.reshape(30, 2, 2)
    middles = clusters.mean(axis=0)
    assert np.linalg.norm(middles[0] - middles[1]) > 2 * np.linalg.norm(clusters - middles, axis=2).max()


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(EyebrightError, match=r"no embedding 'tsn'\.\nDid you mean 'tsne'"):
        embed(drawn(), "tsn")


@pytest.mark.parametrize("features", [np.zeros(3), np.zeros((0, 3)), np.zeros((3, 0)), np.array([[1, 2], [np.nan, 1]])])
def test_what_is_no_features_is_refused(features: NDArray[np.float32]) -> None:
    with pytest.raises(DataError, match="are not rows"):
        embed(features)


def pixels(embedding: Embedding, made: Predictions) -> NDArray[np.uint8]:
    picture = embedding.picture(made)
    assert picture.mode == "RGB"
    return np.asarray(picture)


def test_the_picture_has_a_colour_a_class_and_crosses_for_mistakes() -> None:
    labels = np.arange(60) % 3
    embedding = embed(drawn())
    right, wrong = pixels(embedding, predictions(labels)), pixels(embedding, predictions(labels, wrong=9))
    assert right.shape == wrong.shape
    for page in (right, wrong):
        for colour in ((31, 119, 180), (255, 127, 14), (44, 160, 44)):  # the first three of Matplotlib's tab10
            assert (page == colour).all(axis=2).any()
    ink = [(page.max(axis=2) < 60).sum() for page in (right[150:850], wrong[150:850])]  # without title and legend
    assert ink[0] == 0
    assert ink[1] > 9  # the outlines of the crosses


@pytest.mark.parametrize("k", [11, 25])
def test_many_classes_are_drawn(k: int) -> None:
    labels = np.arange(60) % k
    page = pixels(embed(drawn()), predictions(labels, wrong=60, k=k)).astype(np.int64)
    colours, times = np.unique(page @ (1 << 16, 1 << 8, 1), return_counts=True)
    assert (times > 9).sum() > k  # every cross is filled with its colour
    assert len(colours) < page[..., 0].size


def test_predictions_of_other_images_are_refused() -> None:
    with pytest.raises(DataError, match="60 points and predictions of 59 images"):
        embed(drawn()).picture(predictions(np.arange(59) % 3))


def test_a_picture_without_matplotlib_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"eyebright\[report\]"):
        embed(drawn()).picture(predictions(np.arange(60) % 3))


def test_one_feature_is_enough_for_t_sne() -> None:
    features = np.random.default_rng(0).normal(size=(20, 1)).astype(np.float32)
    points = embed(features, "tsne").points
    assert points.shape == (20, 2)
    assert np.isfinite(points).all()
