"""Everything but `/predict` and `/explain`, in FastAPI: models, health, metrics, images of the bundles, the page."""

from __future__ import annotations

import functools
import io
import logging
from pathlib import Path
from typing import Any

from fastapi import Depends, FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from PIL import Image
from starlette.exceptions import HTTPException

from eyebright.serving import document, metrics, query
from eyebright.serving.answers import ExampleAnswer, ModelAnswer, ReloadAnswer, StateAnswer
from eyebright.serving.key import Key
from eyebright.serving.metrics import Metrics
from eyebright.serving.problems import Problem, failed
from eyebright.serving.query import ModelQuery
from eyebright.serving.served_model import ServedModel
from eyebright.serving.settings import ServerSettings
from eyebright.serving.shelf import Shelf

PAGE = Path(__file__).resolve().parents[1] / "page"
_TITLE = "Eyebright"
_log = logging.getLogger(__name__)
# The page loads nothing from elsewhere, and nobody may frame it. Images also come from the camera and the clipboard.
_PAGE_HEADERS = {
    "content-security-policy": "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:;"
    " frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    "x-content-type-options": "nosniff",
    "cache-control": "no-cache",
}
# An image of a bundle has the version in its address.
_KEPT = {"cache-control": "private, max-age=86400", "x-content-type-options": "nosniff"}


def build(shelf: Shelf, key: Key, settings: ServerSettings, numbers: Metrics) -> FastAPI:
    """The application."""
    # No pages of Swagger or ReDoc: they load their scripts from elsewhere.
    api = FastAPI(title=_TITLE, docs_url=None, redoc_url=None)
    api.openapi = functools.partial(_document, api, key)  # type: ignore[method-assign]  # as FastAPI's manual has it
    api.add_exception_handler(Problem, _tell)
    api.add_exception_handler(HTTPException, _tell_plain)
    api.add_exception_handler(Exception, _tell_failure)
    _add_state(api, shelf, settings)
    _add_models(api, shelf, key)
    _add_images(api, shelf, key)

    @api.get("/metrics", response_class=Response, responses=_kind("text/plain"), dependencies=[_guarded(key)])
    def metrics_() -> Response:
        """Numbers for Prometheus."""
        return Response(numbers.exposition(), media_type=metrics.MEDIA_TYPE)

    api.mount("/", _Page(directory=PAGE, html=True), name="page")  # last: it takes every path
    return api


def _add_state(api: FastAPI, shelf: Shelf, settings: ServerSettings) -> None:
    @api.get("/healthz")
    def healthz() -> StateAnswer:
        """The process lives."""
        return StateAnswer(status="alive")

    @api.get("/readyz", responses=document.refusals("503"))
    def readyz() -> StateAnswer:
        """It takes images: their queues are not full."""
        for served in shelf:
            if served.batcher.waiting >= settings.max_queue:
                raise Problem("not-ready", f"the queue of {served.bundle.name} is full.", "Ask another server.")
        return StateAnswer(status="ready")


def _add_models(api: FastAPI, shelf: Shelf, key: Key) -> None:
    @api.get("/models", dependencies=[_guarded(key)])
    def models() -> list[ModelAnswer]:
        """The models that are served, the default first."""
        return _described(shelf)

    @api.post("/models/reload", responses=document.refusals("403"), dependencies=[_guarded(key)])
    async def reload() -> ReloadAnswer:
        """Open the bundles that have changed. Other worker processes find the change by themselves."""
        if not key.is_set:
            raise Problem("forbidden", "only a server with a key reloads on request.", "Start it with --api-key-file.")
        failures = await shelf.reload()
        return ReloadAnswer(models=_described(shelf), failures=failures)


def _add_images(api: FastAPI, shelf: Shelf, key: Key) -> None:
    picture: dict[str, Any] = {
        "response_class": Response,
        "responses": _kind("image/png") | document.refusals("400", "404"),
        "dependencies": [_guarded(key)],
        "openapi_extra": {"parameters": query.parameters(ModelQuery)},
    }

    @api.get(
        "/examples",
        responses=document.refusals("400", "404"),
        dependencies=picture["dependencies"],
        openapi_extra=picture["openapi_extra"],
    )
    def examples(request: Request) -> list[ExampleAnswer]:
        """Images to try a model on."""
        served = _asked_for(shelf, request)
        return [
            ExampleAnswer(name=path.stem, image=served.place_of("examples", number))
            for number, path in enumerate(served.bundle.examples)
        ]

    @api.get("/examples/{number}.png", **picture)
    def example(number: str, request: Request) -> Response:
        """One of them."""
        bundle = _asked_for(shelf, request).bundle
        paths = bundle.examples
        place = _place(number, len(paths))
        if place is None:
            raise Problem("not-found", f"there are {len(paths)} examples.", "See /examples.")
        path = paths[place].resolve()
        if not path.is_relative_to(bundle.path.resolve()):  # a bundle may come from a stranger, with links
            raise Problem("not-found", f"example {number} is a link out of the bundle.", "Put a copy of it there.")
        return FileResponse(path, media_type="image/png", headers=_KEPT)

    @api.get("/known/{number}.png", **picture)
    def known(number: str, request: Request) -> Response:
        """A known image that an answer named as near."""
        images = _asked_for(shelf, request).known
        place = _place(number, 0 if images is None else len(images))
        if images is None or place is None:
            raise Problem("not-found", "there is no such known image.", "Use the paths in the answer of /predict.")
        packed = io.BytesIO()
        pixels = images.thumbnails[place]  # (h, w, C)
        Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(packed, "PNG")
        return Response(packed.getvalue(), media_type="image/png", headers=_KEPT)


def _place(number: str, count: int) -> int | None:
    """A number of a URL as a place among `count`; None where it is none."""
    # Python refuses to read numbers of thousands of digits.
    readable = number.isascii() and number.isdecimal() and len(number) <= len(str(count))
    return int(number) if readable and int(number) < count else None


def _guarded(key: Key) -> Any:
    """Let only requests with the key through."""

    def check(request: Request) -> None:
        key.check(dict(request.headers.raw))

    return Depends(check)


def _asked_for(shelf: Shelf, request: Request) -> ServedModel:
    asked = query.parse(ModelQuery, request.scope["query_string"])
    return shelf.find(asked.model, asked.version)


def _described(shelf: Shelf) -> list[ModelAnswer]:
    return [_describe(served, default=number == 0) for number, served in enumerate(shelf)]


def _describe(served: ServedModel, *, default: bool) -> ModelAnswer:
    bundle = served.bundle
    spec, manifest, accuracy = bundle.spec, bundle.manifest, bundle.certificate.file_accuracy
    return ModelAnswer(
        name=bundle.name,
        version=bundle.version,
        default=default,
        precision=manifest.precision,
        classes=list(bundle.classes),
        height=spec.height,
        width=spec.width,
        channels=spec.channels,
        resize=spec.resize,
        risks=sorted(manifest.conformal),
        known_images=0 if served.known is None else len(served.known),
        examples=len(bundle.examples),
        accuracy=accuracy.value,
        accuracy_low=accuracy.low,
        accuracy_high=accuracy.high,
        limits=list(manifest.limits),
    )


class _Page(StaticFiles):
    """The files of the page, with headers that keep other sites out of it."""

    def file_response(self, *arguments: Any, **options: Any) -> Response:
        """As the library has it."""
        response = super().file_response(*arguments, **options)
        response.headers.update(_PAGE_HEADERS)
        return response


def _kind(media_type: str) -> dict[int | str, dict[str, Any]]:
    return {200: {"content": {media_type: {}}, "description": "It."}}


def _document(api: FastAPI, key: Key) -> dict[str, Any]:
    if not api.openapi_schema:
        from eyebright import __version__

        plain = get_openapi(title=_TITLE, version=__version__, routes=api.routes)
        api.openapi_schema = document.complete(plain, with_key=key.is_set)
    return api.openapi_schema


def _tell(_request: Request, problem: Exception) -> Response:
    assert isinstance(problem, Problem)  # noqa: S101 - the handler is for no other
    headers = {name.decode(): value.decode() for name, value in problem.all_headers()}
    return Response(problem.content(), problem.status, headers)


def _tell_plain(request: Request, error: Exception) -> Response:
    """What Starlette refuses by itself."""
    assert isinstance(error, HTTPException)  # noqa: S101 - the handler is for no other
    path = request.scope["path"]
    headers = tuple((name.lower().encode(), value.encode()) for name, value in (error.headers or {}).items())
    if error.status_code == 405:
        return _tell(request, Problem("wrong-method", f"{path} does not take {request.method}.", "See Allow.", headers))
    return _tell(request, Problem("not-found", f"there is nothing at {path}.", "See /openapi.json.", headers))


def _tell_failure(request: Request, _error: Exception) -> Response:
    """Starlette logs the error itself."""
    return _tell(request, failed())
