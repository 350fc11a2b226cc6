"""Debian's Chromium, and pages to open in it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from eyebright.reporting.report import report
from tests.reporting.conftest import FakeRun, fake_run, findings

_NAMES = ("chromium", "chromium-browser", "google-chrome")
WIDE, PHONE = (1400, 900), (390, 844)  # pixels


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One browser for all tests; each page has a profile of its own."""
    path = next(filter(None, map(shutil.which, _NAMES)), None)
    if path is None:
        pytest.skip(f"no browser here (looked for {', '.join(_NAMES)}): `make browser` installs one on Debian")
    expect.set_options(timeout=20_000)  # milliseconds: a busy machine is not a failure
    with sync_playwright() as playwright:
        # The tests of a build run as root, whom Chromium's sandbox refuses.
        launched = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield launched
        launched.close()


Open = Callable[..., Page]


@pytest.fixture(name="open_page")
def open_page_fixture(browser: Browser) -> Iterator[Open]:
    """Open a file; whatever the page complains of, asks the network for or pops up fails the test at its end."""
    contexts: list[BrowserContext] = []
    problems: list[str] = []
    asked: list[str] = []

    def open_page(path: Path, size: tuple[int, int] = WIDE, **options: Any) -> Page:
        context = browser.new_context(viewport={"width": size[0], "height": size[1]}, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: problems.append(f"error: {error}"))
        page.on("console", lambda message: problems.append(f"{message.type}: {message.text}"))
        page.on("dialog", lambda dialog: problems.append(f"popped up: {dialog.message}"))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(path.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert problems == []
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []


@pytest.fixture(scope="session")
def run() -> FakeRun:
    return fake_run()


@pytest.fixture(scope="session")
def report_file(run: FakeRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report that has everything, of images of noise."""
    return report(run, findings(run.predicted["test"])).write(tmp_path_factory.mktemp("pages") / "report.html")
