"""What the page of the data doctor shows. Lays out what was found; computes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from eyebright.data.near_copies import Copy
from eyebright.reporting import page_data
from eyebright.reporting.pictures import sprite
from eyebright.reporting.run_content import TITLES

if TYPE_CHECKING:
    from eyebright.audit.data_doctor import DataFindings
    from eyebright.evaluation.score import Score
    from eyebright.reporting.data_report import DataReport, ShownCopies


def content(report: DataReport) -> dict[str, Any]:
    """What the template names. Charts are HTML already; all else is escaped by Jinja."""
    found = report.findings
    parts = [part for part in found.splits if len(part)]
    shares = list(_shares(found))
    stores = {id(part.store): part.store for part in parts}
    names = {part.split: part.store.names for part in parts}
    store = found.splits.train.store
    return {
        "title": f"{store.source}: data doctor",
        "source": store.source,
        "where": str(store.root or store.source),
        "parts": [(TITLES[part.split], len(part)) for part in parts],
        "images": sum(map(len, parts)),
        "classes": list(_classes(found)),
        "repeated": [(TITLES[part.split], found.repeated(part.split)) for part in parts],
        "shares": shares,
        "leaks": any(score.value for _, _, score in shares),
        "relabelled": sum(pair.relabelled for pair in found.copies.pairs),
        "pairs": len(found.copies),
        "tells_near": found.copies.tells_near,
        "shown_pairs": len(report.copies.pairs) if report.copies else 0,
        "doubtful": found.doubtful,
        "shown_labels": len(report.doubted) if report.doubted else 0,
        "blank": [(TITLES[split], names[split][row]) for split, row in found.copies.blank],
        "bad": [bad for store in stores.values() for bad in store.bad],
    }


def script_data(report: DataReport) -> dict[str, Any]:
    """What the page's script reads: the pairs of copies, and the images with doubtful labels."""
    found: dict[str, Any] = {}
    if report.copies:
        found["copies"] = _copies(report.copies)
    if report.doubted and report.findings.doubtful:
        predictions = report.findings.doubtful.predictions
        found |= {
            "fingerprint": report.fingerprint,
            "images": page_data.of_images(report.doubted, predictions),
            "answers": [page_data.of_answers(predictions, report.doubted.position, "Models that did not see it say")],
            "doubted": True,
        }
    return found


def _shares(found: DataFindings) -> Iterator[tuple[str, str, Score]]:
    """For each two splits: which one, in which earlier one, and the share of its images whose picture is there too."""
    parts = [part.split for part in found.splits if len(part)]
    for place, split in enumerate(parts):
        for seen in parts[:place]:
            yield TITLES[split], TITLES[seen], found.shared(seen, split)


def _classes(found: DataFindings) -> Iterator[tuple[str, list[int], int]]:
    """Name, images in each split that has some, and in all of them; the rarest class first."""
    parts = [part for part in found.splits if len(part)]
    names = found.splits.train.classes
    counts = np.stack([np.bincount(part.labels, minlength=len(names)) for part in parts])  # (splits, K)
    for label in np.argsort(counts.sum(axis=0), kind="stable"):
        yield names[label], counts[:, label].tolist(), int(counts[:, label].sum())


def _copies(shown: ShownCopies) -> dict[str, Any]:
    return {
        "sprite": page_data.of_sprite(sprite(shown.images)),
        "names": list(shown.names),
        "pairs": [
            {"tiles": places, "kind": _kind(pair)} | _said(pair)
            for places, pair in zip(shown.places.tolist(), shown.pairs, strict=True)
        ],
    }


def _kind(pair: Copy) -> str:
    """By which the reader chooses what to look at."""
    if pair.relabelled:
        return "relabelled"
    return "within" if pair.split == pair.of_split else "across"


def _said(pair: Copy) -> dict[str, Any]:
    likeness = "the same pixels" if pair.identical else f"likeness {pair.likeness:.2f}"
    return {
        "labels": [pair.of_label, pair.label],
        "splits": [TITLES[pair.of_split], TITLES[pair.split]],
        "rows": [pair.of_row, pair.row],
        "likeness": likeness + ", mirrored" * pair.mirrored,
    }
