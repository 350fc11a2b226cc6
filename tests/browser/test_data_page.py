"""The page of the data doctor, as a reader uses it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from eyebright.data.label_patch import LabelPatch
from eyebright.reporting.data_report import data_report
from tests.reporting.test_data_report import doubted, made_findings

from .conftest import PHONE, WIDE, Open
from .test_report_page import pixels, reload_until, saved


@pytest.fixture(name="page_file", scope="module")
def page_file_fixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return data_report(doubted(made_findings())).write(tmp_path_factory.mktemp("page") / "report.html")


@pytest.mark.parametrize("size", [WIDE, PHONE])
def test_pairs_are_shown_and_chosen(open_page: Open, page_file: Path, size: tuple[int, int]) -> None:
    page = open_page(page_file, size)
    pairs = page.locator("#pairs li")
    expect(pairs).to_have_count(2)
    expect(page.locator("#pairs-count")).to_have_text("2 pairs")
    stored = np.asarray(made_findings().splits.train.store.pixels)
    shown = pixels(pairs.first.locator("canvas").first)  # row 3
    factor = len(shown) // stored.shape[1]
    assert (shown == stored[3].repeat(factor, axis=0).repeat(factor, axis=1)).all()
    expect(pairs.first.locator(".caption")).to_have_text(["b", "Training 3", "3", "a", "Validation 12", "12"])
    page.locator("#pairs-kind").select_option("across")
    expect(pairs).to_have_count(1)
    expect(pairs.locator("p")).to_contain_text("likeness 0.")
    expect(page.locator('#pairs-kind option[value="within"]')).to_be_disabled()
    page.locator("#pairs-kind").select_option("")
    page.locator("#pairs-order").select_option("alike")
    expect(pairs.first.locator("p")).to_contain_text("likeness 0.")
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]


def listed(page: Page) -> list[str]:
    return page.locator("#marks-list li span").all_inner_texts()


def test_what_is_believed_becomes_a_patch(open_page: Open, page_file: Path, tmp_path: Path) -> None:
    page = open_page(page_file)
    thumbs = page.locator("#gallery .thumb")
    expect(thumbs).to_have_count(2)
    expect(thumbs.first.locator(".caption")).to_have_text(["b", "\u2192 a"])
    thumbs.first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog.locator("#detail-title")).to_have_text("labelled b, rather a")
    expect(dialog.get_by_role("heading", level=3).first).to_have_text("Models that did not see it say")
    expect(dialog.locator(".bar-name")).to_have_text(["a", "b label"])
    page.keyboard.press("m")
    expect(dialog.locator("#detail-marked")).to_have_text("Marked: \u201cb\u201d should be \u201ca\u201d.")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("M")
    page.keyboard.press("Escape")
    assert len(listed(page)) == 2
    expect(page.locator("#gallery .thumb.marked")).to_have_count(2)
    thumbs.first.click()
    page.keyboard.press("m")  # takes the mark back
    page.keyboard.press("Escape")
    expect(page.locator("#gallery .thumb.marked")).to_have_count(1)
    page.locator("#choose-order").select_option("unsure")
    expect(thumbs.first).to_have_class("thumb wrong marked")
    _, path = saved(page, tmp_path)
    splits = made_findings().splits
    (change,) = LabelPatch.read(path).changes
    assert change.index == 12
    corrected = LabelPatch.read(path).applied(splits).train.store.labels
    assert np.flatnonzero(corrected != splits.train.store.labels).tolist() == [12]


def test_all_are_marked_at_once_and_remembered(open_page: Open, page_file: Path, tmp_path: Path) -> None:
    page = open_page(page_file)
    page.get_by_role("button", name="Mark all 2").click()
    assert len(listed(page)) == 2
    reload_until(page, "document.querySelectorAll('#marks-list li').length === 2")
    expect(page.locator("#gallery .thumb.marked")).to_have_count(2)
    written, _ = saved(page, tmp_path)
    assert json.dumps(written["changes"]).count("proposed") == 2
    page.locator("#marks-clear").click()
    expect(page.locator("#gallery .thumb.marked")).to_have_count(0)


def test_a_choice_of_labels(open_page: Open, page_file: Path) -> None:
    page = open_page(page_file)
    page.locator("#choose-given").select_option(label="b")
    expect(page.locator("#gallery .thumb")).to_have_count(1)
    expect(page.locator("#images-title")).to_have_text("Doubtful labels that say b")
    page.locator("#choose-predicted").select_option(label="b")
    expect(page.locator("#images-count")).to_have_text("0 images")
