from __future__ import annotations

import numpy as np
import pytest

from eyebright.core.errors import DataError
from eyebright.evaluation.predictions import Predictions
from eyebright.transfers.class_map import ClassMap

MODEL = ("cat", "Polar_Bear", "truck", "car")
DATA = ("vehicle", "polar bear", "owl", "cat")


def test_names_match_whatever_their_case_and_signs() -> None:
    found = ClassMap.of(MODEL, DATA, {})
    assert found.to == (3, 1, None, None)
    assert found.shared == (1, 3)
    assert found.pairs == {"cat": "cat", "Polar_Bear": "polar bear"}


def test_several_classes_of_the_model_may_be_one_of_the_data() -> None:
    found = ClassMap.of(MODEL, DATA, {"truck": "vehicle", "car": "vehicle"})
    assert found.to == (3, 1, 0, 0)
    assert found.shared == (0, 1, 3)


def test_a_named_pair_goes_before_the_name() -> None:
    assert ClassMap.of(("cat",), DATA, {"cat": "owl"}).to == (2,)


def test_a_class_that_is_not_there_is_named() -> None:
    with pytest.raises(DataError, match="the model has no class 'catt'"):
        ClassMap.of(MODEL, DATA, {"catt": "cat"})
    with pytest.raises(DataError, match="the data has no class 'owls'"):
        ClassMap.of(MODEL, DATA, {"cat": "owls"})


def said(*probabilities: list[float]) -> Predictions:
    logits = np.log(np.array(probabilities, dtype=np.float32))
    return Predictions(logits, np.zeros(len(logits), np.int64), np.arange(len(logits)), MODEL, "test", "farm")


def test_answers_are_translated_by_hand() -> None:
    """Of the vehicles' probability each model class has a part; the answer for the bear does not exist for the owl."""
    classes = ClassMap.of(MODEL, ("vehicle", "owl", "cat"), {"truck": "vehicle", "car": "vehicle"})
    made = said([0.4, 0.1, 0.25, 0.25], [0.2, 0.5, 0.2, 0.1])
    labels = np.array([0, 2])  # a vehicle, a cat
    among = classes.translated(made, labels, only_shared=True)
    assert among.classes == ("vehicle", "cat")
    assert np.exp(among.logits) == pytest.approx(np.array([[0.5, 0.4], [0.3, 0.2]]))
    assert among.labels.tolist() == [0, 1]
    assert among.predicted.tolist() == [0, 0]
    free = classes.translated(made, labels, only_shared=False)
    assert free.classes == ("vehicle", "cat", "Polar_Bear (not in the data)")
    assert free.predicted.tolist() == [0, 2]
    assert free.labels.tolist() == [0, 1]
    assert (free.split, free.source) == ("test", "farm")
