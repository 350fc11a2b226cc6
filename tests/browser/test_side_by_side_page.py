"""Two runs on one page, as a reader uses it."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect

from eyebright.data.image_set import Splits
from eyebright.reporting.side_by_side import side_by_side
from eyebright.training.run import Run
from tests.reporting.test_side_by_side import runs_fixture, splits_fixture

from .conftest import PHONE, WIDE, Open

__all__ = ["runs_fixture", "splits_fixture"]  # fixtures of the tests of the page's content


@pytest.mark.parametrize("size", [WIDE, PHONE])
def test_flips_open_with_what_both_said(
    open_page: Open, runs: tuple[Run, Run], splits: Splits, tmp_path: Path, size: tuple[int, int]
) -> None:
    page = open_page(side_by_side(*runs, splits).write(tmp_path / "page.html"), size)
    expect(page.locator("#mended .thumb")).to_have_count(9)
    expect(page.locator("#broken .thumb")).to_have_count(1)
    page.locator("#mended .thumb").first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("heading", level=3)).to_have_text(["digits/mlp", "digits/cnn"])
    expect(dialog.locator("#detail-place")).to_have_text("1 of 9")
    expect(dialog.locator("#detail-mark")).to_have_count(0)
    given = dialog.locator("#detail-title").inner_text()
    first, second = dialog.locator(".bars").all()
    assert given not in first.locator(".bar-name").first.inner_text()
    assert second.locator(".bar-name").first.inner_text() == f"{given} true class"
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    page.keyboard.press("Escape")
    expect(page.locator("#mended .thumb").first).to_be_focused()


def test_opens_without_images(open_page: Open, runs: tuple[Run, Run], tmp_path: Path) -> None:
    page = open_page(side_by_side(*runs).write(tmp_path / "page.html"))
    expect(page.locator(".thumb")).to_have_count(0)
    page.locator("#reproduce summary").first.click()
    expect(page.locator("#reproduce .recipe").first).to_be_visible()
