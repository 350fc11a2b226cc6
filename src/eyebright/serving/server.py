"""`run`: the server on its address, in one process or several, until a signal ends it."""

from __future__ import annotations

import contextlib
import errno
import functools
import importlib.util
import os
import socket
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from eyebright.core.errors import MissingExtraError, ServingError
from eyebright.serving.settings import ServerSettings

if TYPE_CHECKING:
    import asyncio

    import uvicorn

    from eyebright.serving.application import Application
    from eyebright.serving.protocol import GuardedProtocol

_PACKAGES = ("fastapi", "httptools", "onnxruntime", "prometheus_client", "python_multipart", "uvicorn")  # of the extra
_BACKLOG = 2048  # connections that the operating system holds for a server that is busy accepting others
_OTHER_FILES = 256  # open beside the connections: libraries, bundles, standard streams

# To standard error; the server's own remarks, and of uvicorn what went wrong.
_LOG: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "%(levelname)s: %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "loggers": {
        "eyebright": {"handlers": ["stderr"], "level": "INFO", "propagate": False},
        "uvicorn": {"handlers": ["stderr"], "level": "ERROR", "propagate": False},
    },
}


def run(
    paths: Sequence[Path],
    settings: ServerSettings,
    *,
    key_file: Path | None = None,
    listening: Callable[[str], None] = lambda _url: None,
) -> None:
    """Serve bundles until SIGTERM or Ctrl-C; what has arrived by then is answered.

    Parameters
    ----------
    paths : of the bundles; the first is the default.
    key_file : holds the key that requests must carry.
    listening : is told the address, before the bundles are opened.

    Raises
    ------
    ServingError : the address cannot be had.
    MissingExtraError : the packages of the server are not installed.
    SystemExit : a bundle cannot be opened; the log says why.
    """
    for package in _PACKAGES:
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(package, "serve")
    import uvicorn

    with _bound(settings.host, settings.port) as listener:
        host, port = listener.getsockname()[:2]
        listening(f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")
        _allow_files(settings.max_connections + _OTHER_FILES)
        config = configured(paths, settings, key_file, _LOG)
        if settings.workers == 1:
            uvicorn.Server(config).run([listener])
        else:
            _run_workers(config, listener)


def configured(
    paths: Sequence[Path],
    settings: ServerSettings,
    key_file: Path | None = None,
    log: dict[str, Any] | None = None,
) -> uvicorn.Config:
    """What uvicorn is told, for a program that runs it itself; arguments as for `run`."""
    import uvicorn

    return uvicorn.Config(
        functools.partial(_application, tuple(paths), settings, key_file),
        factory=True,
        http=cast("type[asyncio.Protocol]", functools.partial(_protocol, limits=settings)),
        ws="none",
        lifespan="on",
        workers=settings.workers,
        backlog=_BACKLOG,
        timeout_keep_alive=settings.idle_seconds,
        timeout_graceful_shutdown=settings.drain_seconds,
        log_config=log,
        access_log=False,
        proxy_headers=False,
        server_header=False,
    )


# uvicorn calls these two in the process that serves: the one that only watches over workers needs no numpy.
def _application(paths: Sequence[Path], settings: ServerSettings, key_file: Path | None) -> Application:
    from eyebright.serving.application import Application

    return Application(paths, settings, key_file)


def _protocol(**options: Any) -> GuardedProtocol:
    from eyebright.serving.protocol import GuardedProtocol

    return GuardedProtocol(**options)


def _run_workers(config: uvicorn.Config, listener: socket.socket) -> None:
    from uvicorn.config import STARTUP_FAILURE
    from uvicorn.supervisors import Multiprocess

    from eyebright.serving.metrics import FOLDER_VARIABLE

    with tempfile.TemporaryDirectory(prefix="eyebright-metrics-") as folder:
        os.environ[FOLDER_VARIABLE] = folder
        try:
            workers = Multiprocess(config, [listener])
            workers.run()
        finally:
            del os.environ[FOLDER_VARIABLE]
    if any(process.exitcode == STARTUP_FAILURE for process in workers.processes):
        raise SystemExit(STARTUP_FAILURE)  # as one process alone does


def _bound(host: str, port: int) -> socket.socket:
    """A socket that has its address and does not listen yet: nobody connects before the bundles are open."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with contextlib.ExitStack() as unless_bound:
            listener = unless_bound.enter_context(socket.socket(family, kind, protocol))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            unless_bound.pop_all()
            return listener
    except socket.gaierror as error:
        raise ServingError(f"there is no host {host!r}: {error.strerror}.", "Try: --host 127.0.0.1") from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ServingError(f"port {port} is in use.", f"Take another one: --port {port + 1}") from error
        if error.errno in {errno.EACCES, errno.EADDRNOTAVAIL}:
            raise ServingError(f"{host}:{port} cannot be had: {error.strerror}.", "Try: --port 8000") from error
        raise


def _allow_files(wanted: int) -> None:
    """Let this process open as many files; by default Linux allows 1024, and a connection is one."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
