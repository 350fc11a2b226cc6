"""`DataReport`: what the data doctor found, on one page."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, final

import numpy as np
from numpy.typing import NDArray

from eyebright.audit.data_doctor import learned_from
from eyebright.data.image_set import ImageSet
from eyebright.insight.thumbnails import Thumbnails, shrink
from eyebright.reporting import data_content
from eyebright.reporting.render import Page, render

if TYPE_CHECKING:
    from eyebright.audit.data_doctor import DataFindings
    from eyebright.data.near_copies import Copy

_PAIRS = 500  # of copies; more nobody looks through, and each pair makes all pictures smaller
_LABELS = 3_000  # doubtful ones, the most doubtful first
_PIXELS = 6_000_000  # of each of the two kinds of pictures; half of a run's report, since there are two


@dataclasses.dataclass(frozen=True, eq=False)
class ShownCopies:
    """Pairs of copies with their pictures.

    Attributes
    ----------
    pairs : the most telling first.
    places : (n, 2) int64, the pictures of a pair: what is repeated, and what repeats it.
    images : (m, h, w, C) uint8, each picture once, although it can be in several pairs.
    names : (m,) where each picture came from.
    """

    pairs: tuple[Copy, ...]
    places: NDArray[np.int64]
    images: NDArray[np.uint8]
    names: tuple[str, ...]


@final
@dataclasses.dataclass(frozen=True, eq=False)
class DataReport(Page):
    """What is known of images and labels. `write` renders it into one HTML file that needs no network.

    Attributes
    ----------
    findings : of the data doctor.
    copies : the most telling pairs; None where there are none.
    doubted : pictures of the most doubtful labels, in their order; None where no models were asked, or doubt none.
    fingerprint : of the images whose labels were asked about; by it a browser finds its marks again.
    """

    findings: DataFindings
    copies: ShownCopies | None
    doubted: Thumbnails | None
    fingerprint: str

    def __repr__(self) -> str:
        return f"DataReport({self.findings.splits.train.store.source}: {self.findings.copies!r})"

    def html(self) -> str:
        return render("data.html", data_content.content(self), data_content.script_data(self))


def data_report(findings: DataFindings) -> DataReport:
    """Gather what the data doctor found, with small versions of the images that it is about.

    Parameters
    ----------
    findings : from `eyebright.examine_data`, with or without doubtful labels.
    """
    asked, doubted = learned_from(findings.splits), None
    if findings.doubtful:
        rows = findings.doubtful.take(_LABELS).index
        small = shrink(asked, np.searchsorted(asked.index, rows), pixels=_PIXELS)
        doubted = dataclasses.replace(small, position=np.arange(len(small)))
    return DataReport(findings, _shown(findings), doubted, asked.fingerprint if doubted is not None else "")


def _shown(findings: DataFindings) -> ShownCopies | None:
    pairs = findings.telling_pairs(_PAIRS)
    if not pairs:
        return None
    ends = [[(pair.of_split, pair.of_row), (pair.split, pair.row)] for pair in pairs]
    parts = [part for part in findings.splits if len(part)]
    wanted = [_rows(part, (end for pair in ends for end in pair)) for part in parts]
    pixels = _PIXELS // max(1, sum(map(len, wanted)))
    small = [
        shrink(part[rows], np.arange(len(rows)), pixels=pixels * len(rows))
        for part, rows in zip(parts, wanted, strict=True)
        if rows
    ]
    places = {
        end: place
        for place, end in enumerate((part.split, row) for part, rows in zip(parts, wanted, strict=True) for row in rows)
    }
    return ShownCopies(
        pairs=pairs,
        places=np.array([[places[end] for end in pair] for pair in ends]),
        images=np.concatenate([each.images for each in small]),
        names=tuple(name for each in small for name in each.names),
    )


def _rows(part: ImageSet, ends: Iterable[tuple[str, int]]) -> Sequence[int]:
    """The rows of a split, each once."""
    return sorted({row for split, row in ends if split == part.split})
