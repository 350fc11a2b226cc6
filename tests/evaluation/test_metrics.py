from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import (
    confusion_matrix,
    f1_score,
    log_loss,
    precision_recall_fscore_support,
    top_k_accuracy_score,
)

from eyebright.core.errors import DataError, EyebrightError
from eyebright.evaluation.intervals import proportion
from eyebright.evaluation.metrics import confusion, evaluate, top_k
from eyebright.evaluation.predictions import Predictions
from eyebright.evaluation.score import Score

from .conftest import MakePredictions, drawn, from_classes


def test_by_hand(from_classes: MakePredictions) -> None:
    #            given a a a a b b c, predicted a a a b b b a
    scores = evaluate(from_classes([0, 0, 0, 0, 1, 1, 2], [0, 0, 0, 1, 1, 1, 0], 3))
    assert scores.n == 7
    assert scores.confusion.tolist() == [[3, 1, 0], [0, 2, 0], [1, 0, 0]]
    assert scores.confusion.dtype == np.int64
    assert scores.accuracy == proportion(5, 7)
    assert scores.top5 is None
    assert scores.precision.value == pytest.approx((3 / 4 + 2 / 3 + 0) / 3)
    assert scores.recall.value == pytest.approx((3 / 4 + 1 + 0) / 3)
    assert scores.f1.value == pytest.approx((3 / 4 + 4 / 5 + 0) / 3)
    first, second, third = scores.per_class
    assert (first.precision, first.recall) == (proportion(3, 4), proportion(3, 4))
    assert (second.precision, second.recall) == (proportion(2, 3), proportion(2, 2))
    assert (first.support, second.support, third.support) == (4, 2, 1)
    assert third.precision is None  # never predicted
    assert third.recall == proportion(0, 1)
    assert third.f1 is not None
    assert (third.f1.value, third.f1.low, third.f1.n) == (0.0, 0.0, 1)
    # The right class has logit 2 against 0, 0: log(1 + 2 exp(-2)); a wrong one is 2 behind.
    sure = np.log(1 + 2 * np.exp(-2))
    assert scores.log_loss.value == pytest.approx((5 * sure + 2 * (sure + 2)) / 7)
    # All are equally sure, so there is one bin.
    assert scores.calibration_error.value == pytest.approx(abs(np.exp(-sure) - 5 / 7))


@pytest.mark.parametrize(("n", "classes"), [(40, 2), (500, 10), (900, 100)])
def test_values_are_scikit_learns(n: int, classes: int) -> None:
    predictions = drawn(n, classes)
    scores = evaluate(predictions, bootstrap=20)
    labels, said, names = predictions.labels, predictions.predicted, np.arange(classes)
    assert (scores.confusion == confusion_matrix(labels, said, labels=names)).all()
    macro = precision_recall_fscore_support(labels, said, average="macro", zero_division=0)
    assert (scores.precision.value, scores.recall.value, scores.f1.value) == pytest.approx(macro[:3])
    assert scores.log_loss.value == pytest.approx(log_loss(labels, predictions.probabilities, labels=names), rel=1e-5)
    table = precision_recall_fscore_support(labels, said, labels=names, zero_division=0)
    for column, values in zip(("precision", "recall", "f1"), table[:3], strict=True):
        found = [getattr(row, column) for row in scores.per_class]
        assert [0.0 if score is None else score.value for score in found] == pytest.approx(values)
    if scores.top5 is not None:
        assert scores.top5.value == pytest.approx(top_k_accuracy_score(labels, predictions.logits, k=5, labels=names))
    else:
        assert classes == 2


@given(st.integers(1, 6).flatmap(lambda k: st.tuples(st.just(k), _pairs(k))))
def test_any_counts_are_scored_as_scikit_learn_scores_them(case: tuple[int, list[tuple[int, int]]]) -> None:
    classes, pairs = case
    labels, said = np.array(pairs).T
    scores = evaluate(from_classes(labels, said, classes), bootstrap=5)
    assert scores.f1.value == pytest.approx(f1_score(labels, said, average="macro", zero_division=0))
    assert scores.accuracy.value == pytest.approx((labels == said).mean())
    assert int(scores.confusion.sum()) == scores.n == len(pairs)
    assert sum(row.support for row in scores.per_class) == scores.n


def _pairs(classes: int) -> st.SearchStrategy[list[tuple[int, int]]]:
    return st.lists(st.tuples(st.integers(0, classes - 1), st.integers(0, classes - 1)), min_size=1, max_size=30)


def test_order_of_the_images_does_not_matter() -> None:
    predictions = drawn(300, 7)
    order = np.random.default_rng(1).permutation(300)
    mixed = dataclasses.replace(predictions, logits=predictions.logits[order], labels=predictions.labels[order])
    one, other = evaluate(predictions, bootstrap=1), evaluate(mixed, bootstrap=1)
    for name, score in one.overall.items():
        assert score.value == pytest.approx(other.overall[name].value)


def test_seed_decides_the_intervals() -> None:
    predictions = drawn(200, 4)
    assert evaluate(predictions).to_dict() == evaluate(predictions).to_dict()
    assert evaluate(predictions).f1 != evaluate(predictions, seed=1).f1


def test_intervals_shrink_with_the_root_of_n() -> None:
    def widths(n: int) -> list[float]:
        return [score.high - score.low for score in evaluate(drawn(n, 8)).overall.values()]

    assert np.array(widths(400)) / widths(6400) == pytest.approx(4, rel=0.5)


def test_top_k_of_one_is_the_accuracy_even_where_logits_are_equal() -> None:
    constant = dataclasses.replace(drawn(100, 10), logits=np.zeros((100, 10), dtype=np.float32))
    assert top_k(constant, 1) == evaluate(constant, bootstrap=1).accuracy
    # A model that has died says class 0 first, 1 second, ...: it must not get its top-5 for free.
    assert top_k(constant, 5).value == pytest.approx((constant.labels < 5).mean())
    assert top_k(constant, 10).value == 1


def test_classes_that_are_absent_or_never_predicted(from_classes: MakePredictions) -> None:
    scores = evaluate(from_classes([0, 0, 1], [0, 1, 1], 4))
    assert scores.recall.value == pytest.approx((1 / 2 + 1) / 2)  # two of the four classes take part
    for row in scores.per_class[2:]:
        assert (row.precision, row.recall, row.f1, row.support) == (None, None, None, 0)


@pytest.mark.parametrize(("said", "value"), [([0, 1, 2] * 4, 1.0), ([1, 2, 0] * 4, 0.0)])
def test_macro_averages_without_a_mistake_are_not_certain(
    from_classes: MakePredictions, said: list[int], value: float
) -> None:
    scores = evaluate(from_classes([0, 1, 2] * 4, said, 3))
    for score in (scores.precision, scores.recall, scores.f1):
        assert score == scores.accuracy
        assert score.value == value
        assert score.high - score.low > 0.2


def test_f1_without_a_mistake_is_not_certain(from_classes: MakePredictions) -> None:
    f1 = evaluate(from_classes([0] * 20 + [1] * 20, [0] * 20 + [1] * 20, 2)).per_class[0].f1
    assert f1 is not None
    assert f1.value == f1.high == 1
    assert 0.9 < f1.low < 0.95


def test_interval_of_f1_covers_about_95_percent() -> None:
    # Of 300 images 30 are of the class, of which 97 % are found, and 0.3 % of the others are taken for it.
    generator = np.random.default_rng(3)
    cells = np.array([0.1 * 0.97, 0.1 * 0.03, 0.9 * 0.003])
    truth = 2 * cells[0] / (2 * cells[0] + cells[1] + cells[2])
    held = 0
    for found, missed, taken in generator.multinomial(300, [*cells, 1 - cells.sum()], size=400)[:, :3]:
        labels = [0] * (found + missed) + [1] * taken
        said = [0] * found + [1] * missed + [0] * taken
        f1 = evaluate(from_classes(labels, said, 2), bootstrap=1).per_class[0].f1
        assert isinstance(f1, Score)
        held += f1.low <= truth <= f1.high
    assert 0.92 <= held / 400 <= 0.98


def test_confident_mistakes_have_a_finite_loss() -> None:
    predictions = drawn(3, 3)
    predictions.logits[:] = 0
    predictions.logits[0, (predictions.labels[0] + 1) % 3] = 3e38
    assert np.isfinite(evaluate(predictions).log_loss.high)


def test_confusion_of_one_class(from_classes: MakePredictions) -> None:
    assert confusion(from_classes([0, 0], [0, 0], 1)).tolist() == [[2]]


def test_refuses_what_cannot_be_scored() -> None:
    whole = drawn(10, 3)
    empty = Predictions(whole.logits[:0], whole.labels[:0], whole.index[:0], whole.classes, "test", "made up")
    with pytest.raises(DataError, match=r"test predictions of made up are empty"):
        evaluate(empty)
    broken = whole.logits.copy()
    broken[4, 1] = np.nan
    with pytest.raises(DataError, match="not finite, first for source image 4"):
        evaluate(dataclasses.replace(whole, logits=broken))
    with pytest.raises(DataError, match="labels from 0 to 3"):
        evaluate(dataclasses.replace(whole, labels=np.array([0, 1, 2, 3] + [0] * 6)))
    with pytest.raises(DataError, match="2 class names"):
        evaluate(dataclasses.replace(whole, classes=("a", "b")))
    with pytest.raises(EyebrightError, match="bootstrap=0"):
        evaluate(whole, bootstrap=0)
