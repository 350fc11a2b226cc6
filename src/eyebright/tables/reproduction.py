"""`Reproduction`: theirs and ours side by side, as far as the runs of a table are done.

Two intervals stand beside each mean over the seeds, for they answer different questions:

over images : what another draw of as many test images could have given, with these models. It is the mean of the
    seeds' intervals, which is on the safe side: models of several seeds agree on most images, but not on all.
over seeds : what other seeds of training could have given, on these images. Student's t, 95 %; it needs two seeds.

An order between two rows is judged by the differences of the runs with the same seed, image by image: each has the
interval of `eyebright.audit.comparison` (Tango's) and McNemar's p. Over images the mean of these intervals is given,
over seeds Student's t of the differences. The order holds where both lie above zero.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, final

from scipy.stats import t

from eyebright.audit.case import Remark
from eyebright.audit.comparison import compare_runs
from eyebright.core.files import write_json, write_text
from eyebright.evaluation.intervals import CONFIDENCE
from eyebright.tables.markdown import markdown
from eyebright.tables.quantities import Measured, quantity
from eyebright.tables.table import Claim, Published, PublishedTable, Row
from eyebright.training.run import Run

Interval = tuple[float, float]
# Against the published number. "unclear": the interval holds it. "": there is none, or neither way is better.
Verdict = Literal["better", "worse", "as published", "unclear", ""]


@dataclasses.dataclass(frozen=True)
class Line:
    """One quantity of one row.

    Attributes
    ----------
    quantity, unit : what it is.
    theirs : published; None where nothing is.
    values : ours, one a seed.
    images, seeds : ends of the 95 % intervals of their mean; None where there can be none.
    """

    quantity: str
    unit: str
    theirs: Published | None
    values: tuple[float, ...]
    images: Interval | None
    seeds: Interval | None

    @property
    def value(self) -> float:
        """The mean over the seeds."""
        return statistics.fmean(self.values)

    @property
    def verdict(self) -> Verdict:
        """How ours stands to theirs. Where theirs is a range, one has to leave it to be better or worse."""
        better = quantity(self.quantity).better
        if self.theirs is None or better is None:
            return ""
        low, high = self.theirs if isinstance(self.theirs, tuple) else (self.theirs, self.theirs)
        ends = [self.value, *(self.images or ()), *(self.seeds or ())]
        if min(ends) > high:
            return "better" if better == "higher" else "worse"
        if max(ends) < low:
            return "worse" if better == "higher" else "better"
        return "as published" if low < high and low <= min(ends) and max(ends) <= high else "unclear"

    def to_dict(self) -> dict[str, Any]:
        """A dictionary that JSON can hold."""
        return dataclasses.asdict(self) | {"value": self.value, "verdict": self.verdict}


@dataclasses.dataclass(frozen=True)
class RowResult:
    """What came of a row.

    Attributes
    ----------
    row : as published.
    runs : folders of its judged runs, by seed.
    lines : its numbers; none before the first run.
    failures : why there is no result, by seed, such as a training that diverged or weights that are not here.
    remarks : what the training doctor found wrong with the runs of a row that is to fail, by seed.
    """

    row: Row
    runs: Mapping[int, str]
    lines: tuple[Line, ...]
    failures: Mapping[int, str]
    remarks: Mapping[int, tuple[Remark, ...]]

    @property
    def failed(self) -> bool:
        """Whether every seed shows the fault that the published row failed by."""
        faults = [{remark.fault for remark in found} for found in self.remarks.values()]
        return bool(faults) and all(self.row.fails in each for each in faults)

    def to_dict(self) -> dict[str, Any]:
        """A dictionary that JSON can hold."""
        return dataclasses.asdict(self) | {"lines": [line.to_dict() for line in self.lines], "failed": self.failed}


@dataclasses.dataclass(frozen=True)
class Order:
    """A claimed order of two rows by test accuracy, in points.

    Attributes
    ----------
    better, than : names of the rows.
    seeds_used : those that both rows were run with.
    values : differences, one a seed.
    images, seeds : ends of the 95 % intervals of their mean; `seeds` is None for one seed.
    p : McNemar's exact p, one a seed.
    """

    better: str
    than: str
    seeds_used: tuple[int, ...]
    values: tuple[float, ...]
    images: Interval
    seeds: Interval | None
    p: tuple[float, ...]

    @property
    def value(self) -> float:
        """The mean over the seeds."""
        return statistics.fmean(self.values)

    @property
    def verdict(self) -> Literal["holds", "refuted", "open"]:
        """What both intervals say together."""
        ends = [*self.images, *(self.seeds or ())]
        return "holds" if min(ends) > 0 else "refuted" if max(ends) < 0 else "open"

    def to_dict(self) -> dict[str, Any]:
        """A dictionary that JSON can hold."""
        return dataclasses.asdict(self) | {"value": self.value, "verdict": self.verdict}


@final
@dataclasses.dataclass(frozen=True)
class Reproduction:
    """A table, theirs and ours.

    Attributes
    ----------
    table : as published.
    seeds : that were asked for.
    overrides : by which all rows depart from the table.
    folder : of the runs, `table.md` and `table.json`.
    rows : those that were asked for or are done, in the order of the table.
    orders : the claims whose two rows have runs.
    """

    table: PublishedTable
    seeds: tuple[int, ...]
    overrides: tuple[str, ...]
    folder: Path
    rows: tuple[RowResult, ...]
    orders: tuple[Order, ...]

    def __repr__(self) -> str:
        done = sum(len(result.runs) for result in self.rows)
        return f"Reproduction({self.table.name}: {done} of {len(self.rows) * len(self.seeds)} runs)"

    def to_dict(self) -> dict[str, Any]:
        """A dictionary that JSON can hold."""
        return {
            "table": dataclasses.asdict(self.table),
            "seeds": list(self.seeds),
            "overrides": list(self.overrides),
            "rows": [result.to_dict() for result in self.rows],
            "orders": [order.to_dict() for order in self.orders],
        }

    def write(self) -> None:
        """Write `table.md` and `table.json` into the folder, atomically."""
        write_text(self.folder / "table.md", markdown(self))
        write_json(self.folder / "table.json", self.to_dict())


def lines(table: PublishedTable, row: Row, runs: Sequence[Run]) -> tuple[Line, ...]:
    """The numbers of a row from its judged runs, one a seed; none without a run."""
    if not runs:
        return ()
    found = []
    for name in table.quantities(row):
        asked = quantity(name)
        measured = [asked.measure(run) for run in runs]
        values = tuple(each.value for each in measured)
        seeds = over_seeds(values, asked.limits)
        found.append(Line(name, asked.unit, row.theirs.get(name), values, _over_images(measured), seeds))
    return tuple(found)


def order(claim: Claim, better: Mapping[int, Run], than: Mapping[int, Run]) -> Order | None:
    """What the runs say of a claim; None where no seed was run with both rows.

    Raises
    ------
    DataError : the two rows were judged on different images.
    """
    common = tuple(seed for seed in better if seed in than)
    if not common:
        return None
    compared = [compare_runs(than[seed], better[seed]).comparison for seed in common]
    differences = [each.difference for each in compared]
    values = tuple(100 * score.value for score in differences)
    ends = (statistics.fmean(score.low for score in differences), statistics.fmean(score.high for score in differences))
    return Order(
        better=claim.better,
        than=claim.than,
        seeds_used=common,
        values=values,
        images=(100 * ends[0], 100 * ends[1]),
        seeds=over_seeds(values, (-100.0, 100.0)),
        p=tuple(each.p for each in compared),
    )


def over_seeds(values: Sequence[float], limits: Interval) -> Interval | None:
    """Student's interval of the mean, as far as it lies within the possible; None for one value."""
    if len(values) < 2:
        return None
    half = float(t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)) * statistics.stdev(values) / len(values) ** 0.5
    centre = statistics.fmean(values)
    return max(centre - half, limits[0]), min(centre + half, limits[1])


def _over_images(measured: Sequence[Measured]) -> Interval | None:
    """The mean of the seeds' intervals."""
    intervals = [each.images for each in measured if each.images is not None]
    if not intervals:
        return None
    return statistics.fmean(low for low, _ in intervals), statistics.fmean(high for _, high in intervals)
