"""Two models on the same images, against published examples and a direct reading of the definitions."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.stats import multinomial, norm

from eyebright.audit.comparison import compare, compare_runs, exact_mcnemar, holm
from eyebright.core.errors import DataError, RunError
from eyebright.evaluation.intervals import paired_difference
from eyebright.evaluation.predictions import Predictions
from eyebright.training.run import Run
from tests.audit.conftest import Train, Trained, copied

Z = float(norm.ppf(0.975))
Counts = st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(0, 60)).filter(lambda counts: sum(counts) > 0)


def said(labels: list[int], predicted: list[int], classes: int = 3) -> Predictions:
    logits = np.zeros((len(labels), classes), dtype=np.float32)
    logits[np.arange(len(labels)), predicted] = 1
    names = ("cat", "dog", "owl")[:classes]
    rows = 100 + np.arange(len(labels))
    return Predictions(logits, np.array(labels, dtype=np.int64), rows, names, "test", "pets")


def test_the_interval_is_that_of_published_examples() -> None:
    # Fagerland, Lydersen and Laake 2014, airway reactivity of 21 children: -0.286 (-0.517, -0.026).
    found = paired_difference(1, 7, 21)
    assert (found.value, found.low, found.high) == pytest.approx((-0.286, -0.517, -0.026), abs=5e-4)
    assert (found.n, found.method) == (21, "tango")
    # Without a flip q is 0 and the equation n d = z^2 (1 - d).
    assert paired_difference(0, 0, 50).high == pytest.approx(Z**2 / (50 + Z**2), abs=1e-9)
    # With n flips of one kind, n (1 - d) = z^2 (1 + d).
    assert paired_difference(10, 0, 10).low == pytest.approx((10 - Z**2) / (10 + Z**2), abs=1e-9)
    assert paired_difference(10, 0, 10).high == 1


def score_statistic(gained: int, lost: int, n: int, d: float) -> float:
    """The score test of difference `d`, with the probability of a loss found by maximising the likelihood."""
    neither = n - gained - lost
    least, most = max(0.0, -d), (1 - d) / 2

    def surprise(q: float) -> float:
        terms = ((gained, q + d), (lost, q), (neither, 1 - 2 * q - d))
        return -sum(count * math.log(max(p, 1e-300)) for count, p in terms if count)

    q = float(minimize_scalar(surprise, bounds=(least, most), method="bounded", options={"xatol": 1e-12}).x)
    return (gained - lost - n * d) / math.sqrt(n * (2 * q + d - d**2))


@pytest.mark.parametrize(("gained", "lost", "n"), [(12, 3, 60), (3, 12, 60), (1, 0, 20), (40, 35, 300), (0, 5, 9)])
def test_the_ends_are_where_the_score_test_refuses(gained: int, lost: int, n: int) -> None:
    found = paired_difference(gained, lost, n)
    assert score_statistic(gained, lost, n, found.low) == pytest.approx(Z, abs=2e-3)
    assert score_statistic(gained, lost, n, found.high) == pytest.approx(-Z, abs=2e-3)


@given(Counts)
def test_it_mirrors_and_leaves_out_zero_exactly_when_mcnemars_asymptotic_test_does(
    counts: tuple[int, int, int],
) -> None:
    gained, lost, _ = counts
    n = sum(counts)
    found, mirrored = paired_difference(gained, lost, n), paired_difference(lost, gained, n)
    assert (mirrored.low, mirrored.high) == pytest.approx((-found.high, -found.low), abs=1e-7)
    assert -1 <= found.low < found.high <= 1
    statistic = (gained - lost) ** 2 / (gained + lost) if gained + lost else 0.0
    if abs(statistic - Z**2) > 1e-6:
        assert (found.low > 0 or found.high < 0) == (statistic > Z**2)


def test_it_covers_the_truth_in_95_of_100_samples() -> None:
    # Every sample of 40 images with its probability, for several truths; nothing is drawn.
    n, covered = 40, []
    tables = [(gained, lost, n - gained - lost) for gained in range(n + 1) for lost in range(n + 1 - gained)]
    ends = {table: paired_difference(table[0], table[1], n) for table in tables}
    for p in ((0.1, 0.1, 0.8), (0.25, 0.05, 0.7), (0.02, 0.01, 0.97), (0.3, 0.3, 0.4)):
        held = [table for table in tables if ends[table].low <= p[0] - p[1] <= ends[table].high]
        covered.append(float(multinomial.pmf(held, n, p).sum()))
    assert min(covered) > 0.93
    assert np.mean(covered) == pytest.approx(0.955, abs=0.015)


def test_mcnemar_is_the_binomial_sum() -> None:
    # 1 + 8 + 28 of 2^8 ways have at most two of eight flips on one side; twice, for both sides.
    assert exact_mcnemar(2, 6) == exact_mcnemar(6, 2) == pytest.approx(2 * 37 / 256)
    assert exact_mcnemar(0, 0) == exact_mcnemar(4, 4) == 1
    assert exact_mcnemar(0, 10) == pytest.approx(2 / 1024)


def test_holm_by_hand() -> None:
    # Sorted 0.01, 0.02, 0.03, 0.04: times 4, 3, 2, 1 and never falling.
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1, 1]
    assert holm([]) == []


def test_every_number_of_a_comparison() -> None:
    labels = [0, 0, 0, 0, 1, 1, 1, 1]
    first = said(labels, [0, 0, 1, 2, 1, 1, 0, 0])  # right: 0 1 - - 4 5 - -
    second = said(labels, [0, 1, 0, 0, 1, 1, 1, 2])  # right: 0 - 2 3 4 5 6 -
    found = compare(first, second)
    assert (found.first.value, found.second.value) == (4 / 8, 6 / 8)
    assert found.mended.tolist() == [102, 103, 106]
    assert found.broken.tolist() == [101]
    assert found.difference == paired_difference(3, 1, 8)
    assert found.p == pytest.approx(2 * 5 / 16)
    assert found.agreement.value == 3 / 8
    assert [row.name for row in found.classes] == ["cat", "dog"]  # no owls were asked about
    cat, dog = found.classes
    assert (cat.first.value, cat.second.value, cat.difference) == (2 / 4, 3 / 4, paired_difference(2, 1, 4))
    assert (dog.first.value, dog.second.value, dog.difference) == (2 / 4, 3 / 4, paired_difference(1, 0, 4))
    assert (cat.p, dog.p) == (1, 1)
    assert "3 mended, 1 broken" in repr(found)
    json.dumps(found.to_dict())


def test_a_class_that_changed_is_found_and_chance_is_not() -> None:
    labels = [0] * 30 + [1] * 30 + [2] * 30
    right = np.array(labels)
    worse = right.copy()
    worse[:15] = 1  # half of the cats
    worse[[40, 70]] = 0
    better = right.copy()
    better[[41, 71]] = 0
    found = compare(said(labels, worse.tolist()), said(labels, better.tolist()))
    p = {row.name: (row.p, row.adjusted) for row in found.classes}
    assert p["cat"] == pytest.approx((2 / 2**15, 6 / 2**15))
    assert {p["dog"], p["owl"]} == {(1.0, 1.0)}
    assert found.classes[0].difference.low > 0


def test_a_model_equals_itself() -> None:
    same = said([0, 1, 2, 0], [0, 1, 1, 0])
    found = compare(same, same)
    assert (found.difference.value, found.p, found.agreement.value) == (0, 1, 1)
    assert len(found.mended) == len(found.broken) == 0


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("source", "birds", "their source differs: pets and birds"),
        ("split", "validation", "their split differs: test and validation"),
        ("classes", ("cat", "dog", "fox"), "their classes differs: cat, dog, owl and cat, dog, fox"),
        ("index", np.array([100, 101, 103]), "3 and 3 test images of pets, 2 of them shared"),
        ("index", np.array([102, 101, 100]), "or in another order"),
        ("labels", np.array([0, 2, 1]), "2 images have other labels, the first is row 101"),
    ],
)
def test_other_images_are_refused(field: str, value: object, message: str) -> None:
    first = said([0, 1, 2], [0, 1, 2])
    with pytest.raises(DataError) as caught:
        compare(first, dataclasses.replace(first, **{field: value}))  # type: ignore[arg-type]
    assert message in caught.value.cause
    assert "data.split_seed" in caught.value.remedy


def test_nothing_is_not_compared() -> None:
    empty = said([], [])
    with pytest.raises(DataError, match="no predictions to compare"):
        compare(empty, empty)


def test_runs_side_by_side(healthy: Trained, train: Train) -> None:
    first, _ = healthy
    second, _ = train("digits/mlp", "epochs=1", "model.dropout=0.3")
    found = compare_runs(first, second)
    assert found.comparison.n == 360
    assert {setting.field: (setting.first, setting.second) for setting in found.settings} == {
        "model.dropout": (0.0, 0.3),
        "training.epochs": (5, 1),
    }
    assert [len(history) for history in found.histories] == [5, 1]
    gap = found.gaps[0]
    assert gap is not None
    assert gap.value == pytest.approx(first.scores["train"].accuracy.value - first.scores["validation"].accuracy.value)
    assert gap.low < gap.value < gap.high
    assert compare_runs(first, second, split="validation").comparison.n == 144
    json.dumps(found.to_dict())
    lines = repr(found).splitlines()
    assert lines[0].startswith("digits test, second minus first: ")
    assert lines[1] == f"  first   {first.path}"
    assert lines[2].startswith(f"          {found.comparison.first}; training {gap.value:+.3f} [")
    assert lines[-2:] == ["  model.dropout: 0.0 -> 0.3", "  training.epochs: 5 -> 1"]


def test_a_run_that_was_not_judged_says_what_to_do(healthy: Trained, tmp_path: Path) -> None:
    first, _ = healthy
    other = copied(first, tmp_path / "other")
    (other.path / "predictions" / "test.safetensors").unlink()
    with pytest.raises(RunError) as caught:
        compare_runs(first, other)
    assert "has no predictions of test images" in caught.value.cause
    assert "eyebright evaluate" in caught.value.remedy


def test_runs_that_were_divided_otherwise_are_refused(healthy: Trained, train: Train) -> None:
    other: Run
    other, _ = train("digits/mlp", "epochs=1", "data.split_seed=1")
    with pytest.raises(DataError, match="of other images"):
        compare_runs(healthy[0], other)
