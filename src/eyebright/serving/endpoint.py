"""`Endpoint`: what `/predict` and `/explain` have in common: a POST with images, straight from ASGI.

They do without FastAPI's layers, which take longer than a small network. The application sends everything else to
FastAPI.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from eyebright.serving.key import Key
from eyebright.serving.metrics import Metrics
from eyebright.serving.problems import Problem, failed
from eyebright.serving.settings import ServerSettings
from eyebright.serving.shelf import Shelf
from eyebright.serving.upload import Budget, ClientGoneError, Receive, Upload, discard, images_of, read_body

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

_log = logging.getLogger(__name__)
JSON: Headers = [(b"content-type", b"application/json")]
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


class Endpoint(ABC):
    """An ASGI application for one path.

    Parameters
    ----------
    shelf : the models.
    key : that requests must carry, if any.
    budget : of bytes in memory, shared by all endpoints.
    """

    path: str

    def __init__(self, shelf: Shelf, key: Key, budget: Budget, settings: ServerSettings, metrics: Metrics) -> None:
        self.shelf = shelf
        self.settings = settings
        self._key = key
        self._budget = budget
        self._requests = metrics.requests
        self._seconds = metrics.seconds.labels(self.path)
        self._done = metrics.requests.labels(self.path, "200")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        begun = time.perf_counter()
        try:
            headers, content = await self._respond(scope, receive)
            status = 200
            self._done.inc()
        except ClientGoneError:
            return
        except Problem as problem:
            status, headers, content = self._refusal(problem)
        except Exception:  # noqa: BLE001 - the server goes on
            _log.exception("%s failed", self.path)
            status, headers, content = self._refusal(failed())
        headers = [*headers, (b"content-length", b"%d" % len(content))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})
        self._seconds.observe(time.perf_counter() - begun)

    def _refusal(self, problem: Problem) -> tuple[int, Headers, bytes]:
        self._requests.labels(self.path, str(problem.status)).inc()
        return problem.status, problem.all_headers(), problem.content()

    async def _respond(self, scope: Scope, receive: Receive) -> tuple[Headers, bytes]:
        headers = dict(scope["headers"])
        try:
            if scope["method"] != "POST":
                raise Problem("wrong-method", f"{self.path} takes POST.", "Use POST.", ((b"allow", b"POST"),))
            self._key.check(headers)
        except Problem as problem:
            problem.headers += await discard(receive)
            raise
        with self._budget.hold() as held:
            uploads = await images_of(  # the body itself is not kept beside them
                headers.get(b"content-type", b""),
                await read_body(receive, headers, self.settings.max_body, held),
                self.settings.max_images,
                held,
            )
            try:
                async with asyncio.timeout(self.settings.answer_seconds):
                    return await self.answer(scope["query_string"], uploads)
            except TimeoutError as error:
                raise Problem(
                    "timed-out",
                    f"the answer took longer than {self.settings.answer_seconds:g} s.",
                    "Send fewer or smaller images, or try again later.",
                ) from error

    @abstractmethod
    async def answer(self, query: bytes, uploads: list[Upload]) -> tuple[Headers, bytes]:
        """Headers and content of the answer to some images.

        Raises
        ------
        Problem : they are refused.
        """


def to_json(value: Mapping[str, Any]) -> bytes:
    """UTF-8, compact."""
    return _ENCODER.encode(value).encode(errors="replace")
