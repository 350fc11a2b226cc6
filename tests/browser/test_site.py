"""A run that was exported as a site answers in the browser as its bundle does in Python."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import expect

import eyebright as eb
from eyebright.core.recipe import Recipe
from eyebright.data.image_set import Splits
from eyebright.exporting.bundle import Bundle, open_bundle
from eyebright.exporting.site import MODEL_FOLDER, read_runtime, write_page
from tests.browser.hosting import encoded, hosted
from tests.conftest import make_images
from tests.data.pictures import picture

from .conftest import Open

pytestmark = pytest.mark.slow  # training takes a second, and tracing the network ten

# The example of a custom body ends in a mean over the map, so that its activation maps are exact.
_MODEL = {"name": "custom", "target": "eyebright.models.custom:example_body", "features": 32}
_SIZES = ((8, 8), (8, 9), (5, 3), (31, 57), (120, 64), (200, 330))  # height, width


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, runtime: Path) -> Bundle:
    """That of a site, as `eyebright export RUN site/ --with-images` writes it."""
    splits = Splits(make_images(130, "train", 0), make_images(60, "validation", 1), make_images(45, "test", 2))
    settings = {"epochs": 2, "batch_size": 16, "threads": 1, "device": "cpu"}
    recipe = Recipe.from_dict({"name": "shades", "data": {"source": "shades"}, "model": _MODEL, "training": settings})
    run = eb.fit(recipe, splits, folder=tmp_path_factory.mktemp("runs") / "shades", callbacks=())
    site = tmp_path_factory.mktemp("site")
    made: Bundle = eb.export(
        run,
        site / MODEL_FOLDER,
        check=splits.test,
        calibrate=splits.validation,
        known=splits.train,
        examples=splits.test,
    )
    write_page(site, made, read_runtime(runtime))
    return open_bundle(made.path)


@pytest.fixture(scope="module")
def url(bundle: Bundle) -> Iterator[str]:
    with hosted(bundle.path.parent) as url:
        yield url


def images() -> list[NDArray[np.uint8]]:
    """Noise of other sizes than the model's, and of its own."""
    return [picture(number, *size) for number, size in enumerate(_SIZES)]


def packed(pixels: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


_ASK = """async ({ contents, options, label }) => {
    const { site } = await import("/site.js");
    const asked = await (await import("/local.js")).open(site, () => {});
    const [model] = asked.models;
    const said = [];
    for (const content of contents) {
        const blob = new Blob([Uint8Array.from(atob(content), (sign) => sign.charCodeAt(0))]);
        const { heat, height, width } = await asked.explain(model, blob, "", label);
        said.push({ ...await asked.predict(model, blob, "", options), heat: Array.from(heat), height, width });
    }
    return said;
}"""


def test_answers_are_those_of_the_bundle(open_page: Open, url: str, bundle: Bundle) -> None:
    assert "evidence" in bundle.graph.outputs
    contents = [packed(image) for image in images()]
    risk = min(bundle.manifest.conformal)
    given = {"contents": [*map(encoded, contents)], "options": {"top": 3, "risk": risk, "nearest": 5}, "label": "grey"}
    said: list[dict[str, Any]] = open_page(f"{url}icon.svg").evaluate(_ASK, given)
    for content, found in zip(contents, said, strict=True):
        image = bundle.load(content)[np.newaxis]
        probabilities, embedding = bundle.run(image, ["probabilities", "embedding"])
        (expected,) = bundle.answers([""], probabilities)
        assert [each["label"] for each in found["top"]] == list(expected.classes)
        shares = [each["probability"] for each in found["top"]]
        assert np.abs(np.array(shares) - expected.probabilities).max() < 1e-3
        plausible = {
            name for name, may in zip(bundle.classes, bundle.plausible(probabilities, risk)[0], strict=True) if may
        }
        assert set(found["plausible"]) == plausible
        assert found["sure"] == (len(plausible) == 1)
        assert bundle.known is not None
        _, cosines = bundle.known.nearest(embedding[0], 5)
        assert np.allclose([near["similarity"] for near in found["nearest"]], cosines, atol=1e-3)
        heat = np.array(found["heat"]).reshape(found["height"], found["width"])
        assert np.allclose(heat, bundle.explain(image[0], bundle.classes.index("grey")), atol=2e-3)


def test_the_page_shows_it(open_page: Open, url: str, bundle: Bundle) -> None:
    page = open_page(url)
    expect(page.locator("#give")).to_be_visible()
    expect(page.locator("#examples button")).to_have_count(len(bundle.examples))
    page.locator("#files").set_input_files({"name": "a.png", "mimeType": "image/png", "buffer": packed(images()[3])})
    page.get_by_label("Show what it looked at").check()
    expect(page.locator("#map-note")).to_contain_text("It does not see the dark edges.")
    expect(page.locator(".nearest li")).to_have_count(4)
    expect(page.locator("#footer")).to_contain_text("do not leave this device")
