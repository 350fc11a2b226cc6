from __future__ import annotations

import json

from eyebright.evaluation.intervals import proportion
from eyebright.evaluation.metrics import evaluate
from eyebright.evaluation.scores import Scores, worst_first

from .conftest import MakePredictions


def test_survives_json(drawn: MakePredictions) -> None:
    for classes in (3, 12):
        scores = evaluate(drawn(80, classes), bootstrap=50)
        again = Scores.from_dict(json.loads(json.dumps(scores.to_dict())))
        assert again.to_dict() == scores.to_dict()
        assert (again.confusion == scores.confusion).all()
        assert again.confusion.dtype == scores.confusion.dtype
        assert again.per_class == scores.per_class


def test_a_class_without_images_survives_json(from_classes: MakePredictions) -> None:
    scores = evaluate(from_classes([0, 1], [0, 1], 3), bootstrap=5)
    assert Scores.from_dict(json.loads(json.dumps(scores.to_dict()))).per_class[2].f1 is None


def test_prints_a_readable_block(from_classes: MakePredictions) -> None:
    scores = evaluate(from_classes([0] * 9 + [1], [0] * 10, 3), bootstrap=50)
    lines = str(scores).splitlines()
    assert lines[0] == "made up test: 10 images, 3 classes"
    assert "  accuracy           0.900 [0.596, 0.982] n=10" in lines
    assert lines[-2:] == [
        "  class 1  -                     0.000 [0.000, 0.793]  0.000 [0.000, 0.885]       1",
        "  class 2  -                     -                     -                          0",
    ]
    assert max(map(len, lines)) <= 100


def test_prints_only_the_weakest_of_many_classes(drawn: MakePredictions) -> None:
    scores = evaluate(drawn(2000, 50), bootstrap=5)
    text = str(scores)
    assert "the 20 weakest of 50 classes" in text
    assert len(text.splitlines()) < 35
    assert worst_first(scores.per_class)[0].name in text
    assert worst_first(scores.per_class)[-1].name + " " not in text


def test_worst_first_puts_classes_without_a_score_last(from_classes: MakePredictions) -> None:
    rows = evaluate(from_classes([0, 1, 1, 3], [0, 1, 3, 3], 5), bootstrap=5).per_class
    assert [row.name for row in worst_first(rows)] == ["class 1", "class 3", "class 0", "class 2", "class 4"]


def test_confusions_are_the_largest_cells_off_the_diagonal(from_classes: MakePredictions) -> None:
    scores = evaluate(from_classes([0, 0, 0, 0, 1, 2, 2, 2], [0, 1, 1, 2, 0, 1, 1, 1], 3), bootstrap=5)
    found = [(pair.given, pair.predicted, pair.count) for pair in scores.confusions()]
    assert found == [
        ("class 2", "class 1", 3),
        ("class 0", "class 1", 2),
        ("class 0", "class 2", 1),
        ("class 1", "class 0", 1),
    ]
    assert scores.confusions(1)[0].share == proportion(3, 3)
    assert evaluate(from_classes([0, 1], [0, 1], 2), bootstrap=5).confusions() == []
