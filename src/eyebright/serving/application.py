"""`Application`: the server as ASGI sees it. It opens the bundles when it starts, and closes what it opened."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import threading
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from eyebright.core.errors import EyebrightError
from eyebright.core.processor import available_threads
from eyebright.serving import api
from eyebright.serving.endpoint import Endpoint, Scope, Send
from eyebright.serving.explain import Explain
from eyebright.serving.key import Key
from eyebright.serving.metrics import Metrics
from eyebright.serving.predict import Predict
from eyebright.serving.settings import ServerSettings
from eyebright.serving.shelf import Shelf
from eyebright.serving.upload import Budget, Receive

_log = logging.getLogger(__name__)
_Application = Callable[[Scope, Receive, Send], Awaitable[None]]


class Application:
    """Serves bundles.

    Parameters
    ----------
    paths : of the bundles; the first is the default.
    settings : how.
    key_file : holds the key that requests must carry.
    """

    def __init__(
        self, paths: Sequence[Path], settings: ServerSettings | None = None, key_file: Path | None = None
    ) -> None:
        self._paths = tuple(paths)
        self._settings = settings or ServerSettings()
        self._key_file = key_file
        self._open = contextlib.AsyncExitStack()
        self._endpoints: dict[str, Endpoint] = {}
        self._others: _Application | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or live through the lifespan of the server."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        endpoint = self._endpoints.get(scope["path"]) if scope["type"] == "http" else None
        application = endpoint or self._others
        assert application is not None  # noqa: S101 - ASGI begins with the lifespan
        await application(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        async with self._open:
            try:
                await self._start()
            except EyebrightError as error:
                await send({"type": "lifespan.startup.failed", "message": f"{error.cause} {error.remedy}"})
                raise
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})

    async def _start(self) -> None:
        settings = self._settings
        key, metrics, budget = Key.read(self._key_file), Metrics(), Budget(settings.max_bytes_held)
        self._open.callback(metrics.close)
        count = settings.lanes or max(1, available_threads() // settings.workers)
        lanes = self._open.enter_context(ThreadPoolExecutor(count, "lane"))
        explainer = self._open.enter_context(ThreadPoolExecutor(1, "explainer"))
        shelf = Shelf(self._paths, lanes, count, settings, metrics)
        await shelf.open()
        endpoints = (
            Predict(shelf, key, budget, settings, metrics),
            Explain(shelf, key, budget, settings, metrics, explainer),
        )
        self._endpoints = {endpoint.path: endpoint for endpoint in endpoints}
        self._others = api.build(shelf, key, settings, metrics)
        if settings.watch_seconds:
            self._in_background(shelf.watch())
        self._reload_on_hangup(shelf)
        _log.info("serving %s", ", ".join(f"{served.bundle.name} {served.bundle.version}" for served in shelf))

    def _in_background(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._open.callback(task.cancel)

    def _reload_on_hangup(self, shelf: Shelf) -> None:
        """SIGHUP, as other servers have it. Python hands signals to the main thread only."""
        if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGHUP"):
            return
        loop = asyncio.get_running_loop()
        reloads: set[asyncio.Task[list[str]]] = set()  # the loop itself keeps no task alive

        def reload() -> None:
            task = loop.create_task(shelf.reload())
            reloads.add(task)
            task.add_done_callback(reloads.discard)

        loop.add_signal_handler(signal.SIGHUP, reload)
        self._open.callback(loop.remove_signal_handler, signal.SIGHUP)
