"""`SideBySide`: two runs on one page, such as a baseline and its regularised version."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, final

import numpy as np
from numpy.typing import NDArray

from eyebright.core.errors import RunError
from eyebright.data.image_set import Splits
from eyebright.insight import thumbnails
from eyebright.insight.mistakes import mistakes
from eyebright.insight.parts import Missing
from eyebright.insight.thumbnails import Thumbnails
from eyebright.reporting import side_by_side_content
from eyebright.reporting.render import Page, render
from eyebright.reporting.report import Report, report

if TYPE_CHECKING:
    from eyebright.audit.comparison import RunComparison
    from eyebright.training.run import Run


@final
@dataclasses.dataclass(frozen=True, eq=False)
class SideBySide(Page):
    """What is known of two runs on the same images. `write` renders it into one HTML file that needs no network.

    Attributes
    ----------
    first, second : of each run; the second is judged against the first.
    comparison : of their kept models.
    flips : thumbnails of the images that only one of them answers right, the surest answers of the second first;
        None where the images were not at hand.
    missing : what could not be had, and why.
    """

    first: Report
    second: Report
    comparison: RunComparison
    flips: Thumbnails | None = None
    missing: tuple[Missing, ...] = ()

    def __repr__(self) -> str:
        return f"SideBySide({self.comparison.comparison!r})"

    def html(self) -> str:
        content, data = side_by_side_content.content(self), side_by_side_content.script_data(self)
        return render("side_by_side.html", content, data)


def side_by_side(
    first: Run, second: Run, splits: Splits | None = None, *, missing: tuple[Missing, ...] = ()
) -> SideBySide:
    """Compare two runs that were judged on the same images.

    Parameters
    ----------
    first, second : the run to start from, and the one to judge against it.
    splits : the images, to show those that flipped; without them the page has the numbers only.
    missing : what the page cannot show, and why.

    Raises
    ------
    RunError : a run was not judged, or the images are others than it began with.
    DataError : the runs were judged on different images.
    """
    from eyebright.audit.comparison import compare_runs  # torch is needed to compare, and not to render

    reports = report(first), report(second)
    split = reports[0].judged
    if not split or split not in reports[1].predictions:
        unjudged = second if split else first
        raise RunError(
            f"{unjudged.path} has no predictions to compare.", f"Make them: eyebright evaluate {unjudged.path}"
        )
    comparison = compare_runs(first, second, split=split)
    if splits is None:
        return SideBySide(*reports, comparison, missing=missing)
    chosen = first.select(splits)
    first.check_data(chosen)
    whole = next(part for part in chosen if part.split == split)
    images = whole[reports[1].predictions[split].index]  # of training images only a sample was judged
    return SideBySide(*reports, comparison, thumbnails.shrink(images, _flipped(reports[1], comparison)), missing)


def _flipped(second: Report, comparison: RunComparison) -> NDArray[np.int64]:
    """Positions of the images that flipped, as many as have room, the surest answers of the second run first."""
    predictions = second.predictions[comparison.comparison.split]
    both = np.concatenate([comparison.comparison.mended, comparison.comparison.broken])
    position = np.flatnonzero(np.isin(predictions.index, both))
    confidence = mistakes(predictions).confidence[position]
    return position[np.argsort(-confidence, kind="stable")][: thumbnails.most()]
