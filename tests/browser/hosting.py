"""A plain web host for static folders, and pages that run the modules of the page by themselves."""

from __future__ import annotations

import base64
import contextlib
import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from playwright.sync_api import Page


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_arguments: Any) -> None:
        """Say nothing."""


class _Host(http.server.ThreadingHTTPServer):
    request_queue_size = 128  # a browser opens many connections at once; the default of 5 lets some wait for seconds


@contextlib.contextmanager
def hosted(folder: Path) -> Iterator[str]:
    """The address of a folder, as any host of static pages serves it."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


def run_module(page: Page, name: str, body: str, given: Any = None) -> Any:
    """What `body`, an asynchronous function of the module's names `m` and of `given`, returns."""
    return page.evaluate(f"async (given) => {{ const m = await import('/{name}'); {body} }}", given)


def encoded(content: bytes) -> str:
    """Bytes for a page, which turns them into a blob with `BLOB`."""
    return base64.b64encode(content).decode()


BLOB = "new Blob([Uint8Array.from(atob(given.content), (sign) => sign.charCodeAt(0))])"
