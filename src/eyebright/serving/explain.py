"""`POST /explain`: what speaks for a class in an image."""

from __future__ import annotations

import asyncio
import io
from concurrent.futures import Executor
from typing import Any

import numpy as np
from PIL import Image

from eyebright.core.errors import nearest
from eyebright.exporting.graph import PROBABILITIES
from eyebright.insight.overlay import overlay
from eyebright.serving import query
from eyebright.serving.endpoint import JSON, Endpoint, Headers, to_json
from eyebright.serving.key import Key
from eyebright.serving.metrics import Metrics
from eyebright.serving.problems import Problem, overloaded
from eyebright.serving.query import ExplainQuery
from eyebright.serving.served_model import ServedModel
from eyebright.serving.settings import ServerSettings
from eyebright.serving.shelf import Shelf
from eyebright.serving.upload import Budget, Upload

_PNG: Headers = [(b"content-type", b"image/png")]
_SHOWN_EDGE = 256  # pixels of the shorter side of a picture: one of 32 would be a stamp
_DIGITS = 3


class Explain(Endpoint):
    """The map of what speaks for a class, over the image as the model sees it.

    Parameters
    ----------
    explainer : a thread of its own, so that maps, which take many inferences, leave the lanes to the predictions.
    """

    path = "/explain"

    def __init__(
        self,
        shelf: Shelf,
        key: Key,
        budget: Budget,
        settings: ServerSettings,
        metrics: Metrics,
        explainer: Executor,
    ) -> None:
        super().__init__(shelf, key, budget, settings, metrics)
        self._explainer = explainer
        self._under_way = 0

    async def answer(self, query_string: bytes, uploads: list[Upload]) -> tuple[Headers, bytes]:
        """A PNG, or JSON."""
        asked = query.parse(ExplainQuery, query_string)
        model = self.shelf.find(asked.model, asked.version)
        if len(uploads) != 1:
            raise Problem("too-many-images", "/explain takes one image at a time.", "Send several requests.")
        classes = model.bundle.classes
        if asked.label is not None and asked.label not in classes:
            raise Problem("bad-parameter", f"the model knows no class {asked.label!r}.", nearest(asked.label, classes))
        if self._under_way >= self.settings.max_explanations:
            raise overloaded(f"{self._under_way} explanations are being made already.")
        self._under_way += 1
        work = asyncio.get_running_loop().run_in_executor(self._explainer, _explained, model, uploads[0], asked)
        work.add_done_callback(self._closed)  # and not when the client gives up: the thread cannot be stopped
        return await asyncio.shield(work)

    def _closed(self, work: asyncio.Future[tuple[Headers, bytes]]) -> None:
        self._under_way -= 1
        if not work.cancelled():
            work.exception()  # seen, even where nobody waits for it any more


def _explained(model: ServedModel, upload: Upload, asked: ExplainQuery) -> tuple[Headers, bytes]:
    bundle = model.bundle
    pixels = model.reader.read(upload)  # (h, w, C)
    probabilities = bundle.run(pixels[np.newaxis], [PROBABILITIES])[0][0]  # (K,)
    label = int(probabilities.argmax()) if asked.label is None else bundle.classes.index(asked.label)
    heat = bundle.explain(pixels, label)  # (h, w)
    height, width = heat.shape
    if asked.format == "json":
        said: dict[str, Any] = {"model": bundle.name, "version": bundle.version, "label": bundle.classes[label]}
        said |= {"probability": round(float(probabilities[label]), 6), "height": height, "width": width}
        return JSON, to_json(said | {"heat": heat.round(_DIGITS).astype(float).round(_DIGITS).tolist()})
    picture = Image.fromarray(overlay(pixels[np.newaxis], heat[np.newaxis])[0])
    factor = -(-_SHOWN_EDGE // min(height, width))
    packed = io.BytesIO()
    picture.resize((factor * width, factor * height), Image.Resampling.NEAREST).save(packed, "PNG")
    return _PNG, packed.getvalue()
