"""The report as a reader uses it: in a browser, with pointer and keyboard, on a wide screen and on a phone."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from eyebright.cli.main import main
from eyebright.data.label_patch import Change, LabelPatch
from eyebright.evaluation.confidence import operating_points
from eyebright.evaluation.metrics import confusion
from eyebright.evaluation.predictions import Predictions
from eyebright.reporting.charts import scatter
from eyebright.reporting.report import report
from tests.reporting.conftest import ANIMALS, FakeRun, fake_run, findings

from .conftest import PHONE, WIDE, Open


@pytest.fixture(name="made")
def made_fixture(run: FakeRun) -> Predictions:
    return run.predicted["test"]


def pixels(canvas: Locator) -> NDArray[np.uint8]:
    """(H, W, 3) of what a canvas shows, once it has been drawn."""
    expect(canvas).to_be_visible()
    handle = canvas.element_handle()
    blank = "c => c.toDataURL() !== Object.assign(document.createElement('canvas'), c).toDataURL()"
    canvas.page.wait_for_function(blank, arg=handle)
    content: str = canvas.evaluate("c => c.toDataURL()")
    with Image.open(io.BytesIO(base64.b64decode(content.partition(",")[2]))) as image:
        return np.asarray(image.convert("RGB"))


def open_cell(page: Page, made: Predictions, given: int, predicted: int) -> Locator:
    page.locator(f'.matrix .cell[data-given="{given}"][data-predicted="{predicted}"]').click()
    return page.locator("#gallery .thumb")


def a_mistake(made: Predictions) -> tuple[int, int]:
    """The most frequent one: the class, and the class that it is taken for."""
    matrix = confusion(made)
    np.fill_diagonal(matrix, 0)
    given, predicted = np.unravel_index(matrix.argmax(), matrix.shape)
    return int(given), int(predicted)


def test_a_cell_of_the_matrix_opens_its_images(open_page: Open, report_file: Path, made: Predictions) -> None:
    page = open_page(report_file)
    given, predicted = a_mistake(made)
    thumbs = open_cell(page, made, given, predicted)
    rows = np.flatnonzero((made.labels == given) & (made.predicted == predicted))
    expect(page.locator("#images-title")).to_have_text(f"{ANIMALS[given]} taken for {ANIMALS[predicted]}")
    expect(page.locator("#images-title")).to_be_focused()
    expect(thumbs).to_have_count(len(rows))
    shown = [int(text.rsplit(" ", 1)[1]) for text in thumbs.evaluate_all("all => all.map(e => e.ariaLabel)")]
    surest = rows[np.argsort(-made.probabilities.max(axis=1)[rows], kind="stable")]
    assert shown == made.index[surest].tolist()
    expect(page.locator(".matrix .cell.shown")).to_have_count(1)


def test_a_thumbnail_shows_its_image(open_page: Open, report_file: Path, made: Predictions) -> None:
    page = open_page(report_file)
    whole = findings(made).gallery
    assert whole is not None
    for place in (0, 17):
        thumb = open_cell(page, made, *a_mistake(made)).first if place == 0 else page.locator("#gallery .thumb").nth(3)
        index = int((thumb.get_attribute("aria-label") or "").rsplit(" ", 1)[1])
        image = whole.images[np.flatnonzero(whole.position == index)[0]]
        drawn = pixels(thumb.locator("canvas"))
        factor = len(drawn) // len(image)
        assert factor == round(64 / 6)
        assert (drawn == image.repeat(factor, axis=0).repeat(factor, axis=1)).all()


def test_an_image_opens_with_answers_map_and_neighbours(open_page: Open, report_file: Path, made: Predictions) -> None:
    page = open_page(report_file)
    page.locator("#choose-verdict").select_option("")
    row = 10  # even rows have a map and neighbours
    page.locator(f'#gallery .thumb[aria-label$="image {row}"], #more').first.wait_for()
    while not page.locator(f'#gallery .thumb[aria-label$=" {row}"]').count():
        page.locator("#more").click()
    page.locator(f'#gallery .thumb[aria-label$=" {row}"]').click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    order = np.argsort(-made.probabilities[row], kind="stable")
    expect(dialog.locator(".bar-value")).to_have_text(
        [f"{100 * share:.1f}\u202f%" for share in made.probabilities[row][order]]
    )
    names = [ANIMALS[k] + (" true class" if k == made.labels[row] else "") for k in order]
    expect(dialog.locator(".bar-name")).to_have_text(names)
    expect(dialog.locator("#detail-caption")).to_contain_text(f"{ANIMALS[made.labels[row]]}/{row}.png")
    with_map = pixels(dialog.locator("#detail-image"))
    dialog.get_by_label("Show where the model looked").uncheck()
    without = pixels(dialog.locator("#detail-image"))
    assert (with_map != without).mean() > 0.2
    told = findings(made).nearest
    assert told is not None
    place = np.flatnonzero(told.position == row)[0]
    expect(dialog.locator(".nearest li span")).to_have_text([ANIMALS[told.labels[n]] for n in told.neighbour[place]])
    shown = pixels(dialog.locator(".nearest canvas").first)
    image = told.thumbnails.images[told.neighbour[place, 0]]
    factor = len(shown) // len(image)
    assert (shown == image.repeat(factor, axis=0).repeat(factor, axis=1)).all()


def test_images_without_a_map_say_so(open_page: Open, report_file: Path, made: Predictions) -> None:
    page = open_page(report_file)
    page.locator("#choose-order").select_option("index")
    page.locator("#choose-verdict").select_option("")
    page.locator('#gallery .thumb[aria-label$="image 1"]').click()
    expect(page.locator("#detail-map")).to_be_hidden()
    expect(page.locator("#detail-map-note")).to_contain_text("No map was made")
    expect(page.locator("#detail-nearest")).to_be_empty()


def test_everything_can_be_reached_by_keyboard(open_page: Open, report_file: Path) -> None:
    page = open_page(report_file)
    reached = []
    for _ in range(120):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("(e => [e.tagName, e.id, e.getAttribute('class') || ''])(document.activeElement)"))
        if reached[-1][0] == "BODY":
            break
        outlined = page.evaluate(
            "s => s.outlineStyle !== 'none' || s.stroke !== 'none'",
            page.evaluate_handle("getComputedStyle(document.activeElement)"),
        )
        assert outlined, reached[-1]
    ids = {each[1] for each in reached}
    assert {"theme", "choose-given", "choose-order", "threshold", "map", "map-errors"} <= ids
    assert sum("cell" in each[2].split() for each in reached) == 1  # one stop; the arrow keys go on from there
    assert sum("thumb" in each[2].split() for each in reached) == 1
    assert sum("link" in each[2].split() for each in reached) > 3


def test_the_matrix_is_walked_with_arrow_keys(open_page: Open, report_file: Path, made: Predictions) -> None:
    page = open_page(report_file)
    first = page.locator(".matrix .cell").first
    first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    focused = page.locator(".matrix .cell:focus")
    expect(focused).to_have_attribute("data-given", "1")
    expect(focused).to_have_attribute("data-predicted", "1")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    expect(page.locator("#images-title")).to_have_text(f"{ANIMALS[0]} taken for {ANIMALS[1]}")


def test_images_are_walked_with_arrow_keys_and_the_dialog_gives_the_focus_back(
    open_page: Open, report_file: Path
) -> None:
    page = open_page(report_file)
    thumbs = page.locator("#gallery .thumb")
    thumbs.first.focus()
    page.keyboard.press("ArrowRight")
    expect(thumbs.nth(1)).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#detail-place")).to_have_text(f"2 of {page.locator('#images-count').inner_text().split()[0]}")
    title = page.locator("#detail-caption").inner_text()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#detail-caption")).not_to_have_text(title)
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#detail-caption")).to_have_text(title)
    page.keyboard.press("Escape")
    expect(page.locator("#detail")).to_be_hidden()
    expect(thumbs.nth(1)).to_be_focused()


def test_more_images_come_a_page_at_a_time(open_page: Open, report_file: Path, made: Predictions) -> None:
    page = open_page(report_file)
    page.locator("#choose-verdict").select_option("")
    thumbs = page.locator("#gallery .thumb")
    expect(thumbs).to_have_count(48)
    page.locator("#more").click()
    expect(thumbs).to_have_count(96)
    expect(thumbs.nth(48)).to_be_focused()
    while page.locator("#more").is_visible():
        page.locator("#more").click()
    expect(thumbs).to_have_count(len(made))


def test_choices_agree_with_the_predictions(open_page: Open, report_file: Path, made: Predictions) -> None:
    page = open_page(report_file)
    count = page.locator("#images-count")
    expect(count).to_have_text(f"{(~made.correct).sum()} images")
    page.locator("#choose-predicted").select_option(label="owl")
    expect(count).to_have_text(f"{(~made.correct & (made.predicted == 2)).sum()} images")
    expect(page.locator("#images-title")).to_have_text("Mistakes that say owl")
    page.locator("#choose-given").select_option(label="owl")
    expect(count).to_have_text(f"{(made.correct & (made.predicted == 2)).sum()} images")
    expect(page.locator("#choose-verdict")).to_be_disabled()
    page.locator("#choose-order").select_option("index")
    shown = page.locator("#gallery .thumb").evaluate_all("all => all.map(e => Number(e.ariaLabel.split(' ').pop()))")
    assert shown == np.flatnonzero(made.correct & (made.predicted == 2)).tolist()


def test_the_threshold_tells_what_was_counted(open_page: Open, report_file: Path, made: Predictions) -> None:
    page = open_page(report_file)
    points = operating_points(made)
    slider = page.locator("#threshold")
    slider.focus()
    for _ in range(30):
        page.keyboard.press("ArrowRight")
    point = points[30]
    expect(page.locator("#threshold-value")).to_have_text(f"{100 * point.threshold:.2f}\u202f%")
    expect(page.locator("#threshold-coverage")).to_have_text(f"{100 * point.coverage:.1f}\u202f%")
    expect(page.locator("#threshold-accuracy")).to_have_text(f"{100 * point.accuracy.value:.1f}\u202f%")
    expect(page.locator("#threshold-wrong")).to_have_text(str(point.wrong))
    expect(page.locator("#threshold-silent")).to_have_text(str(len(made) - point.answered))
    assert float(page.locator(".coverage .here").get_attribute("cx") or 0) == pytest.approx(
        46 + 338 * point.coverage, abs=0.06
    )
    assert "of them right" in (slider.get_attribute("aria-valuetext") or "")
    page.keyboard.press("End")
    expect(page.locator("#threshold-answered")).to_have_text(f"{points[-1].answered} images")


def place_on_screen(page: Page, places: NDArray[np.float64], row: int) -> tuple[float, float]:
    box = page.locator("#map svg").bounding_box()
    assert box is not None
    scale = box["width"] / scatter.EDGE
    return box["x"] + places[row, 0] * scale, box["y"] + places[row, 1] * scale


def test_the_map_shows_the_image_under_the_pointer(open_page: Open, report_file: Path, made: Predictions) -> None:
    page = open_page(report_file)
    whole = findings(made)
    assert whole.embedding is not None
    places, _ = scatter.placed(whole.embedding.embedding.points)
    page.locator("#map").scroll_into_view_if_needed()
    expect(page.locator("#map-tip")).to_be_hidden()
    # A point that has no other near it.
    distances = np.linalg.norm(places[:, None] - places[None], axis=2) + 1e9 * np.eye(len(places))
    row = int(distances.min(axis=1).argmax())
    page.mouse.move(*place_on_screen(page, places, row))
    tip = page.locator("#map-tip")
    expect(tip).to_be_visible()
    expect(tip).to_contain_text(ANIMALS[made.labels[row]])
    assert whole.gallery is not None
    image = whole.gallery.images[np.flatnonzero(whole.gallery.position == row)[0]]
    drawn = pixels(tip.locator("canvas"))
    factor = len(drawn) // len(image)
    assert (drawn == image.repeat(factor, axis=0).repeat(factor, axis=1)).all()
    page.mouse.click(*place_on_screen(page, places, row))
    expect(page.locator("#detail-caption")).to_contain_text(f"/{row}.png")
    page.keyboard.press("Escape")
    page.mouse.move(1, 1)
    expect(tip).to_be_hidden()


def test_the_map_is_walked_with_arrow_keys(open_page: Open, report_file: Path) -> None:
    page = open_page(report_file)
    page.locator("#map").focus()
    page.keyboard.press("ArrowRight")
    tip = page.locator("#map-tip")
    expect(tip).to_be_visible()
    dot = page.locator("#map .found")
    before = float(dot.get_attribute("cx") or 0)
    page.keyboard.press("ArrowRight")
    assert float(dot.get_attribute("cx") or 0) > before
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()


def test_the_map_can_show_mistakes_or_classes_alone(open_page: Open, report_file: Path, made: Predictions) -> None:
    page = open_page(report_file)
    status = page.locator("#map-status")
    expect(status).to_have_text(f"{len(made)} images shown.")
    page.get_by_label("Mistakes only").check()
    expect(status).to_have_text(f"{(~made.correct).sum()} images shown.")
    owl = page.locator("#map-classes").get_by_role("button", name="owl")
    owl.click()
    expect(owl).to_have_attribute("aria-pressed", "true")
    expect(status).to_have_text(f"{(~made.correct & (made.labels == 2)).sum()} images shown.")
    owl.click()
    page.get_by_label("Mistakes only").uncheck()
    expect(status).to_have_text(f"{len(made)} images shown.")


def mark(page: Page, place: int, proposed: str) -> int:
    """Mark the label of a shown image as wrong; its row."""
    page.locator("#gallery .thumb").nth(place).click()
    page.locator("#detail-proposed").select_option(label=proposed)
    page.get_by_role("button", name="Mark the label as wrong").click()
    row = int(page.locator("#detail-caption").inner_text().split("image ")[1].split()[0])
    page.locator("#detail-close").click()
    return row


def saved(page: Page, folder: Path) -> tuple[dict[str, Any], Path]:
    with page.expect_download() as download:
        page.locator("#marks-save").click()
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return json.loads(path.read_text()), path


def reload_until(page: Page, condition: str) -> None:
    """Load the page anew until it remembers: a busy browser writes its storage when it finds the time."""
    for _ in range(20):
        page.reload()
        if page.evaluate(condition):
            return
    raise AssertionError(f"the page forgot: {condition}")


def test_marks_become_a_patch_that_the_library_reads(
    open_page: Open, report_file: Path, made: Predictions, tmp_path: Path
) -> None:
    page = open_page(report_file)
    expect(page.locator("#marks-save")).to_be_disabled()
    page.locator("#choose-given").select_option(label="cat")
    rows = [mark(page, 0, "dog"), mark(page, 1, "owl"), mark(page, 2, "fox")]
    expect(page.locator("#marks-list li")).to_have_count(3)
    page.get_by_role("button", name=f"Take the mark of image {rows[1]} back").click()
    expect(page.locator("#marks-list li")).to_have_count(2)
    written, path = saved(page, tmp_path)
    assert path.name == "labels.json"
    assert written["eyebright_label_patch"] == 1
    patch = LabelPatch.read(path)
    assert (patch.source, patch.split) == ("animals", "test")
    assert patch.fingerprint == findings(made).fingerprint
    proposals = {rows[0]: "dog", rows[2]: "fox"}
    assert patch.changes == tuple(
        Change(index=row, file=f"cat/{row}.png", given="cat", proposed=proposals[row]) for row in sorted(proposals)
    )


def test_a_patch_is_applied_and_taken_back_by_the_command_line(
    open_page: Open, tmp_path: Path, made: Predictions, run: FakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "animals"
    for row, label in enumerate(made.labels.tolist()):
        (folder / ANIMALS[label]).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (6, 6), (row, 0, 0)).save(folder / ANIMALS[label] / f"{row}.png")
    path = report(run, findings(made)).write(tmp_path / "report.html")
    page = open_page(path)
    page.locator("#choose-given").select_option(label="cat")
    row = mark(page, 0, "owl")
    _, patch = saved(page, tmp_path)
    before = sorted(folder.rglob("*.png"))

    def eyebright(*arguments: str) -> None:
        monkeypatch.setattr(sys, "argv", ["eyebright", *arguments])
        with pytest.raises(SystemExit) as stopped:
            main()
        assert not stopped.value.code

    eyebright("data", "fix", str(folder), str(patch))
    assert (folder / "owl" / f"{row}.png").is_file()
    assert not (folder / "cat" / f"{row}.png").exists()
    eyebright("data", "fix", str(folder), str(patch), "--revert")
    assert sorted(folder.rglob("*.png")) == before


def test_images_that_are_no_files_are_named_by_their_row(open_page: Open, tmp_path: Path, run: FakeRun) -> None:
    path = report(run, findings(run.predicted["test"], files=False)).write(tmp_path / "report.html")
    page = open_page(path)
    mark(page, 0, "fox" if "fox" not in page.locator("#gallery .caption.true").first.inner_text() else "cat")
    written, _ = saved(page, tmp_path)
    assert [change["file"] for change in written["changes"]] == [None]


def test_marks_stay_until_they_are_taken_back(open_page: Open, report_file: Path) -> None:
    page = open_page(report_file)
    page.locator("#choose-given").select_option(label="cat")
    mark(page, 0, "dog")
    expect(page.locator("#marks-list li")).to_have_count(1)
    reload_until(page, "document.querySelectorAll('#marks-list li').length === 1")
    expect(page.locator("#marks-save")).to_have_text("Save the patch file (1 label)")
    page.locator("#marks-clear").click()
    expect(page.locator("#marks-none")).to_be_visible()
    reload_until(page, "document.querySelectorAll('#marks-list li').length === 0")


def test_the_class_that_it_has_is_no_correction(open_page: Open, report_file: Path) -> None:
    page = open_page(report_file)
    page.locator("#choose-given").select_option(label="cat")
    mark(page, 0, "cat")
    expect(page.locator("#marks-save")).to_be_disabled()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_follows_the_system_and_the_reader(open_page: Open, report_file: Path, scheme: str) -> None:
    page = open_page(report_file, color_scheme=scheme)

    def ground() -> int:
        colour: str = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return sum(map(int, colour.removeprefix("rgb(").removesuffix(")").split(",")))

    assert (ground() > 600) == (scheme == "light")
    page.locator("#theme").click()
    assert (ground() > 600) == (scheme == "dark")
    reload_until(page, f"document.documentElement.dataset.theme === '{'light' if scheme == 'dark' else 'dark'}'")
    assert (ground() > 600) == (scheme == "dark")


@pytest.mark.parametrize("size", [WIDE, PHONE])
def test_nothing_hangs_over_the_edge(open_page: Open, report_file: Path, size: tuple[int, int]) -> None:
    page = open_page(report_file, size, has_touch=size == PHONE)
    reach = "[document.documentElement.scrollWidth, document.body.scrollWidth]"
    assert max(page.evaluate(reach)) <= size[0]
    page.locator("#gallery .thumb").first.click()
    dialog = page.locator("#detail")
    assert dialog.evaluate("d => d.scrollWidth <= d.clientWidth && d.getBoundingClientRect().right <= innerWidth")
    assert max(page.evaluate(reach)) <= size[0]


def test_a_finger_opens_an_image_of_the_map(open_page: Open, report_file: Path, made: Predictions) -> None:
    page = open_page(report_file, PHONE, has_touch=True)
    page.locator("#map").scroll_into_view_if_needed()
    whole = findings(made)
    assert whole.embedding is not None
    places, _ = scatter.placed(whole.embedding.embedding.points)
    page.touchscreen.tap(*place_on_screen(page, places, 7))
    expect(page.get_by_role("dialog")).to_be_visible()


def test_everything_that_is_pressed_or_seen_has_a_name(open_page: Open, report_file: Path) -> None:
    page = open_page(report_file)
    page.locator("#gallery .thumb").first.click()
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("button, select, input, img, svg[role], canvas[role], [role=group]")]
            .filter(e => e.offsetParent !== null || e.tagName === "svg")
            .filter(e => !(e.textContent.trim() || e.ariaLabel || e.alt || e.labels?.length))
            .filter(e => !e.getAttribute("aria-labelledby"))
            .map(e => e.outerHTML.slice(0, 120))"""
    )
    assert nameless == []
    ids = page.locator("[id]").evaluate_all("all => all.map(e => e.id)")
    assert len(ids) == len(set(ids))


def test_hostile_names_do_nothing(open_page: Open, tmp_path: Path) -> None:
    hostile = (
        "</script><script>alert(1)</script>",
        '"><img src=x onerror=alert(1)>',
        "{{ 7 * 7 }}",
        "<b>bold</b> &amp;",
    )
    run = fake_run(classes=hostile)
    path = report(run, findings(run.predicted["test"])).write(tmp_path / "report.html")
    page = open_page(path)
    page.locator("#choose-given").select_option(label=hostile[0])
    page.locator("#gallery .thumb").first.click()
    expect(page.locator("#detail-title")).to_contain_text("</script>")
    page.locator("#detail-close").click()
    assert page.locator("b", has_text="bold").count() == 0
    assert page.locator('img[src="x"]').count() == 0
    mark(page, 0, hostile[3])
    expect(page.locator("#marks-list li span").first).to_contain_text(hostile[3])


def test_a_page_without_images_has_its_slider(open_page: Open, tmp_path: Path, run: FakeRun) -> None:
    page = open_page(report(run).write(tmp_path / "report.html"), PHONE)
    page.locator("#threshold").focus()
    page.keyboard.press("End")
    expect(page.locator("#threshold-coverage")).not_to_have_text("100.0\u202f%")
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]


def test_without_script_the_numbers_are_there(open_page: Open, report_file: Path) -> None:
    needed = "The images need the page's script"
    expect(open_page(report_file).get_by_text(needed)).to_be_hidden()
    page = open_page(report_file, java_script_enabled=False)
    expect(page.get_by_text(needed)).to_be_visible()
    expect(page.locator("svg.matrix")).to_be_visible()
    expect(page.locator("#theme")).to_be_hidden()


@pytest.mark.parametrize("k", [2, 30])
def test_any_number_of_classes_can_be_used(open_page: Open, tmp_path: Path, k: int) -> None:
    run = fake_run(classes=tuple(f"class number {position}" for position in range(k)), n=6 * k)
    page = open_page(report(run, findings(run.predicted["test"])).write(tmp_path / "report.html"), PHONE)
    page.locator(".matrix .cell.wrong").first.click()
    expect(page.locator("#images-title")).to_contain_text("taken for")
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]


def test_a_diverged_run_without_predictions_opens(open_page: Open, tmp_path: Path) -> None:
    empty = dataclasses.replace(fake_run(splits=()), history=[])
    page = open_page(report(empty).write(tmp_path / "report.html"))
    expect(page.get_by_text("Nothing was measured yet")).to_be_visible()
