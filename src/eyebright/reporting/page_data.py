"""What the page's script reads: a JSON object, with the images as sprites and the maps as bytes.

Everything here was computed elsewhere; this module lays it out, small. Images are numbered in the order of
`Findings.gallery`, and everything else on the page refers to them by that number. Shares are whole
ten-thousandths.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyebright.evaluation.confidence import OperatingPoint
from eyebright.evaluation.predictions import Predictions
from eyebright.insight.findings import Findings
from eyebright.insight.parts import EmbeddedImages, NearestTraining, ShownMaps
from eyebright.insight.thumbnails import Thumbnails
from eyebright.reporting.charts import scatter
from eyebright.reporting.pictures import LARGEST_SPRITE, Sprite, sprite

_TOP = 5  # classes whose probability is shown for an image
_SHARE = 10_000  # a probability of 1
_NEIGHBOURS_SPRITE = LARGEST_SPRITE // 3  # bytes


def embedded(content: Mapping[str, Any]) -> str:
    """The object as text that no class or file name can end or escape from inside a script element."""
    return json.dumps(content, separators=(",", ":")).replace("<", "\\u003c")


def of_images(pictures: Thumbnails, predictions: Predictions) -> dict[str, Any]:
    """The images of a gallery: pixels, where they come from, and their true class."""
    rows = pictures.position
    return {
        "classes": list(predictions.classes),
        "source": predictions.source,
        "split": predictions.split,
        "index": predictions.index[rows].tolist(),
        "names": list(pictures.names),
        "files": pictures.files,
        "given": predictions.labels[rows].tolist(),
        "sprite": _sprite(pictures),
    }


def of_answers(predictions: Predictions, rows: NDArray[np.int64], title: str) -> dict[str, Any]:
    """What a model said of the images at `rows` (n,), under a title: its best classes with their probabilities."""
    probabilities = predictions.probabilities[rows]  # (n, K)
    top = min(_TOP, probabilities.shape[1])
    best = np.argsort(-probabilities, axis=1, kind="stable")[:, :top]  # (n, top)
    every = np.arange(len(rows))
    return {
        "title": title,
        "top": top,
        "predicted": predictions.predicted[rows].tolist(),
        "best": best.ravel().tolist(),
        "shares": _whole(np.take_along_axis(probabilities, best, axis=1)),
        "given_share": _whole(probabilities[every, predictions.labels[rows]]),
    }


def of_points(points: Sequence[OperatingPoint]) -> list[list[float]]:
    """Per operating point: threshold, answered, coverage, accuracy, its interval, wrong answers."""
    return [
        [
            p.threshold,
            p.answered,
            round(p.coverage, 6),
            *_rounded(p.accuracy.value, p.accuracy.low, p.accuracy.high),
            p.wrong,
        ]
        for p in points
    ]


def of_findings(findings: Findings) -> dict[str, Any]:
    """Maps, neighbours and the embedding, by the number of their image."""
    if findings.gallery is None:
        return {}
    number = {position: place for place, position in enumerate(findings.gallery.position.tolist())}
    parts = {
        "maps": _maps(findings.maps, number) if findings.maps else None,
        "nearest": _nearest(findings.nearest, number) if findings.nearest else None,
        "embedding": _embedded_images(findings.embedding, number) if findings.embedding else None,
    }
    return {"fingerprint": findings.fingerprint} | parts


def of_sprite(laid: Sprite) -> dict[str, Any]:
    """Sheets of pictures, and where on them each one is."""
    return {
        "width": laid.width,
        "height": laid.height,
        "columns": laid.columns,
        "per_sheet": laid.per_sheet,
        "sheets": list(laid.sheets),
    }


def _maps(maps: ShownMaps, number: Mapping[int, int]) -> dict[str, Any]:
    _, height, width = maps.images.shape
    return {
        "of": [number.get(position, -1) for position in maps.position.tolist()],
        "explained": maps.classes.tolist(),
        "doubt": "" if maps.checked.trusted else maps.checked.verdict,
        "height": height,
        "width": width,
        "bytes": base64.b64encode(np.ascontiguousarray(maps.images).tobytes()).decode(),
    }


def _nearest(nearest: NearestTraining, number: Mapping[int, int]) -> dict[str, Any]:
    return {
        "of": [number.get(position, -1) for position in nearest.position.tolist()],
        "note": _searched(nearest),
        "each": nearest.neighbour.shape[1],
        "tiles": nearest.neighbour.ravel().tolist(),
        "similarity": np.round(nearest.similarity.ravel().astype(np.float64), 2).tolist(),
        "labels": nearest.labels.tolist(),
        "names": list(nearest.thumbnails.names),
        "sprite": _sprite(nearest.thumbnails, _NEIGHBOURS_SPRITE),
    }


def _embedded_images(found: EmbeddedImages, number: Mapping[int, int]) -> dict[str, Any]:
    places, _ = scatter.placed(found.embedding.points)
    return {
        "of": [number.get(position, -1) for position in found.position.tolist()],
        "places": places.ravel().tolist(),
    }


def _searched(nearest: NearestTraining) -> str:
    among = f"all {nearest.of:,}" if nearest.searched == nearest.of else f"{nearest.searched:,} of the {nearest.of:,}"
    return f"Of {among} training images, those whose features are most like this one's; 1.00 is the same."


def _sprite(pictures: Thumbnails, largest: int = LARGEST_SPRITE) -> dict[str, Any]:
    return of_sprite(sprite(pictures.images, largest=largest))


def _whole(shares: NDArray[np.float32]) -> list[int]:
    whole: list[int] = np.rint(shares.ravel().astype(np.float64) * _SHARE).astype(np.int64).tolist()
    return whole


def _rounded(*values: float) -> list[float]:
    return [round(value, 6) for value in values]
