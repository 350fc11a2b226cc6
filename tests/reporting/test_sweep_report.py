"""The page of a sweep: what it says, and that it says it of the right trial."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eyebright.core.recipe import Recipe, recipe
from eyebright.data.image_set import Splits
from eyebright.reporting import sweep_content
from eyebright.reporting.sweep_report import SweepReport, sweep_report
from eyebright.sweeps.definition import define
from eyebright.sweeps.space import given
from eyebright.sweeps.standing import Sweep
from eyebright.sweeps.sweep import sweep
from eyebright.sweeps.trial import Outcome, Trial
from tests.sweeps.conftest import TINY

from .conftest import Reader, read

Make = Callable[..., Sweep]


@pytest.fixture(name="base")
def base_fixture() -> Recipe:
    return recipe("digits/mlp", TINY)


def made_up(base: Recipe, outcomes: list[Outcome], **fields: Any) -> Sweep:
    """A sweep that was never run."""
    defined = define(base, given(fields or {"lr": [0.1, 0.2, 0.3, 0.4], "dropout": [0.0, 0.5, 0.6]}))
    trials = [
        Trial(number, point, outcome, {epoch: 0.1 * epoch for epoch in range(1, outcome.epochs + 1)})
        for number, (point, outcome) in enumerate(zip(defined.planned, outcomes, strict=False))
    ]
    return Sweep(Path("sweeps/made up"), defined, tuple(trials), {})


def finished(accuracy: float, **others: Any) -> Outcome:
    return Outcome("finished", **{"accuracy": accuracy, "loss": 0.5, "images": 100, "epoch": 2, "epochs": 3} | others)


def text_of(reader: Reader) -> str:
    return " ".join(text for _, text in reader.texts)


def test_a_real_sweep_is_told_with_its_price(base: Recipe, shades: Splits, tmp_path: Path) -> None:
    found = sweep(base, {"lr": [1e-5, 1e-2, 1e8], "hidden": [[4], [8]]}, folder=tmp_path / "sweep", splits=shades)
    report = sweep_report(found)
    page = report.html()
    reader = read(page)
    text = text_of(reader)
    assert found.price is not None
    assert found.price.test is not None
    assert found.best is not None
    assert f"{100 * found.price.test.value:.1f}" in reader.said("p")[1].replace("\u202f", " ")
    assert "6 trials (4 finished, 2 failed), all combinations of a grid; chosen by validation images only." in text
    assert "of 45 test images are classified right by the best of 4 trials" in text
    assert "luck alone would show" in text
    assert "DivergedError, 2 times" in text
    assert "training diverged: loss" in text
    assert "(trial 4; also 5)" in text
    assert "Too few different trials are finished to tell which field mattered: 10 are needed." in text
    assert "finished; the recipe as it was" in text
    assert len(reader.of("polyline", "best")) == 3  # parallel coordinates, learning curves, best so far
    assert found.recipe(found.best).to_yaml().splitlines()[0] in page
    assert "://" not in page
    assert report.write(tmp_path / "page.html").read_text() == page
    assert repr(report).startswith("SweepReport(Sweep(")


def test_lines_and_dots_belong_to_their_trials(base: Recipe) -> None:
    outcomes = [
        finished(0.5),
        finished(0.7),
        Outcome("pruned", accuracy=0.2, loss=1.0, images=100, epoch=1, epochs=1),
        Outcome("failed", failure="OSError: <b>bad</b>"),
        finished(0.9),
        finished(0.9, same_as=4, seconds=0.0),
    ]
    reader = read(SweepReport(made_up(base, outcomes), None, None, None).html())
    lines = reader.of("polyline")
    parallel = [line for line in lines if "stroke-opacity" in line]
    assert [line["class"] for line in parallel] == ["line trial finished", "line trial finished", "line best"]
    assert [line["stroke-opacity"] for line in parallel] == ["0.43", "0.72", "1.00"]
    # The best: lr 0.2 of 0.1..0.4, dropout 0.5 of 0, 0.5, 0.6, and 90 % between 50 and 90; bottom 282, top 40.
    assert parallel[-1]["points"] == "66.0,201.3 198.0,161.0 330.0,40.0"
    assert len(reader.of("circle", "pruned")) == 2
    assert "trial 4: lr=0.2 dropout=0.5; 0.900 [0.826, 0.945] n=100" in reader.said("title")
    text = text_of(reader)
    assert "finished: the values of trial 4, not run again" in text
    assert "<b>bad</b>" in text  # as text
    assert "it was chosen by them, and was not tested yet" in text
    rows = [text for tag, text in reader.texts if tag == "th" and text.isdigit()]
    assert rows == ["4", "1", "0", "2", "3", "5"]


def test_trials_that_are_all_right_about_everything_can_be_drawn(base: Recipe) -> None:
    page = SweepReport(made_up(base, [finished(1.0), finished(1.0)]), None, None, None).html()
    assert len(read(page).of("polyline")) == 5  # two parallel coordinates, two learning curves, best so far


def test_importances_are_bars(base: Recipe) -> None:
    found = made_up(base, [finished(0.5 + 0.01 * number) for number in range(12)])
    report = sweep_report(found)
    assert report.importances is not None
    reader = read(report.html())
    widths = [bar["style"] for bar in reader.of("span", "bar-fill")]
    assert widths == [f"width:{100 * share:.1f}%" for share in report.importances.values()]
    assert [tag for tag in reader.said("span") if tag in {"lr", "dropout"}] == ["lr", "dropout"]


def test_intervals_have_round_ticks(base: Recipe) -> None:
    defined = define(
        base, given({"lr": "tag(log,interval(1e-4,3e-1))", "batch_size": "range(16,65,16)"}), search="tpe", trials=9
    )
    trials = tuple(
        Trial(number, {"optimizer.lr": lr, "training.batch_size": size}, finished(0.5 + number / 10), {1: 0.5})
        for number, (lr, size) in enumerate([(1e-4, 16), (3e-1, 64), (1e-2, 32)])
    )
    page = SweepReport(Sweep(Path("made up"), defined, trials, {}), None, None, None).html()
    reader = read(page)
    assert [text for text in reader.said("text") if text.startswith("0.")] == ["0.0001", "0.001", "0.01", "0.1", "0.3"]
    assert [text for text in reader.said("text") if text in {"16", "20", "40", "60", "64"}] == [
        "16",
        "20",
        "40",
        "60",
        "64",
    ]
    assert "0.0001 to 0.3, evenly in the exponent" in text_of(reader)
    assert "16 to 64 in steps of 16" in text_of(reader)
    assert "3 of 9 trials (3 finished), proposed by tpe, stopped early by median" in text_of(reader)


def test_before_anything_is_finished(base: Recipe) -> None:
    running = read(SweepReport(made_up(base, [Outcome("running")]), None, None, None).html())
    assert "No trial is finished yet." in text_of(running)
    assert running.of("svg") == []
    none = read(SweepReport(made_up(base, []), None, None, None).html())
    assert "0 of 12 trials" in text_of(none)


def test_one_trial_has_no_parallel_coordinates(base: Recipe) -> None:
    reader = read(SweepReport(made_up(base, [finished(0.5, epochs=1, epoch=1)]), None, None, None).html())
    assert reader.of("svg", "parallel") == []
    assert len(reader.of("svg", "chart")) == 2


def test_a_page_stays_light(base: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep_content, "_MOST", 10)
    found = made_up(base, [finished(0.01 * number) for number in range(12)])
    reader = read(SweepReport(found, None, None, None).html())
    assert "2 more are in the study" in text_of(reader)
    assert len([line for line in reader.of("polyline") if "stroke-opacity" in line]) == 10


def test_test_images_that_were_asked_twice_are_said(base: Recipe, shades: Splits, tmp_path: Path) -> None:
    found = sweep(base, {"lr": [1e-2, 2e-2]}, folder=tmp_path / "sweep", splits=shades)
    again = dataclasses.replace(found, results={**found.results, "tested": [0, 1]})
    text = text_of(read(sweep_report(again).html()))
    assert "The test images were asked 2 times" in text
