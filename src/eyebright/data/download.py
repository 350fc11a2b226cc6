"""Fetching a file from one of its mirrors: checked, resumed after an interruption, whole or not there at all."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import requests
import urllib3
from filelock import FileLock

from eyebright.core.errors import DownloadError
from eyebright.core.files import storage_errors
from eyebright.data.progress import Progress

_ROUNDS = 3  # how often each mirror is asked before giving up
_CHUNK_BYTES = 1 << 16
_LEAST_RATE = 1024  # bytes per second; at this rate CIFAR-10 would take two days
_TRANSIENT = {408, 425, 429}  # answers of the 4xx family that say "later", not "never"


@dataclasses.dataclass(frozen=True)
class RemoteFile:
    """A file that can be fetched.

    Attributes
    ----------
    name : where it belongs, relative to the data root, with forward slashes.
    urls : its mirrors, in the order in which they are tried.
    checksum : "md5:..." or "sha256:..." of the whole file.
    """

    name: str
    urls: tuple[str, ...]
    checksum: str


class _InterruptedError(Exception):
    """A download that ended early; what has arrived is kept for the next attempt."""


class _RefusedError(Exception):
    """An answer that is no file."""

    def __init__(self, response: requests.Response) -> None:
        super().__init__(f"the server answers {response.status_code} {response.reason}")
        self.for_ever = 400 <= response.status_code < 500 and response.status_code not in _TRANSIENT


# What may go wrong with one mirror; ValueError is how pooch reports another checksum.
_FAILURES = (_RefusedError, _InterruptedError, requests.RequestException, urllib3.exceptions.HTTPError, ValueError)


def fetch(
    remote: RemoteFile, root: Path, *, download: bool = True, progress: Progress | None = None, timeout: float = 30.0
) -> Path:
    """The path of `remote` below `root`, downloaded if it is not there.

    A file that is there already is taken as it is, since its owner may have packed it anew; its reader
    checks the content. While a download runs its bytes are in hidden `.part` files, and it gets its name
    only once its checksum is right.

    Parameters
    ----------
    remote : what to fetch.
    root : the data root.
    download : False forbids to use the network.
    progress : told the bytes received.
    timeout : seconds; a mirror that sends nothing for so long, or less than 1 KiB/s over such a time, is left.

    Raises
    ------
    DownloadError : no mirror gave the file, or downloading is forbidden.
    StorageError : the data root cannot be written.
    """
    path = root / remote.name
    by_hand = f"fetch {' or '.join(remote.urls)} by other means and place the file at {path}"
    if path.is_file():
        return path
    if path.exists():
        raise DownloadError(f"{path} should be a file but is a folder.", f"Remove it, or {by_hand}.")
    if not download:
        raise DownloadError(
            f"{path} is missing and downloading is switched off.", f"Set data.download=true, or {by_hand}."
        )
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f".{path.name}.lock")):
            if path.is_file():  # another process fetched it while this one waited for the lock
                return path
            problems = _try_mirrors(remote, path, progress, timeout)
    if problems:
        reasons = "\n".join(f"  {url}: {reason}" for url, reason in problems.items())
        raise DownloadError(
            f"cannot download {path.name}:\n{reasons}",
            f"Try again (a new attempt goes on where this one stopped), or {by_hand}.",
        )
    return path


def _try_mirrors(remote: RemoteFile, path: Path, progress: Progress | None, timeout: float) -> dict[str, str]:
    """Ask the mirrors in turn until one gives the file: {} on success, else each mirror's last failure."""
    parts = {url: path.with_name(f".{path.name}.{place}.part") for place, url in enumerate(remote.urls)}
    problems: dict[str, str] = {}
    gone: set[str] = set()
    for url in remote.urls * _ROUNDS:
        if url in gone:
            continue
        downloader = _Downloader(parts[url], f"download {remote.name}", progress, timeout)
        try:
            with _quiet_pooch() as pooch:
                # pooch checks the sum of a temporary file and only then moves it to its name.
                pooch.retrieve(url, remote.checksum, fname=path.name, path=path.parent, downloader=downloader)
        except _FAILURES as error:
            problems[url] = _reason(error, remote, timeout)
            if isinstance(error, _RefusedError) and error.for_ever:
                gone.add(url)
        else:
            for part in parts.values():
                part.unlink(missing_ok=True)
            return {}
    return problems


@dataclasses.dataclass(frozen=True)
class _Downloader:
    """A downloader in pooch's sense that goes on where its partial file ends (HTTP Range, RFC 9110 section 14)."""

    part: Path
    what: str
    progress: Progress | None
    timeout: float

    def __call__(self, url: str, output_file: str, _pooch: Any) -> None:
        """Bring the content of `url` to `output_file`, as sent: a .gz stays one, whatever the headers say of it."""
        done = self.part.stat().st_size if self.part.exists() else 0
        headers = {"Accept-Encoding": "identity"}
        if done:
            headers["Range"] = f"bytes={done}-"
        with requests.get(url, headers=headers, stream=True, timeout=self.timeout) as response:
            resumed = response.headers.get("Content-Range", "").startswith(f"bytes {done}-")
            if response.status_code == 416 or (response.status_code == 206 and not resumed):
                self.part.unlink(missing_ok=True)
                raise _InterruptedError(f"the server cannot continue at byte {done}")
            if response.status_code not in {200, 206}:
                raise _RefusedError(response)
            if response.status_code == 200:
                done = 0  # the server sends the whole file
            length = response.headers.get("Content-Length", "")
            total = done + int(length) if length.isdecimal() else 0
            with self.part.open("ab" if done else "wb") as file:
                try:
                    for chunk in self._chunks(response):
                        file.write(chunk)
                        done += len(chunk)
                        if self.progress is not None:
                            self.progress(self.what, done, total)
                except urllib3.exceptions.ProtocolError as error:  # urllib3 compares with Content-Length too
                    raise _InterruptedError(
                        f"the connection ended after {done} of {total or 'an unknown number of'} bytes"
                    ) from error
                file.flush()
                os.fsync(file.fileno())
        self.part.replace(output_file)

    def _chunks(self, response: requests.Response) -> Iterator[bytes]:
        """The body as it arrives; a window of `timeout` seconds below the least rate ends it."""
        started, received = time.monotonic(), 0
        # read1 returns what is there; read would wait for a full chunk and hide a server that drips.
        while chunk := response.raw.read1(_CHUNK_BYTES, decode_content=False):
            yield chunk
            received += len(chunk)
            elapsed = time.monotonic() - started
            if elapsed > self.timeout:
                if received < _LEAST_RATE * elapsed:
                    raise _InterruptedError(f"slower than {_LEAST_RATE} bytes per second")
                started, received = time.monotonic(), 0


def _reason(error: Exception, remote: RemoteFile, timeout: float) -> str:
    """One of `_FAILURES` in words."""
    match error:
        case requests.Timeout() | urllib3.exceptions.TimeoutError():
            return f"no answer within {timeout:g} s"
        case requests.ConnectionError():
            return f"no connection: {_root_cause(error)}"
        case ValueError() if not isinstance(error, requests.RequestException):
            return f"the content is wrong: its checksum is not {remote.checksum}"
    return str(error)


def _root_cause(error: BaseException) -> BaseException:
    """What the operating system or the TLS library said, without the layers that passed it on."""
    while (deeper := error.__cause__ or error.__context__) is not None:
        error = deeper
    return error


@contextlib.contextmanager
def _quiet_pooch() -> Iterator[Any]:
    """pooch, kept from writing to stderr: the caller tells the user through `Progress`."""
    with warnings.catch_warnings():
        # Its own bars, which are not used, would like to be widgets in a notebook.
        warnings.filterwarnings("ignore", message="IProgress not found")
        import pooch
    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield pooch
    finally:
        logger.setLevel(level)
