from __future__ import annotations

import math
import re
from importlib import resources

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from eyebright.evaluation.confidence import ConfidenceBin, operating_points
from eyebright.evaluation.score import Score
from eyebright.reporting.charts import confidence, curves, drawing, intervals, scatter
from eyebright.reporting.charts.matrix import FULL, STRONG, confusion

from .conftest import ANIMALS, predictions, read

FINITE = st.floats(-1e6, 1e6).filter(lambda value: value == 0 or abs(value) > 1e-6)


def line(*values: float, name: str = "train") -> curves.Line:
    return curves.Line(name, name, [(epoch + 1.0, value) for epoch, value in enumerate(values)])


def test_a_line_goes_through_its_points() -> None:
    chart = read(curves.lines("Loss", [line(2.0, 1.0, 0.0)]))
    # The plot is 40..308 wide and 214..22 high, and the axis goes from 0 to 2.
    assert [found["points"] for found in chart.of("polyline")] == ["40.0,22.0 174.0,118.0 308.0,214.0"]
    assert chart.said("title") == ["epoch 1: train 2.000", "epoch 2: train 1.000", "epoch 3: train 0.000"]
    (svg,) = chart.of("svg")
    assert svg["role"] == "img"
    assert svg["aria-label"] == "Loss over 3 epochs: train ends at 0.000."


def test_shares_are_percent_and_never_above_all() -> None:
    chart = read(curves.lines("Accuracy", [line(0.71, 0.83, 0.99)], shares=True))
    ticks = [text for text in chart.said("text") if text.endswith("%") and " " not in text]
    assert ticks == ["70%", "80%", "90%", "100%"]


def test_the_best_epoch_is_marked() -> None:
    chart = read(curves.lines("Loss", [line(3, 2, 1), line(3, 2, 2.5, name="validation")], marked=2.0))
    assert "best epoch 2" in chart.said("text")
    (mark,) = chart.of("line", "mark")
    assert mark["x1"] == mark["x2"] == "174.0"
    assert [dot["cx"] for dot in chart.of("circle", "dot")] == ["174.0", "174.0"]


def test_one_epoch_is_a_dot() -> None:
    chart = read(curves.lines("Loss", [line(0.5)], marked=1.0))
    assert chart.of("polyline") == []
    assert len(chart.of("circle", "dot")) == 1


def test_what_is_not_finite_is_left_out() -> None:
    chart = read(curves.lines("Loss", [line(1.0, math.nan, 2.0), line(math.inf, math.nan, name="validation")]))
    (drawn,) = chart.of("polyline")
    assert drawn["points"].count(",") == 2
    assert "validation" not in chart.said("text")
    assert curves.lines("Loss", [line(math.nan), line()]) == ""


def test_a_band_stays_inside_the_plot() -> None:
    banded = curves.Line("validation", "validation", [(1, 0.9), (2, 0.95)], [(1, 0.7, 0.95), (2, 0.9, 1.0)])
    (band,) = read(curves.lines("Accuracy", [banded], shares=True)).of("polygon", "band")
    ys = [float(pair.split(",")[1]) for pair in band["points"].split()]
    assert len(ys) == 4
    assert min(ys) >= 22
    assert max(ys) <= 214


@given(st.lists(st.floats(0, 10), min_size=1, max_size=3), st.lists(st.floats(0, 10), min_size=1, max_size=3))
def test_labels_never_touch_nor_leave_the_plot(train: list[float], validation: list[float]) -> None:
    chart = read(curves.lines("Loss", [line(*train), line(*validation, name="validation")]))
    ys = sorted(float(label["y"]) for label in chart.of("text", "label"))
    assert len(ys) == 4
    assert np.diff(ys).min() >= 13.9  # units; the font is 12
    assert ys[0] > 10
    assert ys[-1] <= 214


@given(st.tuples(FINITE, FINITE).map(sorted))
def test_ticks_are_few_and_round_and_enclose(ends: list[float]) -> None:
    low, high = ends
    ticks = drawing.ticks(low, high)
    tolerance = 1e-6 * max(abs(low), abs(high), 1e-3)
    assert 2 <= len(ticks) <= 8
    assert (np.diff(ticks) > 0).all()
    assert ticks[0] <= low + tolerance
    assert ticks[-1] >= high - tolerance


@given(st.integers(1, 500), st.integers(0, 500))
def test_epochs_on_the_axis_are_whole_and_apart(first: int, more: int) -> None:
    ticks = drawing.whole_ticks(first, first + more)
    assert ticks[0] == first
    assert ticks[-1] == first + more
    assert all(tick == int(tick) for tick in ticks)
    if more:
        assert np.diff(ticks).min() > more / 10 or len(ticks) == 2


def test_an_interval_lies_where_it_should() -> None:
    drawn = read(intervals.interval(Score(0.75, 0.6, 0.8, 20, "wilson"), 0.5, 1.0))
    (reach,) = drawn.of("line", "range")
    assert (reach["x1"], reach["x2"]) == ("20.00%", "60.00%")
    assert [dot["cx"] for dot in drawn.of("circle")] == ["50.00%"]
    (svg,) = drawn.of("svg")
    assert svg["aria-label"] == "75.0\u202f%, 95 % interval 60.0\u202f% to 80.0\u202f%"


def test_an_interval_beyond_the_scale_is_cut() -> None:
    drawn = read(intervals.interval(Score(0.2, 0.1, 0.9, 20, "wilson"), 0.5, 0.8))
    (reach,) = drawn.of("line", "range")
    assert (reach["x1"], reach["x2"]) == ("0.00%", "100.00%")


def test_a_small_matrix_has_its_counts() -> None:
    matrix = np.array([[9, 1, 0], [0, 4, 0], [0, 0, 0]])
    drawn = read(confusion(matrix, ("cat", "dog", "owl")))
    cells = {text for text in drawn.said("text") if text.isdigit()}
    assert cells == {"9", "1", "4"}
    tips = set(drawn.said("title"))
    assert "cat right: 9 of 10 (90.0 %)" in tips
    assert "cat taken for dog: 1 of 10 (10.0 %)" in tips
    assert [float(cell["fill-opacity"]) for cell in drawn.of("rect", "wrong")] == pytest.approx([0.316], abs=1e-3)
    assert [float(cell["fill-opacity"]) for cell in drawn.of("rect", "right")] == pytest.approx([0.949, 1.0], abs=1e-3)
    assert {"true", "predicted", "cat", "dog", "owl"} <= set(drawn.said("text"))
    (svg,) = drawn.of("svg")
    assert svg["aria-label"] == "Confusion matrix of 3 classes: 13 of 14 images on the diagonal."


def test_colour_is_the_share_of_the_row() -> None:
    matrix = np.array([[5, 5], [500, 500]])
    drawn = read(confusion(matrix, ("a", "b")))
    strengths = {cell["fill-opacity"] for cell in drawn.of("rect") if "fill-opacity" in cell}
    assert len(strengths) == 1


@pytest.mark.parametrize("k", [1, 2, 13, 25, 26, 100])
def test_every_size_fits_its_drawing(k: int) -> None:
    matrix = np.random.default_rng(k).integers(0, 3, size=(k, k)) + 90 * np.eye(k, dtype=np.int64)
    drawn = read(confusion(matrix, [f"class number {position} of many" for position in range(k)]))
    (svg,) = drawn.of("svg")
    _, _, width, height = map(float, svg["viewbox"].split())
    cells = [cell for cell in drawn.of("rect") if "fill-opacity" in cell]
    assert len(cells) == (matrix > 0).sum()
    assert max(float(cell["x"]) + float(cell["width"]) for cell in cells) <= width
    assert max(float(cell["y"]) + float(cell["height"]) for cell in cells) <= height + 1
    assert all(text == "class number 0 \u2026" or len(text) <= 16 for text in drawn.said("text"))
    assert bool(drawn.of("text", "count")) == (k <= 25)
    assert min(float(cell["fill-opacity"]) for cell in cells) > (0.05 if k <= 25 else 0.3)


def test_class_names_are_escaped() -> None:
    drawn = confusion(np.array([[1, 1], [0, 1]]), ("<script>alert(1)</script>", "x\"'&"))
    assert "<script" not in drawn
    assert read(drawn).of("script") == []
    assert "x\"'&" in read(drawn).said("text")


def luminance(colour: tuple[float, ...]) -> float:
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    """Contrast ratio of two colours, as WCAG 2 defines it."""
    bright, dim = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


def themes() -> list[dict[str, tuple[float, ...]]]:
    """The colours of the light theme, and of the dark one in both places where it is written."""
    style = resources.files("eyebright.reporting").joinpath("page/style.css").read_text(encoding="utf-8")
    blocks = re.findall(r"color-scheme: (?:light|dark);([^}]*)", style)
    assert len(blocks) == 3
    return [
        {
            name: tuple(int(colour[place : place + 2], 16) / 255 for place in (0, 2, 4))
            for name, colour in re.findall(r"--([a-z0-9-]+): #([0-9a-f]{6})", block)
        }
        for block in blocks
    ]


def test_both_dark_themes_are_the_same() -> None:
    _, system, chosen = themes()
    assert system == chosen


@pytest.mark.parametrize("theme", themes()[:2])
def test_text_can_be_read(theme: dict[str, tuple[float, ...]]) -> None:
    for ground in ("paper", "card"):
        for ink in ("ink", "quiet"):
            assert contrast(theme[ink], theme[ground]) >= 4.5
        for mark in ("right", "wrong", "train"):
            assert contrast(theme[mark], theme[ground]) >= 3  # WCAG's bound for graphics


@pytest.mark.parametrize("theme", themes()[:2])
@pytest.mark.parametrize("hue", ["right", "wrong"])
def test_counts_can_be_read_on_every_colour(theme: dict[str, tuple[float, ...]], hue: str) -> None:
    for strength in np.linspace(0, 1, 101):
        cell = tuple(strength * on + (1 - strength) * off for on, off in zip(theme[hue], theme["cells"], strict=True))
        ink = "on-pale" if strength <= STRONG else "on-strong"
        if strength > FULL and hue == "right":
            ink = "on-full"
        assert contrast(theme[ink], cell) >= 4.3, strength


def test_a_class_of_the_map_has_a_hue_and_from_the_eleventh_on_a_shape() -> None:
    styles = [scatter.style(position) for position in range(20)]
    assert len(set(styles)) == 20
    assert styles[10] == f"{styles[0]} square"


@given(hnp.arrays(np.float32, st.tuples(st.integers(1, 30), st.just(2)), elements=st.floats(-1e3, 1e3, width=32)))
def test_the_map_keeps_directions_and_stays_inside(points: NDArray[np.float32]) -> None:
    places, height = scatter.placed(points)
    assert scatter.EDGE / 2 <= height <= scatter.EDGE
    assert (places >= 13.9).all()
    assert (places <= np.array([scatter.EDGE, height]) - 13.9).all()
    spread = np.ptp(points, axis=0)
    if spread.max() > 1:
        right, upmost = points[:, 0].argmax(), points[:, 1].argmax()
        assert places[right, 0] == places[:, 0].max()
        assert places[upmost, 1] == places[:, 1].min()  # a drawing's y grows downwards
        scale = np.ptp(places, axis=0) / np.where(spread > 0, spread, 1)
        assert np.ptp(scale[spread > 0.1 * spread.max()]) < 0.05 * scale.max()


def test_the_map_draws_each_image_once_and_each_mistake_with_a_cross() -> None:
    points = np.array([[0, 0], [1, 0], [0, 1], [1, 1]], dtype=np.float32)
    chart = read(
        scatter.embedding(points, np.array([0, 0, 2, 2]), np.array([False, True, False, False]), ("a", "b", "<c>"))
    )
    drawn = {path["data-class"]: path["d"].count("M") for path in chart.of("path", "points")}
    assert drawn == {"0": 2, "2": 2}
    (crosses,) = chart.of("path", "errors")
    assert crosses["d"].count("M") == 1
    assert {"a", "<c>"} <= set(chart.said("text"))
    (svg,) = chart.of("svg")
    assert svg["aria-label"].startswith("Map of 4 images of 2 classes")
    assert svg["aria-label"].endswith("1 are mistaken.")


def test_reliability_places_each_bin() -> None:
    bins = [
        ConfidenceBin(0.6, Score(0.5, 0.5, 0.7, 10, "wilson")),
        ConfidenceBin(1.0, Score(0.75, 0.7, 0.8, 10, "wilson")),
    ]
    chart = read(confidence.reliability(bins))
    # Both axes go from 50 % to 100 %; the plot is 46..346 wide and 290..14 high.
    assert [(dot["cx"], dot["cy"]) for dot in chart.of("circle", "dot")] == [("106.0", "290.0"), ("346.0", "152.0")]
    assert [(each["y1"], each["y2"]) for each in chart.of("line", "whisker")] == [
        ("290.0", "179.6"),
        ("179.6", "124.4"),
    ]
    (svg,) = chart.of("svg")
    assert "in 1 of them the model is surer than it is right" in svg["aria-label"]


def test_coverage_has_a_vertex_for_each_operating_point() -> None:
    points = operating_points(predictions(ANIMALS, 60))
    chart = read(confidence.coverage(points))
    (line,) = chart.of("polyline")
    xs = [float(pair.split(",")[0]) for pair in line["points"].split()]
    assert len(xs) == len(points)
    assert xs == pytest.approx([46 + 338 * point.coverage for point in points], abs=0.06)
    (dot,) = chart.of("circle", "here")
    assert f"{dot['cx']},{dot['cy']}" == line["points"].split()[0]


@pytest.mark.parametrize(
    ("ends", "side"), [((0.01, 0.03), "better"), ((-0.03, -0.01), "worse"), ((-0.01, 0.03), "unclear")]
)
def test_a_difference_is_called_one_only_where_its_interval_leaves_out_none(
    ends: tuple[float, float], side: str
) -> None:
    drawn = read(intervals.difference(sum(ends) / 2, ends, 0.05))
    (svg,) = drawn.of("svg")
    assert side in svg["class"].split()
    assert [zero["x1"] for zero in drawn.of("line", "zero")] == ["50.00%"]
    (dot,) = drawn.of("circle")
    assert dot["cx"] == f"{100 * (sum(ends) / 2 + 0.05) / 0.1:.2f}%"


@pytest.mark.parametrize("theme", themes()[:2])
def test_marks_of_the_map_can_be_seen(theme: dict[str, tuple[float, ...]]) -> None:
    hues = [theme[f"hue{number}"] for number in range(scatter.HUES)]
    assert len(set(hues)) == scatter.HUES
    for hue in hues:
        assert contrast(hue, theme["card"]) >= 2.4  # dots need not be read one by one, and each class has its name
    for ground in ("paper", "card"):
        assert contrast(theme["wrong-ink"], theme[ground]) >= 4.5
        assert contrast(theme["edge"], theme[ground]) >= 3
