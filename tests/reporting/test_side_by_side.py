from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eyebright.audit.comparison import compare
from eyebright.core.errors import DataError, RunError
from eyebright.core.recipe import recipe
from eyebright.data.image_set import ImageSet, ImageStore, Splits
from eyebright.evaluation.predictions import Predictions
from eyebright.insight.parts import Missing
from eyebright.reporting.side_by_side import side_by_side
from eyebright.training.run import Run

from .conftest import ANIMALS, Reader, history, predictions, read, small_images

N = 60


@pytest.fixture(name="splits")
def splits_fixture() -> Splits:
    labels = predictions(ANIMALS, N).labels
    names = [f"{ANIMALS[label]}/{row}.png" for row, label in enumerate(labels.tolist())]
    store = ImageStore(small_images(N), labels, names, ANIMALS, "animals", root=Path("animals"))
    rows = np.arange(N)
    return Splits(*(ImageSet(store, rows, split) for split in ("train", "validation", "test")))


def judged(folder: Path, splits: Splits, made: Predictions, name: str = "digits/mlp") -> Run:
    """A run of which only the history and the predictions are there."""
    run = Run.create(folder, recipe(name), splits, {"plan": "cpu", "started": folder.name})
    run.save_history(history(4))
    run.save_predictions(made)
    return run


def bettered(made: Predictions, count: int) -> Predictions:
    """The same predictions with the first `count` mistakes right, and the first right answer wrong."""
    logits = made.logits.copy()
    mended = np.flatnonzero(~made.correct)[:count]
    logits[mended, made.labels[mended]] = 20
    broken = np.flatnonzero(made.correct)[0]
    logits[broken] = 0
    logits[broken, (made.labels[broken] + 1) % len(made.classes)] = 5
    return dataclasses.replace(made, logits=logits)


@pytest.fixture(name="runs")
def runs_fixture(tmp_path: Path, splits: Splits) -> tuple[Run, Run]:
    made = predictions(ANIMALS, N)
    return judged(tmp_path / "one", splits, made), judged(tmp_path / "two", splits, bettered(made, 9), "digits/cnn")


def text_of(reader: Reader) -> str:
    return " ".join(text for _, text in reader.texts)


def script_data(reader: Reader) -> dict[str, Any]:
    (text,) = [text for tag, text in reader.texts if tag == "script" and text.startswith("{")]
    data: dict[str, Any] = json.loads(text)
    return data


def test_says_who_is_better_and_whether_that_is_chance(runs: tuple[Run, Run]) -> None:
    made = side_by_side(*runs)
    compared = made.comparison.comparison
    text = text_of(read(made.html()))
    assert "digits/cnn against digits/mlp" in text
    assert f"+{100 * 8 / N:.1f} points of accuracy from the first to the second" in text
    assert compared.p == pytest.approx(22 / 1024)  # 9 against 1: two-sided, 2 (1 + 10) / 2 ** 10
    assert "The difference is more than chance." in text
    assert "as one-sided as these would be 0.021" in text
    assert "9 images are mended" in text
    assert "1 are broken" in text


def test_a_small_difference_can_be_chance(tmp_path: Path, splits: Splits) -> None:
    made = predictions(ANIMALS, N)
    first, second = judged(tmp_path / "one", splits, made), judged(tmp_path / "two", splits, bettered(made, 2))
    text = text_of(read(side_by_side(first, second).html()))
    assert "The difference can be chance." in text
    assert "digits/mlp, second run" in text  # the same recipe twice: told apart by their places


def test_the_flips_go_to_the_gallery_of_their_direction(runs: tuple[Run, Run], splits: Splits) -> None:
    made = side_by_side(*runs, splits)
    compared = compare(*(run.predictions("test") for run in runs))  # type: ignore[arg-type]  # they are there
    reader = read(made.html())
    data = script_data(reader)
    index = np.array(data["images"]["index"])
    assert set(index[data["groups"]["mended"]]) == set(compared.mended)
    assert index[data["groups"]["broken"]].tolist() == compared.broken.tolist()
    first, second = data["answers"]
    assert (first["title"], second["title"]) == ("digits/mlp", "digits/cnn")
    given = data["images"]["given"]
    for number in data["groups"]["mended"]:
        assert first["predicted"][number] != given[number] == second["predicted"][number]
    surest = [second["shares"][number * second["top"]] for number in range(len(given))]
    assert surest == sorted(surest, reverse=True)
    assert {"mended", "broken", "detail"} <= {attributes.get("id") for _, attributes in reader.elements}
    assert "detail-mark" not in {attributes.get("id") for _, attributes in reader.elements}  # marks are for one run


def test_without_images_the_numbers_stay(runs: tuple[Run, Run]) -> None:
    missing = (Missing("the images", "they were moved.", "Say where they are: --data"),)
    reader = read(side_by_side(*runs, missing=missing).html())
    assert "the images : they were moved. Say where they are: --data" in text_of(reader)
    assert "detail" not in {attributes.get("id") for _, attributes in reader.elements}
    assert [text for text in reader.said("script") if text == "{}"]
    assert "eyebright report RUN RUN" in text_of(read(side_by_side(*runs).html()))


def test_shows_settings_curves_on_one_scale_and_classes(runs: tuple[Run, Run]) -> None:
    records = [record | {"train_loss": 7.0} for record in history(4)]
    runs[1].save_history(records)
    reader = read(side_by_side(*runs).html())
    text = text_of(reader)
    assert {"model.name", "model.dropout"} <= set(reader.said("code"))
    charts = re.findall(r'<svg class="chart epochs".*?</svg>', side_by_side(*runs).html(), re.DOTALL)
    assert len(charts) == 4
    ticks = [[text for text in read(chart).said("text") if re.fullmatch(r"[\d.]+%?", text)] for chart in charts]
    assert max(map(float, ticks[0])) == max(map(float, ticks[1])) == 8  # both losses reach to the larger one
    assert "exact McNemar, corrected" in text
    rows = [text for text in reader.said("th") if text in ANIMALS]
    assert sorted(rows) == sorted(ANIMALS)


def test_runs_on_other_images_are_not_compared(runs: tuple[Run, Run], tmp_path: Path, splits: Splits) -> None:
    made = predictions(ANIMALS, N)
    moved = dataclasses.replace(made, index=made.index + 1)
    with pytest.raises(DataError, match="cannot be compared"):
        side_by_side(runs[0], judged(tmp_path / "three", splits, moved))


def test_a_run_that_was_not_judged_is_named(runs: tuple[Run, Run], tmp_path: Path, splits: Splits) -> None:
    unjudged = Run.create(tmp_path / "three", recipe("digits/mlp"), splits, {})
    with pytest.raises(RunError, match="three has no predictions"):
        side_by_side(runs[0], unjudged)
    with pytest.raises(RunError, match="three has no predictions"):
        side_by_side(unjudged, runs[0])


def test_models_that_agree_have_nothing_to_show(tmp_path: Path, splits: Splits) -> None:
    made = predictions(ANIMALS, N)
    runs = judged(tmp_path / "one", splits, made), judged(tmp_path / "two", splits, made)
    reader = read(side_by_side(*runs, splits).html())
    assert "0 images are mended" in text_of(reader)
    assert "The images are not on this page" not in text_of(reader)
    assert "detail" not in {attributes.get("id") for _, attributes in reader.elements}


def test_writes_one_file(runs: tuple[Run, Run], splits: Splits, tmp_path: Path) -> None:
    path = side_by_side(*runs, splits).write(tmp_path / "page.html")
    html = path.read_text()
    assert "://" not in html
    assert html == side_by_side(*runs, splits).html()
