from __future__ import annotations

import base64
import json

import numpy as np
import pytest

from eyebright.evaluation.confidence import operating_points
from eyebright.reporting import page_data
from eyebright.reporting.charts import scatter

from .conftest import ANIMALS, findings, predictions


def test_no_name_can_end_the_element() -> None:
    names = ["</script><script>alert(1)</script>", "<!--", "\u2028 \udcff", '"\\']
    text = page_data.embedded({"names": names})
    assert "<" not in text
    assert json.loads(text) == {"names": names}
    assert text.isascii()


def test_images_come_in_the_order_of_the_gallery() -> None:
    made = predictions(ANIMALS, 40)
    gallery = findings(made).gallery
    assert gallery is not None
    laid = page_data.of_images(gallery, made)
    assert laid["index"] == made.index[gallery.position].tolist()
    assert laid["given"] == made.labels[gallery.position].tolist()
    assert laid["names"] == [
        f"{ANIMALS[label]}/{row}.png" for row, label in zip(laid["index"], laid["given"], strict=True)
    ]
    assert (laid["source"], laid["split"], laid["files"]) == ("animals", "test", True)


def test_answers_are_the_best_classes_in_ten_thousandths() -> None:
    made = predictions(tuple(f"class {k}" for k in range(8)), 30)
    rows = np.array([4, 2, 9])
    laid = page_data.of_answers(made, rows, "the model")
    assert laid["top"] == 5
    shares = np.array(laid["shares"]).reshape(3, 5)
    best = np.array(laid["best"]).reshape(3, 5)
    assert (np.diff(shares) <= 0).all()
    assert best[:, 0].tolist() == laid["predicted"] == made.predicted[rows].tolist()
    assert shares == pytest.approx(10_000 * np.take_along_axis(made.probabilities[rows], best, axis=1), abs=0.51)
    own = made.probabilities[rows, made.labels[rows]]
    assert laid["given_share"] == pytest.approx(10_000 * own, abs=0.51)


def test_fewer_classes_are_all_shown() -> None:
    made = predictions(("yes", "no"), 5)
    laid = page_data.of_answers(made, np.arange(5), "the model")
    assert laid["top"] == 2
    assert np.array(laid["shares"]).reshape(5, 2).sum(axis=1) == pytest.approx([10_000] * 5, abs=1)


def test_maps_neighbours_and_map_refer_to_images_by_their_number() -> None:
    made = predictions(ANIMALS, 40)
    found = findings(made)
    assert found.gallery is not None
    assert found.maps is not None
    assert found.nearest is not None
    assert found.embedding is not None
    laid = page_data.of_findings(found)
    order = found.gallery.position
    for part in ("maps", "nearest", "embedding"):
        assert order[laid[part]["of"]].tolist() == getattr(found, part).position.tolist()
    maps = np.frombuffer(base64.b64decode(laid["maps"]["bytes"]), np.uint8).reshape(found.maps.images.shape)
    assert (maps == found.maps.images).all()
    assert laid["maps"]["explained"] == found.maps.classes.tolist()
    assert np.array(laid["nearest"]["tiles"]).reshape(-1, 2).tolist() == found.nearest.neighbour.tolist()
    assert set(laid["nearest"]["similarity"]) == {0.9}
    assert "5 of the 9 training images" in laid["nearest"]["note"]
    places, _ = scatter.placed(found.embedding.embedding.points)
    assert np.array(laid["embedding"]["places"]).reshape(-1, 2).tolist() == places.tolist()


def test_doubt_about_maps_is_said_only_where_there_is_some() -> None:
    made = predictions(ANIMALS, 40)
    assert page_data.of_findings(findings(made))["maps"]["doubt"] == ""
    assert "NOT TO BE TRUSTED" in page_data.of_findings(findings(made, trusted=False))["maps"]["doubt"]


def test_points_are_what_was_counted() -> None:
    points = operating_points(predictions(ANIMALS, 40))
    for laid, point in zip(page_data.of_points(points), points, strict=True):
        assert laid[0] == point.threshold
        assert (laid[1], laid[6]) == (point.answered, point.wrong)
        assert laid[2:6] == pytest.approx(
            [point.coverage, point.accuracy.value, point.accuracy.low, point.accuracy.high], abs=1e-6
        )
