"""`POST /predict`: what the model says of images."""

from __future__ import annotations

from typing import Any

from eyebright.serving import query
from eyebright.serving.endpoint import JSON, Endpoint, Headers, to_json
from eyebright.serving.problems import Problem
from eyebright.serving.query import PredictQuery
from eyebright.serving.served_model import ServedModel
from eyebright.serving.upload import Upload


class Predict(Endpoint):
    """The most probable classes of each image, and whether the model is sure."""

    path = "/predict"

    async def answer(self, query_string: bytes, uploads: list[Upload]) -> tuple[Headers, bytes]:
        """JSON. An image that cannot be judged is a problem; among others that can, it is told in its place."""
        asked = query.parse(PredictQuery, query_string)
        model = self.shelf.find(asked.model, asked.version)
        risk = _risk(model, asked.risk)
        verdicts = await model.batcher.judged(uploads)
        if all(isinstance(verdict, Problem) for verdict in verdicts):
            raise next(verdict for verdict in verdicts if isinstance(verdict, Problem))
        images: list[dict[str, Any]] = []
        for upload, verdict in zip(uploads, verdicts, strict=True):
            if isinstance(verdict, Problem):
                said = {"problem": verdict.to_dict()}
            else:
                said = model.answer(verdict, asked.top, risk, asked.nearest)
            images.append({"name": upload.name, **said})
        bundle = model.bundle
        return JSON, to_json({"model": bundle.name, "version": bundle.version, "risk": risk, "images": images})


def _risk(model: ServedModel, wanted: float | None) -> float | None:
    """The risk whose threshold is used: no larger than what was wanted."""
    risks = model.bundle.manifest.conformal
    if wanted is None:
        return max(risks, default=None)
    fitting = [risk for risk in risks if risk <= wanted]
    if not fitting:
        known = ", ".join(f"{risk:g}" for risk in sorted(risks)) or "none, as it was exported without validation images"
        raise Problem(
            "bad-parameter", f"the model has no threshold for a risk of {wanted:g} or less.", f"It has: {known}."
        )
    return max(fitting)
