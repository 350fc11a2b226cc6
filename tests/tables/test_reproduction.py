"""What is computed from runs, on runs that nobody trained."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from eyebright.audit.case import Remark
from eyebright.audit.comparison import exact_mcnemar
from eyebright.evaluation.intervals import paired_difference, proportion
from eyebright.tables.reproduction import Line, Order, Reproduction, RowResult, lines, order, over_seeds
from eyebright.tables.table import PublishedTable, Row

from .conftest import first_right, judged

REMARK = Remark("vanishing_gradients", "serious", "No gradient arrives.", "Add shortcuts.", ("model=resnet20",))


def line(theirs: object, *values: float, quantity: str = "accuracy", images: tuple[float, float] | None = None) -> Line:
    return Line(quantity, "%", theirs, values, images, over_seeds(values, (0, 100)))  # type: ignore[arg-type]


def test_students_interval_by_hand() -> None:
    # Mean 2, deviation 1, 4.3027 of t with two degrees of freedom.
    low, high = over_seeds([1, 2, 3], (-100, 100)) or (0, 0)
    assert (low, high) == pytest.approx((2 - 4.30265 / 3**0.5, 2 + 4.30265 / 3**0.5), abs=1e-4)
    assert over_seeds([1], (0, 100)) is None
    assert over_seeds([99, 100], (0, 100)) == pytest.approx((93.15, 100), abs=0.01)


def test_lines_are_means_over_the_seeds(example: PublishedTable, tmp_path: Path) -> None:
    runs = [judged(tmp_path / str(count), first_right(count)) for count in (70, 75, 80)]
    accuracy, f1 = lines(example, example.row("mlp"), runs)
    assert accuracy.values == pytest.approx((70, 75, 80))
    assert accuracy.value == pytest.approx(75)
    ends = [(100 * score.low, 100 * score.high) for score in (proportion(count, 100) for count in (70, 75, 80))]
    assert accuracy.images == pytest.approx((sum(low for low, _ in ends) / 3, sum(high for _, high in ends) / 3))
    assert accuracy.seeds == pytest.approx((75 - 4.30265 * 5 / 3**0.5, 75 + 4.30265 * 5 / 3**0.5), abs=1e-3)
    assert (accuracy.theirs, f1.theirs) == (50, None)
    assert lines(example, example.row("mlp"), []) == ()


@pytest.mark.parametrize(
    ("made", "verdict"),
    [
        (line(80, 90, images=(85, 95)), "better"),
        (line(80, 70, images=(65, 75)), "worse"),
        (line(80, 83, images=(79, 87)), "unclear"),
        (line(80, 90, 92, images=(85, 95)), "unclear"),  # two seeds say little: Student's t reaches from 78.3
        (line((75, 80), 82, images=(81, 83)), "better"),
        (line((75, 80), 78, images=(76, 79)), "as published"),
        (line((75, 80), 78, images=(74, 79)), "unclear"),
        (line((2, 5), 1, quantity="training time"), "better"),
        (line((2, 5), 7, quantity="training time"), "worse"),
        (line(25, 27, quantity="gap", images=(26, 28)), ""),
        (line(None, 27), ""),
    ],
)
def test_verdicts(made: Line, verdict: str) -> None:
    assert made.verdict == verdict


def test_an_order_is_paired_by_seed_and_image(example: PublishedTable, tmp_path: Path) -> None:
    weak = {seed: judged(tmp_path / f"weak{seed}", first_right(60 + seed)) for seed in range(3)}
    strong = {seed: judged(tmp_path / f"strong{seed}", first_right(80 + seed)) for seed in range(3)}
    found = order(example.claims[0], strong, weak)
    assert found is not None
    assert found.values == pytest.approx((20, 20, 20))
    tango = paired_difference(20, 0, 100)
    assert found.images == pytest.approx((100 * tango.low, 100 * tango.high))
    assert found.seeds == pytest.approx((20, 20))
    assert found.p == (exact_mcnemar(20, 0),) * 3
    assert found.verdict == "holds"
    against = order(example.claims[0], weak, strong)
    assert against is not None
    assert against.verdict == "refuted"
    assert order(example.claims[0], strong, {}) is None


def test_an_order_with_few_flips_is_open(example: PublishedTable, tmp_path: Path) -> None:
    found = order(
        example.claims[0],
        {0: judged(tmp_path / "one", first_right(81)), 1: judged(tmp_path / "two", first_right(90))},
        {0: judged(tmp_path / "other", first_right(80))},
    )
    assert found is not None
    assert (found.seeds_used, found.seeds, found.verdict) == ((0,), None, "open")


def result(row: Row, *seeds: tuple[Remark, ...]) -> RowResult:
    return RowResult(row, {0: "runs/x"}, (line(None, 10.0),), {}, dict(enumerate(seeds)))


def test_a_row_fails_as_published_where_every_seed_has_the_fault() -> None:
    row = Row(name="plain", title="Plain", recipe="digits/mlp", fails="vanishing_gradients")
    assert result(row, (REMARK,), (REMARK,)).failed
    assert not result(row, (REMARK,), ()).failed
    assert not result(row).failed


def test_markdown_and_json_say_all(example: PublishedTable, tmp_path: Path) -> None:
    plain = Row(name="plain", title="Plain|er", recipe="digits/mlp", fails="vanishing_gradients")
    rows = (
        RowResult(example.rows[0], {0: "runs/mlp"}, (line(50, 80.04, images=(71, 87)),), {}, {}),
        RowResult(example.rows[1], {}, (), {1: "training diverged: loss nan"}, {}),
        result(plain, (REMARK,)),
    )
    orders = (Order("cnn", "mlp", (0,), (1.5,), (0.5, 2.5), None, (0.0001,)),)
    made = Reproduction(example, (0,), ("epochs=1",), tmp_path, rows, orders)
    made.write()
    text = (tmp_path / "table.md").read_text()
    for expected in (
        "# Two networks on digits",
        "**Not the table as it stands:** run with epochs=1.",
        "| An MLP | accuracy (%) | 50 | 80.0 | 71.0 to 87.0 | one seed | better |",
        "| A CNN |  | 99 to 100 | no result |  |  |  |",
        "Plain\\|er",
        "| training | fails | vanishing gradients |  |  | as published |",
        "| cnn > mlp | +1.5 | +0.5 to +2.5 | one seed | <0.001 | holds |",
        "- **An MLP** (`eyebright train digits/mlp`): Changed to win: Nothing.",
        "- **A CNN** (`eyebright train digits/cnn`): One batch. Seed 1 has no result: training diverged: loss nan",
        "The training doctor on seed 0: serious: vanishing gradients. No gradient arrives.",
        "- Nothing more.",
    ):
        assert expected in text
    written = json.loads((tmp_path / "table.json").read_text())
    assert written["rows"][0]["lines"][0]["verdict"] == "better"
    assert written["orders"][0]["verdict"] == "holds"
    assert repr(made) == "Reproduction(example: 2 of 3 runs)"
