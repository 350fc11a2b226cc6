"""What the page of one run shows. Lays out what was gathered; computes nothing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from eyebright.evaluation.score import Score
from eyebright.evaluation.scores import Scores, worst_first
from eyebright.insight.findings import Findings
from eyebright.reporting import numbers, page_data
from eyebright.reporting.charts import confidence, matrix, scatter
from eyebright.reporting.charts.intervals import difference, interval
from eyebright.reporting.pictures import picture
from eyebright.reporting.run_content import TITLES, best_epoch, curves, facts, gap_words, reproduction, smaller_until

if TYPE_CHECKING:
    from eyebright.evaluation.confidence import OperatingPoint
    from eyebright.insight.inside import Filters
    from eyebright.insight.reliance import ClassReliance, Reliance
    from eyebright.reporting.report import Report

# What each score means, for a reader who has not met it.
_MEANINGS = {
    "accuracy": "images whose first guess is right",
    "top-5 accuracy": "images whose class is among the first five guesses",
    "macro precision": "how often a guess is right, averaged over the classes",
    "macro recall": "how much of a class is found, averaged over the classes",
    "macro F1": "precision and recall in one number, averaged over the classes",
    "log loss": "nats; 0 is certain and right, large is certain and wrong",
    "calibration error": "how far confidence is from accuracy; biased upwards",
}
_FILTERS_SHOWN = 128  # of the first layer; more are a texture
# Shares of right answers that the summary asks for, the strictest first, and the share of the images that must get one.
_SAFE, _WORTHWHILE = (0.99, 0.95, 0.9, 0.8), 0.1
_VIEWS = {"mirror": "the image and its mirror image", "shift": "the image, its mirror image, and both moved by a pixel"}
_METHODS = {"tsne": "t-SNE", "umap": "UMAP", "pca": "the two principal components"}


def content(report: Report) -> dict[str, Any]:
    """What the template names. Charts are HTML already; all else is escaped by Jinja."""
    scores = report.scores.get(report.judged)
    headline: str = report.judged or next((split for split in reversed(TITLES) if split in report.accuracies), "")
    scale = _scale(report.accuracies.values())
    findings = report.findings or Findings()
    return {
        "title": _title(report, headline),
        "recipe": report.recipe,
        "split": report.judged,
        "scores": scores,
        "views": _VIEWS.get(scores.views, "") if scores else "",
        "headline": (headline, report.accuracies[headline]) if headline else None,
        "accuracies": [(TITLES[name], s, interval(s, *scale)) for name, s in report.accuracies.items()],
        "accuracy_scale": scale,
        "gap": gap_words(report.gap) if report.gap else None,
        "measured_in_training": "train" in report.accuracies and "train" not in report.scores,
        "facts": list(facts(report)),
        "best_epoch": best_epoch(report),
        "smaller_until": smaller_until(report),
        "curves": list(curves(report)),
        "remarks": report.remarks,
        "overall": list(_overall(scores)) if scores else [],
        "bootstrap": scores.bootstrap if scores else 0,
        "matrix": _matrix(scores) if scores else "",
        "confusions": _confusions(scores) if scores else [],
        "classes": _classes(scores) if scores else [],
        "class_scale": _class_scale(scores) if scores else (0, 1),
        "bad": report.data.get("bad", []),
        "findings": findings,
        "without_images": report.findings is None,
        "summary": list(_summary(report, scores)) if scores else [],
        **_confidence(report),
        **_insight(report, findings),
        "reproduction": reproduction(report),
    }


def script_data(report: Report) -> dict[str, Any]:
    """What the page's script reads."""
    if not report.judged:
        return {}
    predictions, findings = report.predictions[report.judged], report.findings or Findings()
    data: dict[str, Any] = {"points": page_data.of_points(report.points)}
    if findings.gallery is not None:
        data["images"] = page_data.of_images(findings.gallery, predictions)
        data["answers"] = [page_data.of_answers(predictions, findings.gallery.position, "What the model said")]
        data |= page_data.of_findings(findings)
    return data


def _title(report: Report, headline: str) -> str:
    accuracy = report.accuracies.get(headline)
    return (
        f"{report.recipe.name}: {numbers.percent(accuracy.value)} {headline} accuracy"
        if accuracy
        else report.recipe.name
    )


def _overall(scores: Scores) -> Iterator[tuple[str, str, str, str]]:
    """Name, value, interval and meaning of each score of the whole split."""
    for name, score in scores.overall.items():
        title = name[0].upper() + name[1:]
        if name == "log loss":
            yield title, numbers.number(score.value), numbers.plain_range_of(score), _MEANINGS[name]
        else:
            yield title, numbers.percent(score.value), numbers.range_of(score), _MEANINGS[name]


def _matrix(scores: Scores) -> str:
    readable = len(scores.classes) <= matrix.LARGEST_MATRIX
    return matrix.confusion(scores.confusion, scores.classes) if readable else ""


def _confusions(scores: Scores) -> list[tuple[Any, tuple[int, int], str]]:
    """The most frequent mistakes, each with its cell of the matrix and a bar, all on one scale."""
    found, place = scores.confusions(), scores.classes.index
    high = max((pair.share.high for pair in found), default=1.0)
    return [(pair, (place(pair.given), place(pair.predicted)), interval(pair.share, 0.0, high)) for pair in found]


def _classes(scores: Scores) -> list[tuple[Any, list[tuple[Score | None, str]]]]:
    """The rows of the table of classes, the weakest first: the class, then each score with its bar."""
    scale = _class_scale(scores)

    def cell(score: Score | None) -> tuple[Score | None, str]:
        return score, interval(score, *scale) if score else ""

    return [(row, [cell(row.precision), cell(row.recall), cell(row.f1)]) for row in worst_first(scores.per_class)]


def _class_scale(scores: Scores) -> tuple[float, float]:
    found = [score for row in scores.per_class for score in (row.precision, row.recall, row.f1) if score]
    return _scale(found)


def _scale(scores: Iterable[Score]) -> tuple[float, float]:
    """A scale for bars: up to 1, from the tenth below the lowest interval."""
    lowest = min((score.low for score in scores), default=0.0)
    return min(math.floor(10 * lowest) / 10, 0.9), 1.0


def _confidence(report: Report) -> dict[str, Any]:
    """How sure the model is, and what refusing the unsure images buys."""
    return {
        "reliability": confidence.reliability(report.bins) if report.bins else "",
        "coverage": confidence.coverage(report.points) if report.points else "",
        "points": report.points,
    }


def _summary(report: Report, scores: Scores) -> Iterator[tuple[str, str]]:
    """What a hurried reader should take along: a title and a sentence each."""
    weakest = worst_first(scores.per_class)[0]
    if weakest.recall is not None:
        yield (
            "Weakest class",
            f"{weakest.name}: {numbers.percent(weakest.recall.value)} of its images are found "
            f"({numbers.range_of(weakest.recall)}).",
        )
    for pair in scores.confusions(1):
        yield (
            "Most frequent mistake",
            f"{pair.given} taken for {pair.predicted}: {numbers.percent(pair.share.value)} of that class.",
        )
    safe = _safe(report.points)
    if safe and safe.threshold > 0:  # an answer to everything says nothing about silence
        yield (
            "If it may stay silent",
            f"Of the {numbers.percent(safe.coverage)} of the images of which it is at least "
            f"{numbers.percent(safe.threshold)} sure, {numbers.percent(safe.accuracy.value)} are right.",
        )


def _safe(points: Sequence[OperatingPoint]) -> OperatingPoint | None:
    """The point of the most answers that are right as often as can be asked for."""
    for asked in _SAFE:
        point = next((each for each in points if each.accuracy.value >= asked), None)
        if point and point.coverage >= _WORTHWHILE:
            return point
    return None


def _insight(report: Report, findings: Findings) -> dict[str, Any]:
    """What the model and the images say."""
    return {
        "gallery_note": " ".join(_gallery_notes(report, findings)),
        "reliance": _reliance(findings.reliance) if findings.reliance else None,
        "augmented": [(row.label, [picture(image) for image in row.images]) for row in findings.augmented],
        **_embedding(report, findings),
        **_filters(findings.filters),
    }


def _gallery_notes(report: Report, findings: Findings) -> Iterator[str]:
    """What of the images is not on the page, and whether the maps can be believed."""
    gallery, maps = findings.gallery, findings.maps
    if gallery is None:
        return
    n = len(report.predictions[report.judged])
    if len(gallery) < n:
        yield (
            f"{numbers.count(len(gallery))} of {numbers.count(n)} images are on this page: the surest mistakes, and "
            "right answers of every confidence."
        )
    if maps is not None:
        yield (
            f"Where the model looked was found for {numbers.count(len(maps.position))} images by "
            f"{numbers.words(maps.checked.method)} at {maps.checked.layer}."
        )
        if maps.checked.trusted is not False:  # a doubt stands above the images
            yield maps.checked.verdict


def _reliance(found: Reliance) -> dict[str, Any]:
    """The table of what each class hangs on, those that hang most on what lies beside the marked part first."""
    share = f"{100 * found.share:.0f}{numbers.THIN}%"
    rows = sorted(found.per_class, key=lambda row: -row.least_drop.value)
    reach = max(abs(end) for row in [found.overall, *rows] for score in _drops(row) for end in (score.low, score.high))
    return {
        "share": share,
        "region": found.region,
        "trusted": found.trusted,
        "n": found.overall.n,
        "excess": found.overall.excess,
        "rows": [
            (row, [(score, difference(-score.value, (-score.high, -score.low), reach)) for score in _drops(row)])
            for row in [found.overall, *rows]
        ],
    }


def _drops(row: ClassReliance) -> tuple[Score, Score, Score]:
    return row.most_drop, row.random_drop, row.least_drop


def _embedding(report: Report, findings: Findings) -> dict[str, Any]:
    """The map of the images."""
    found = findings.embedding
    if found is None or findings.gallery is None:
        return {"embedding": "", "embedded_classes": [], "embedding_note": ""}
    predictions = report.predictions[report.judged]
    labels, wrong = predictions.labels[found.position], ~predictions.correct[found.position]
    n, shown = len(predictions), len(found.position)
    which = f"All {numbers.count(n)}" if shown == n else f"{numbers.count(shown)} of the {numbers.count(n)}"
    return {
        "embedding": scatter.embedding(found.embedding.points, labels, wrong, predictions.classes),
        "embedded_classes": [
            (position, predictions.classes[position], scatter.style(position))
            for position in np.unique(labels).tolist()
        ],
        "embedding_note": f"{which} {report.judged} images, laid out by {_METHODS[found.embedding.method]} of the "
        "features that the model computes: images lie close that it finds alike. Only who is whose neighbour means "
        "something; the size of a cluster and the distance between two do not.",
    }


def _filters(found: Filters | None) -> dict[str, Any]:
    """Each filter as a picture."""
    if found is None:
        return {"filters": [], "filters_shown": 0}
    kernels = np.rint(255 * found.weights[:_FILTERS_SHOWN]).astype(np.uint8)  # (n, h, w, c)
    colours = kernels.shape[3] in {1, 3}  # else its channels are no colours, and stand below one another
    pictures = [picture(kernel if colours else _stacked(kernel)) for kernel in kernels]
    return {"filters": pictures, "filters_shown": len(kernels)}


def _stacked(kernel: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A filter (h, w, c) as one grey picture (c * h, w, 1)."""
    height, width, channels = kernel.shape
    return kernel.transpose(2, 0, 1).reshape(channels * height, width, 1)
