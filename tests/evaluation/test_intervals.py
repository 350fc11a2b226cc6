from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest
from sklearn.metrics import precision_recall_fscore_support

from eyebright.core.errors import DataError
from eyebright.evaluation.intervals import (
    bootstrap_score,
    difference,
    proportion,
    resample_cells,
    resample_means,
    wilson,
)
from eyebright.evaluation.metrics import macro_averages


@given(st.integers(1, 100_000), st.data())
def test_wilson_is_scipys(n: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(0, n))
    expected = binomtest(k, n).proportion_ci(method="wilson")
    assert np.allclose(wilson(k, n), (expected.low, expected.high), rtol=0, atol=1e-12)


def test_wilson_of_arrays_holds_the_share_even_at_the_ends() -> None:
    n = np.array([1, 2, 3, 7, 1000, 99_999])
    for k in (np.zeros_like(n), n, n // 2):
        low, high = wilson(k, n)
        assert ((low >= 0) & (low <= k / n) & (k / n <= high) & (high <= 1) & (low < high)).all()


def test_wilson_covers_95_percent_of_samples() -> None:
    # Summed over every possible outcome, so nothing is left to chance.
    n, shares = 200, np.linspace(0.05, 0.95, 19)
    outcomes = np.arange(n + 1)
    low, high = wilson(outcomes, np.full(n + 1, n))
    covered = [binom.pmf(outcomes, n, share)[(low <= share) & (share <= high)].sum() for share in shares]
    assert np.mean(covered) == pytest.approx(0.95, abs=0.005)
    assert min(covered) > 0.92


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (3, 2), (-1, 5), ([1, 0], [2, 0])])
def test_wilson_refuses_impossible_counts(successes: int | list[int], n: int | list[int]) -> None:
    with pytest.raises(DataError, match="at least one image"):
        wilson(successes, n)


def test_proportion() -> None:
    score = proportion(9412, 10_000)
    assert str(score) == "0.941 [0.936, 0.946] n=10000"
    assert score.method == "wilson"


def test_difference_is_newcombes() -> None:
    # Newcombe 1998, table II, method 10: (a) 56/70 - 48/80 and (g) 10/10 - 0/20.
    assert difference(proportion(56, 70), proportion(48, 80)) == pytest.approx((0.0524, 0.3339), abs=5e-5)
    assert difference(proportion(10, 10), proportion(0, 20)) == pytest.approx((0.6791, 1.0), abs=5e-5)


def test_resampled_cells_are_the_sums_of_one_matrix() -> None:
    matrix = np.array([[40, 5, 0], [3, 30, 2], [0, 0, 0]])
    correct, given_, predicted = resample_cells(matrix, 500, np.random.default_rng(0))
    assert correct.shape == given_.shape == predicted.shape == (500, 3)
    assert (given_.sum(axis=1) == 80).all()
    assert (predicted.sum(axis=1) == 80).all()
    assert (correct <= np.minimum(given_, predicted)).all()
    assert (given_[:, 2] == 0).all()  # a class without images cannot be drawn
    for drawn, expected in ((correct, [40, 30, 0]), (given_, [45, 35, 0]), (predicted, [43, 35, 2])):
        assert np.allclose(drawn.mean(axis=0), expected, atol=0.7)  # 3 standard errors


def test_cells_give_the_same_interval_as_images() -> None:
    generator = np.random.default_rng(1)
    labels = generator.integers(3, size=120)
    predicted = np.where(generator.random(120) < 0.7, labels, generator.integers(3, size=120))
    brute = []
    for _ in range(1000):
        rows = generator.integers(120, size=120)
        given_, said = labels[rows], predicted[rows]
        brute.append(precision_recall_fscore_support(given_, said, average="macro", zero_division=0)[:3])
    matrix = np.bincount(labels * 3 + predicted, minlength=9).reshape(3, 3)
    fast = macro_averages(*resample_cells(matrix, 20_000, generator))
    for images, cells in zip(np.array(brute).T, fast, strict=True):
        levels = [0.025, 0.25, 0.5, 0.75, 0.975]
        assert np.allclose(np.quantile(images, levels), np.quantile(cells, levels), atol=0.015)  # the interval: 0.17


def test_resampled_means_have_the_standard_error_of_a_mean() -> None:
    values = np.random.default_rng(2).exponential(size=(400, 2)) * [1.0, 5.0]
    means = resample_means(values, 20_000, np.random.default_rng(3))
    assert means.shape == (20_000, 2)
    assert np.allclose(means.mean(axis=0), values.mean(axis=0), rtol=0.005)
    assert np.allclose(means.std(axis=0), values.std(axis=0) / np.sqrt(400), rtol=0.03)


def test_resampled_means_keep_an_images_values_together() -> None:
    values = np.random.default_rng(4).normal(size=(50, 1))
    means = resample_means(np.hstack([values, 2 * values]), 100, np.random.default_rng(5))
    assert np.allclose(means[:, 1], 2 * means[:, 0])


@pytest.mark.parametrize("draws", [1, 7, 50])
def test_chunks_do_not_change_the_draws(draws: int, monkeypatch: pytest.MonkeyPatch) -> None:
    values, matrix = np.random.default_rng(6).normal(size=(30, 3)), np.array([[9, 1], [2, 8]])
    whole = [resample_means(values, draws, np.random.default_rng(7)), *resample_cells(matrix, draws, _seeded())]
    monkeypatch.setattr("eyebright.evaluation.intervals._CHUNK", 100)
    cut = [resample_means(values, draws, np.random.default_rng(7)), *resample_cells(matrix, draws, _seeded())]
    assert all(np.allclose(one, other) for one, other in zip(whole, cut, strict=True))


def test_bootstrap_of_a_mean_covers_about_95_percent() -> None:
    generator = np.random.default_rng(8)
    held = 0
    for _ in range(300):
        sample = generator.exponential(size=(100, 1))
        score = bootstrap_score(float(sample.mean()), resample_means(sample, 300, generator)[:, 0], 100)
        held += score.low <= 1.0 <= score.high
    assert 0.90 <= held / 300 <= 0.98


def test_bootstrap_score_always_holds_its_value() -> None:
    assert bootstrap_score(0.5, np.array([0.6, 0.7]), 3).low == 0.5
    assert bootstrap_score(0.5, np.array([0.1, 0.2]), 3).high == 0.5


def _seeded() -> np.random.Generator:
    return np.random.default_rng(9)
