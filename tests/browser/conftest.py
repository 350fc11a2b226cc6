"""Debian's Chromium, and pages to open in it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from eyebright.exporting.site import RUNTIME, RUNTIME_VERSION
from eyebright.reporting.report import report
from tests.npm import pack
from tests.reporting.conftest import FakeRun, fake_run, findings

_NAMES = ("chromium", "chromium-browser", "google-chrome")
WIDE, PHONE = (1400, 900), (390, 844)  # pixels
_CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")


@pytest.fixture(scope="module")  # not longer: its event loop would stand in the way of tests that run their own
def browser() -> Iterator[Browser]:
    """One browser for all tests of a file; each page has a profile of its own."""
    path = next(filter(None, map(shutil.which, _NAMES)), None)
    if path is None:
        pytest.skip(f"no browser here (looked for {', '.join(_NAMES)}): `make browser` installs one on Debian")
    expect.set_options(timeout=20_000)  # milliseconds: a busy machine is not a failure
    with sync_playwright() as playwright:
        # The tests of a build run as root, whom Chromium's sandbox refuses.
        launched = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", *_CAMERA])
        yield launched
        launched.close()


Open = Callable[..., Page]


@pytest.fixture(name="open_page")
def open_page_fixture(browser: Browser) -> Iterator[Open]:
    """Open a file, or the address of a server here.

    Whatever the page complains of, asks another host for or pops up fails the test at its end.
    """
    contexts: list[BrowserContext] = []
    problems: list[str] = []
    asked: list[str] = []
    allowed = ["file:", "data:", "blob:"]

    def open_page(place: Path | str, size: tuple[int, int] = WIDE, **options: Any) -> Page:
        context = browser.new_context(viewport={"width": size[0], "height": size[1]}, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: problems.append(f"error: {error}"))
        page.on("console", lambda message: problems.append(f"{message.type}: {message.text}"))
        page.on("dialog", lambda dialog: problems.append(f"popped up: {dialog.message}"))
        page.on("request", lambda request: asked.append(request.url))
        if isinstance(place, str):
            allowed.append(urljoin(place, "/"))
        page.goto(place if isinstance(place, str) else place.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    # A browser complains of every 4xx, which a page may well expect and tell its reader about.
    assert [problem for problem in problems if "the server responded with a status of 4" not in problem] == []
    assert [url for url in asked if not url.startswith(tuple(allowed))] == []


@pytest.fixture(scope="session")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ONNX Runtime for browsers, as npm packs it."""
    return pack(f"{RUNTIME}@{RUNTIME_VERSION}", tmp_path_factory.mktemp("npm"))


@pytest.fixture(scope="session")
def run() -> FakeRun:
    return fake_run()


@pytest.fixture(scope="session")
def report_file(run: FakeRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report that has everything, of images of noise."""
    return report(run, findings(run.predicted["test"])).write(tmp_path_factory.mktemp("pages") / "report.html")
