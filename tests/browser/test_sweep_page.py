"""The page of a sweep, as a reader sees it."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect

from eyebright.core.recipe import recipe
from eyebright.reporting.sweep_report import sweep_report
from tests.reporting.test_sweep_report import finished, made_up
from tests.sweeps.conftest import TINY

from .conftest import PHONE, WIDE, Open


@pytest.mark.parametrize("size", [WIDE, PHONE])
def test_fits_and_names_the_trials(open_page: Open, tmp_path: Path, size: tuple[int, int]) -> None:
    found = made_up(recipe("digits/mlp", TINY), [finished(0.5 + 0.01 * number) for number in range(12)])
    page = open_page(sweep_report(found).write(tmp_path / "page.html"), size)
    expect(page.locator(".parallel polyline")).to_have_count(12)
    expect(page.locator(".parallel polyline.best title")).to_have_text(
        "trial 11: lr=0.4 dropout=0.6; 0.610 [0.512, 0.700] n=100"
    )
    expect(page.locator(".trials tbody tr")).to_have_count(12)
    expect(page.locator(".importances li")).to_have_count(2)
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
