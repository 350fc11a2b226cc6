"""The page that shows what a model says, as its readers use it: from the server, and as a site without one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, FilePayload, Page, Route, expect

from eyebright.exporting.bundle import open_bundle
from eyebright.exporting.site import MODEL_FOLDER, PAGE, read_runtime, write_page
from tests.browser.hosting import hosted
from tests.data.pictures import picture
from tests.data.pictures import png as packed
from tests.serving.bundles import png, write_bundle, write_without_risks
from tests.serving.conftest import serving, started

from .conftest import PHONE, WIDE, Open

THIN = "\u202f"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("bundles") / "shades", extras=True)


@pytest.fixture(scope="module")
def served(bundle: Path) -> Iterator[str]:
    with serving(bundle) as url:
        yield url


@pytest.fixture(scope="module")
def static(bundle: Path, runtime: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    site = tmp_path_factory.mktemp("site")
    shutil.copytree(bundle, site / MODEL_FOLDER)
    write_page(site, open_bundle(site / MODEL_FOLDER), read_runtime(runtime))
    with hosted(site) as url:
        yield url


@pytest.fixture(params=["served", "static"])
def url(request: pytest.FixtureRequest) -> str:
    """Both back ends: what holds for one holds for the other."""
    found: str = request.getfixturevalue(request.param)
    return found


def ready(page: Page) -> Page:
    expect(page.locator("#give")).to_be_visible()
    return page


def file(level: int | str, name: str = "shade.png", size: tuple[int, int] = (8, 8)) -> FilePayload:
    return {"name": name, "mimeType": "image/png", "buffer": png(level, size)}


def give(page: Page, *files: FilePayload) -> None:
    page.locator("#files").set_input_files(list(files))
    expect(page.locator("#answer")).to_have_attribute("aria-busy", "false")


def expect_said(page: Page, text: str) -> None:
    expect(page.locator("#answer h2").first).to_have_text(text)


def fits(page: Page) -> bool:
    """Whether nothing must be scrolled to the side."""
    inside: bool = page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    return inside


def test_a_chosen_image_is_answered(open_page: Open, url: str, bundle: Path) -> None:
    page = ready(open_page(url))
    expect(page.locator("#about")).to_contain_text("3 classes apart: dark, grey and light")
    expect(page.locator("#about")).to_contain_text(f"100.0{THIN}% of its test images right")
    give(page, file("light", size=(40, 30)))
    expect_said(page, "light")
    (expected,) = open_bundle(bundle).predict(np.full((1, 8, 8, 3), 235, np.uint8))
    expect(page.locator(".bar-name")).to_contain_text(list(expected.classes))
    expect(page.locator(".bar-value")).to_have_text([f"{100 * share:.1f}{THIN}%" for share in expected.probabilities])
    expect(page.locator("#answer")).to_contain_text("No other class that it knows is plausible")
    expect(page.locator("#said")).to_have_text(f"shade.png: light. {page.locator('#answer p').first.inner_text()}")
    # The embedding is the colour itself, of which each of the three known images has one third.
    expect(page.locator(".nearest span")).to_have_text(["dark", "grey", "light"])
    expect(page.locator(".nearest img").first).to_have_js_property("naturalWidth", 8)
    widths = page.locator(".bar-fill").evaluate_all("all => all.map((bar) => parseFloat(bar.style.width))")
    assert np.allclose(widths, 100 * np.array(expected.probabilities), atol=1e-3)


def test_it_says_when_it_is_not_sure(open_page: Open, url: str) -> None:
    page = ready(open_page(url))
    give(page, file(190))
    expect_said(page, "Not sure")
    expect(page.locator("#answer")).to_contain_text("It may be grey or light.")
    expect(page.locator(".ruled-out")).to_contain_text("dark (ruled out)")
    page.locator("#risk").select_option("1 of 20 images")
    expect(page.locator("#caution-note")).to_contain_text("at most 1 of 20 images")
    expect_said(page, "Not sure")


def test_a_model_without_thresholds_does_not_say_how_sure_it_is(open_page: Open, tmp_path: Path) -> None:
    with serving(write_without_risks(tmp_path / "shades")) as url:
        page = ready(open_page(url))
        give(page, file(190))
        expect(page.locator("#answer h2")).not_to_have_text("Not sure")
        expect(page.locator("#caution")).to_be_hidden()
        expect(page.locator("#examples-section")).to_be_hidden()
        expect(page.locator(".nearest")).to_have_count(0)


def test_examples_can_be_clicked(open_page: Open, url: str) -> None:
    page = ready(open_page(url))
    for name, said in (("Example 1", "dark"), ("Example 3", "light")):
        page.get_by_role("button", name=name, exact=True).click()
        expect_said(page, said)
    expect(page.locator("#caption")).to_have_text("Example 3")


def test_several_images_are_answered_each_in_its_turn(open_page: Open, url: str) -> None:
    page = ready(open_page(url))
    broken: FilePayload = {"name": "broken.png", "mimeType": "image/png", "buffer": png("dark")[:50]}
    give(page, file("dark", "a.png"), file(190, "b.png"), broken, file("light", "c.png"))
    buttons = page.locator("#items button")
    for place, words in enumerate(["a.png: dark", "b.png: Not sure", "broken.png: Problem", "c.png: light"]):
        expect(buttons.nth(place)).to_have_attribute("aria-label", words)
    expect_said(page, "dark")
    buttons.nth(3).click()
    expect_said(page, "light")
    expect(buttons.nth(3)).to_have_attribute("aria-current", "true")
    expect(buttons.nth(3)).to_be_focused()
    buttons.nth(2).click()
    expect(page.locator("#answer .problem")).to_be_visible()
    page.get_by_role("button", name="Remove all").click()
    expect(page.locator("#answers")).to_be_hidden()
    expect(page.locator("#files")).to_be_focused()
    give(page, file("grey"))
    expect_said(page, "grey")
    expect(page.locator("#several")).to_be_hidden()


def test_the_map_lies_over_the_image(open_page: Open, url: str) -> None:
    page = ready(open_page(url))
    half = np.zeros((16, 24, 3), np.uint8)
    half[:, 12:] = 255
    give(page, {"name": "half.png", "mimeType": "image/png", "buffer": packed(half)})
    expect(page.locator("#map")).to_be_hidden()
    page.get_by_label("Show what it looked at").check()
    page.locator(".bar[data-label=light]").click()
    expect(page.locator("#map-note")).to_contain_text("speaks for “light”")
    expect(page.locator(".bar[data-label=light]")).to_have_attribute("aria-pressed", "true")
    expect(page.locator(".bar[data-label=light]")).to_be_focused()
    expect(page.locator("#map")).to_be_visible()
    assert page.locator("#map").bounding_box() == page.locator("#picture").bounding_box()
    sums = page.locator("#map").evaluate(
        """(canvas) => {
        const { width, height } = canvas;
        const { data } = canvas.getContext("2d").getImageData(0, height / 2, width, 1);
        return [0.25, 0.75].map((place) => data.slice(4 * place * width, 4 * place * width + 3)
            .reduce((sum, value) => sum + value, 0)); }"""
    )
    assert sums[1] > sums[0]  # viridis: the brighter, the more
    page.get_by_label("Strength of the map").fill("30")
    expect(page.locator("#map")).to_have_css("opacity", "0.3")
    page.get_by_label("Show what it looked at").uncheck()
    expect(page.locator("#map")).to_be_hidden()


_PASTED = """([bytes, type]) => {
    const data = new DataTransfer();
    data.items.add(new File([Uint8Array.from(bytes)], "image.png", { type }));
    const made = type ? new ClipboardEvent("paste", { clipboardData: data, bubbles: true })
        : new ClipboardEvent("paste", { clipboardData: new DataTransfer(), bubbles: true });
    document.body.dispatchEvent(made);
}"""
_DROPPED = """([bytes, type]) => {
    const data = new DataTransfer();
    if (type) data.items.add(new File([Uint8Array.from(bytes)], "image.png", { type }));
    for (const kind of ["dragenter", "dragover", "drop"]) {
        document.body.dispatchEvent(new DragEvent(kind, { dataTransfer: data, bubbles: true, cancelable: true }));
    }
}"""


@pytest.mark.parametrize(
    ("act", "nothing"),
    [(_PASTED, "The clipboard holds no image"), (_DROPPED, "What was dropped is not a file")],
    ids=["pasted", "dropped"],
)
def test_images_are_pasted_and_dropped(open_page: Open, served: str, act: str, nothing: str) -> None:
    page = ready(open_page(served))
    page.evaluate(act, [list(png("grey")), ""])
    expect(page.get_by_role("alert")).to_contain_text(nothing)
    page.evaluate(act, [list(png("grey")), "image/png"])
    expect_said(page, "grey")
    expect(page.get_by_role("alert")).to_be_hidden()
    expect(page.locator("html")).not_to_have_class("dragging")


def test_the_clipboard_of_the_system_is_read(open_page: Open, served: str) -> None:
    page = ready(open_page(served, permissions=["clipboard-read", "clipboard-write"]))
    page.evaluate(
        """async (bytes) => navigator.clipboard.write([
        new ClipboardItem({ "image/png": new Blob([Uint8Array.from(bytes)], { type: "image/png" }) })])""",
        list(png("light")),
    )
    page.keyboard.press("Control+V")
    expect_said(page, "light")


def test_the_camera_takes_a_picture(open_page: Open, url: str) -> None:
    page = ready(open_page(url, permissions=["camera"]))
    page.get_by_role("button", name="Use the camera").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    page.get_by_role("button", name="Take the picture").click()
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(page.locator("#caption")).to_have_text("Camera")
    expect(page.locator(".bar")).to_have_count(3)
    expect(page.locator("#picture")).to_have_js_property("naturalWidth", 640)
    assert page.evaluate("document.getElementById('camera-view').srcObject === null")


def test_without_a_camera_it_says_so(open_page: Open, served: str) -> None:
    page = ready(open_page(served))
    nothing = "async () => { throw new DOMException('', 'NotFoundError'); }"
    page.evaluate(f"() => {{ navigator.mediaDevices.getUserMedia = {nothing}; }}")
    page.get_by_role("button", name="Use the camera").click()
    expect(page.get_by_role("alert")).to_contain_text("There is no camera")
    expect(page.get_by_role("dialog")).to_be_hidden()


def test_a_keyboard_is_enough(open_page: Open, served: str, tmp_path: Path) -> None:
    page = ready(open_page(served))
    (tmp_path / "grey.png").write_bytes(png("grey"))
    # Said long before: Chromium shows its own dialog until it has heard that somebody else answers.
    page.on("filechooser", lambda chooser: chooser.set_files(tmp_path / "grey.png"))
    press = page.keyboard.press

    def tab_to(selector: str) -> None:
        for _ in range(40):
            press("Tab")
            if page.evaluate("(selector) => document.activeElement.matches(selector)", selector):
                return
        raise AssertionError(f"Tab does not reach {selector}")

    tab_to("#files")
    assert page.locator(".give .button").evaluate("label => getComputedStyle(label).outlineStyle") == "solid"
    press("Space")
    expect_said(page, "grey")
    tab_to("#map-on")
    press("Space")
    expect(page.locator("#map")).to_be_visible()
    tab_to("#map-strength")
    press("ArrowLeft")
    expect(page.locator("#map")).to_have_css("opacity", "0.64")
    tab_to(".bar:not([aria-pressed=true])")
    press("Enter")
    expect(page.locator(".bar[aria-pressed=true]")).to_be_focused()
    tab_to("#risk")
    press("ArrowUp")
    expect(page.locator("#caution-note")).to_contain_text("1 of 20")
    tab_to("#examples button")
    press("Enter")
    expect_said(page, "dark")
    tab_to("summary")
    press("Enter")
    expect(page.get_by_text("It knows three shades.")).to_be_visible()


@pytest.mark.parametrize("size", [WIDE, PHONE])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_and_follows_the_system(open_page: Open, served: str, size: tuple[int, int], scheme: str) -> None:
    page = ready(open_page(served, size, color_scheme=scheme, reduced_motion="reduce"))
    assert fits(page)
    files = [file(place, f"{'a-very-long-name-' * 6}{place}.png", (300, 8)) for place in (0, 190, 255)]
    give(page, *files)
    page.get_by_label("Show what it looked at").check()
    expect(page.locator("#map")).to_be_visible()
    assert fits(page)
    expect(page.locator("#answer h2").first).to_be_in_viewport()
    paper = {"light": "rgb(250, 249, 247)", "dark": "rgb(18, 20, 23)"}
    expect(page.locator("body")).to_have_css("background-color", paper[scheme])
    page.locator("#theme").click()
    other = {"light": "dark", "dark": "light"}[scheme]
    expect(page.locator("body")).to_have_css("background-color", paper[other])
    page.reload()
    expect(page.locator("body")).to_have_css("background-color", paper[other])


def test_every_part_has_a_name(open_page: Open, served: str) -> None:
    page = ready(open_page(served))
    give(page, file(190), file("dark"))
    page.get_by_label("Show what it looked at").check()
    expect(page.locator("#map")).to_be_visible()
    nameless = page.locator("button, select, input, summary, dialog").evaluate_all(
        "all => all.filter((each) => !(each.labels?.length || each.ariaLabel || each.textContent.trim()"
        " || each.querySelector('img[alt]:not([alt=\"\"])'))).map((each) => each.outerHTML)"
    )
    assert nameless == []
    assert page.locator("img:not([alt])").count() == 0
    assert page.locator("html").get_attribute("lang") == "en"
    assert page.locator("h1").count() == 1


def test_models_are_chosen(open_page: Open, bundle: Path, tmp_path: Path) -> None:
    with serving(bundle, write_bundle(tmp_path / "other", name="other")) as url:
        page = ready(open_page(url))
        give(page, file("grey"))
        expect(page.locator(".nearest")).to_be_visible()
        page.get_by_label("Model").select_option("other")
        expect(page.locator(".nearest")).to_have_count(0)
        expect_said(page, "grey")
        expect(page.locator("#examples-section")).to_be_hidden()


def test_a_key_is_asked_for(open_page: Open, bundle: Path, tmp_path: Path) -> None:
    key = "0123456789abcdef"
    (tmp_path / "key").write_text(key, encoding="utf-8")
    with started(bundle, "--api-key-file", tmp_path / "key") as server:
        page = open_page(server.url)
        entry = page.get_by_label("This server asks for a key.")
        expect(entry).to_be_focused()
        entry.fill("another-key-of-16")
        entry.press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("The key is missing or wrong")
        entry.fill(key)
        entry.press("Enter")
        ready(page)
        expect(page.get_by_role("alert")).to_be_hidden()
        give(page, file("light"))
        expect_said(page, "light")
        expect(page.locator(".nearest img").first).to_have_js_property("naturalWidth", 8)


def text_file(content: bytes = b"hello", name: str = "notes.txt") -> FilePayload:
    return {"name": name, "mimeType": "text/plain", "buffer": content}


def expect_problem(page: Page, *texts: str) -> None:
    for text in texts:
        expect(page.locator("#answer .problem")).to_contain_text(text)


@pytest.mark.parametrize(
    ("given", "served_says", "static_says"),
    [
        (text_file(), "notes.txt is", "not an image"),
        (text_file(b"", "nothing.png"), "The image is empty", "The image is empty"),
        (text_file(packed(picture(0, 64, 64))[:6000], "cut.png"), "The image is damaged", "not an image"),
        (text_file(b"<svg xmlns='http://www.w3.org/2000/svg'/>", "drawing.svg"), "drawing.svg", "not an image"),
    ],
    ids=["text", "empty", "damaged", "drawing"],
)
@pytest.mark.parametrize("kind", ["served", "static"])
def test_what_is_no_image_is_told(
    request: pytest.FixtureRequest, open_page: Open, kind: str, given: FilePayload, served_says: str, static_says: str
) -> None:
    page = ready(open_page(request.getfixturevalue(kind)))
    give(page, given)
    expect_problem(page, served_says if kind == "served" else static_says)
    expect(page.get_by_role("button", name="Try again")).to_have_count(0)
    give(page, file("dark"))  # and it goes on
    expect_said(page, "dark")


def test_limits_of_the_server_are_told(open_page: Open, bundle: Path) -> None:
    with serving(bundle, max_body=2_000, max_pixels=10_000) as url:
        page = ready(open_page(url))
        give(page, {"name": "noise.png", "mimeType": "image/png", "buffer": packed(picture(0, 64, 64))})
        expect_problem(page, "The request is too large", "2,000 bytes", "smaller images")
        give(page, file("dark", size=(200, 200)))
        expect_problem(page, "too many pixels", "200 x 200")


def test_files_beyond_any_limit_are_not_sent(open_page: Open, url: str) -> None:
    page = ready(open_page(url))
    page.evaluate("Object.defineProperty(File.prototype, 'size', { get: () => 65 << 20 })")
    give(page, file("dark"))
    expect_problem(page, "The file is too large", "It has 68 MB.")


def _overloaded(route: Route) -> None:
    problem = {"type": "urn:eyebright:problem:overloaded", "title": "t", "status": 429, "detail": "d", "remedy": "r"}
    headers = {"content-type": "application/problem+json", "retry-after": "1"}
    route.fulfill(status=429, headers=headers, body=json.dumps(problem))


@pytest.mark.parametrize(
    ("refuse", "told"),
    [
        (_overloaded, "The server is busy"),
        (lambda route: route.fulfill(status=404, body="<html>"), "The server failed"),
        (lambda route: route.fulfill(status=200, body="<html>"), "This page failed"),
    ],
    ids=["busy", "no problem in JSON", "no answer in JSON"],
)
def test_another_try_may_help(open_page: Open, served: str, refuse: Callable[[Route], None], told: str) -> None:
    page = ready(open_page(served))
    page.route("**/predict?*", refuse)
    give(page, file("dark"))
    expect_problem(page, told)
    page.unroute("**/predict?*")
    page.get_by_role("button", name="Try again").click()
    expect_said(page, "dark")


def test_a_map_that_fails_is_told_and_tried_again(open_page: Open, served: str) -> None:
    page = ready(open_page(served))
    give(page, file("dark"))
    page.route("**/explain?*", _overloaded)
    page.get_by_label("Show what it looked at").check()
    expect(page.locator("#map-note")).to_have_text("The server is busy. Try again in a second.")
    page.unroute("**/explain?*")
    page.get_by_label("Show what it looked at").uncheck()
    page.get_by_label("Show what it looked at").check()
    expect(page.locator("#map-note")).to_contain_text("speaks for “dark”")


def test_a_picture_that_only_the_model_can_read(open_page: Open, served: str) -> None:
    page = ready(open_page(served))
    give(page, {"name": "scan.tif", "mimeType": "image/tiff", "buffer": png("light", form="TIFF")})
    expect_said(page, "light")
    expect(page.locator("#no-picture")).to_be_visible()
    expect(page.locator("#map-controls")).to_be_hidden()


def test_a_site_that_lost_its_model_says_so(open_page: Open, static: str) -> None:
    page = open_page(f"{static}icon.svg")
    page.route("**/model/model.onnx", lambda route: route.fulfill(status=404))
    page.goto(static)
    expect(page.get_by_role("alert")).to_contain_text("The model could not be loaded")
    expect(page.get_by_role("alert")).to_contain_text("model.onnx is missing")


def test_names_are_text_and_never_code(open_page: Open, served: str) -> None:
    page = ready(open_page(served))
    give(page, file("dark", "<img src=x onerror=alert(1)>.png"), file("dark"))
    expect(page.locator("#caption")).to_have_text("<img src=x onerror=alert(1)>.png")


def test_as_a_file_it_says_what_it_needs(browser: Browser) -> None:
    with browser.new_context() as context:  # not `open_page`: the browser complains that it runs no modules here
        page = context.new_page()
        page.goto((PAGE / "index.html").as_uri())
        expect(page.get_by_text("python -m http.server")).to_be_visible()
