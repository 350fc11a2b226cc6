"""The modules of the page, each by itself in a browser, against what Python makes of the same."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Page

from eyebright.core.input_spec import InputSpec
from eyebright.data.decode import decode
from eyebright.exporting.explanation import occlusion, scaled
from eyebright.exporting.site import PAGE
from tests.browser.hosting import BLOB, encoded, hosted, run_module
from tests.data.pictures import picture

from .conftest import Open


@pytest.fixture(scope="module")
def host() -> Iterator[str]:
    with hosted(PAGE) as url:
        yield url


@pytest.fixture
def page(open_page: Open, host: str) -> Page:
    """A page that is no page: it lets modules run that the real one has in a worker."""
    return open_page(f"{host}icon.svg")


def packed(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def read(page: Page, content: bytes, channels: int, side: int = 8, resize: str = "crop") -> NDArray[np.uint8]:
    """What the page makes of a file."""
    body = f"const bitmap = await m.decode({BLOB}); const made = m.pixels(bitmap, given.model);"
    body += "return { ...made, data: Array.from(made.data) };"
    model = {"height": side, "width": side, "channels": channels, "resize": resize}
    made = run_module(page, "pixels.js", body, {"content": encoded(content), "model": model})
    return np.array(made["data"], np.uint8).reshape(made["height"], made["width"], channels)


def pictures() -> dict[str, bytes]:
    colours = Image.fromarray(picture(0, 13, 17))
    grey = Image.fromarray(picture(1, 9, 11, 1)[..., 0])
    masked = colours.copy()
    masked.putalpha(Image.fromarray(picture(2, 13, 17, 1)[..., 0]))
    stencil = colours.copy()
    stencil.putalpha(Image.fromarray(picture(2, 13, 17, 1)[..., 0] // 128 * 255))
    return {
        "colours": packed(colours),
        "grey": packed(grey),
        "palette": packed(colours.quantize(16)),
        "black and white": packed(grey.convert("1")),
        "a profile": packed(colours, icc_profile=_wide_gamut()),
        "stencil": packed(stencil),
        "half transparent": packed(masked),
        "turned": packed(colours.resize((170, 130)), "JPEG", quality=95, exif=_turned()),
    }


def _turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter to the right
    return exif


def _wide_gamut() -> bytes:
    from PIL import ImageCms

    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    at = profile.index(b"XYZ \0\0\0\0", 128)  # the first colour: moved, so that applying it would be seen
    profile[at + 8 : at + 12] = (0x8000).to_bytes(4, "big")
    return bytes(profile)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", pictures())
def test_pixels_are_those_of_training(page: Page, kind: str, channels: int) -> None:
    content = pictures()[kind]
    expected = decode(content, channels=channels)
    found = read(page, content, channels)
    assert found.shape == expected.shape
    # Each blends by itself, and has a JPEG decoder of its own.
    allowed = {"half transparent": 1, "turned": 6}.get(kind, 0)
    assert np.abs(found.astype(int) - expected).max() <= allowed


def test_large_images_are_shrunk_by_whole_factors(page: Page) -> None:
    y, x = np.mgrid[:1210, :1620]
    image = np.stack([x * 255 // 1619, y * 255 // 1209, (x + y) % 256], axis=-1).astype(np.uint8)
    found = read(page, packed(Image.fromarray(image), compress_level=1), 3, side=100)
    assert found.shape == (302, 405, 3)  # 1210 / 100 is 12 times too large, of which 3 are kept
    expected = image[:1208].reshape(302, 4, 405, 4, 3).mean(axis=(1, 3))
    assert np.abs(found - expected).max() <= 0.51


@pytest.mark.parametrize("content", [b"", b"no image", packed(Image.new("L", (64, 64)))[:60]])
def test_what_is_no_image_is_a_problem(page: Page, content: bytes) -> None:
    body = f"try {{ await m.decode({BLOB}); }} catch (problem) {{ return [problem.kind, problem.title]; }}"
    kind, title = run_module(page, "pixels.js", body, {"content": encoded(content)})
    assert kind == "not-an-image"
    assert ("empty" in title) == (not content)


@pytest.mark.parametrize(
    ("resize", "image", "expected"),
    [
        ("squash", (40, 20), [[0, 0, 40, 20], [0, 0, 8, 8]]),
        ("crop", (40, 20), [[10, 0, 20, 20], [0, 0, 8, 8]]),
        ("crop", (20, 50), [[0, 15, 20, 20], [0, 0, 8, 8]]),
        ("pad", (40, 20), [[0, 0, 40, 20], [0, 2, 8, 4]]),
        ("pad", (3, 16), [[0, 0, 3, 16], [3, 0, 2, 8]]),
    ],
)
def test_the_part_that_is_looked_at(page: Page, resize: str, image: tuple[int, int], expected: list[list[int]]) -> None:
    body = "const { from, to } = m.looked(given.model, given.image);"
    body += "return [from, to].map((each) => [each.left, each.top, each.width, each.height]);"
    model = {"height": 8, "width": 8, "resize": resize}
    given = {"model": model, "image": {"width": image[0], "height": image[1]}}
    assert run_module(page, "fit.js", body, given) == expected


@pytest.mark.parametrize("shape", [(3, 5), (8, 8), (1, 1)])
def test_maps_are_scaled_as_in_a_bundle(page: Page, shape: tuple[int, int]) -> None:
    raw = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    body = "return Array.from(m.scaled(Float32Array.from(given.raw), ...given.shape, 16, 24));"
    found = run_module(page, "explanation.js", body, {"raw": raw.ravel().tolist(), "shape": shape})
    assert np.allclose(np.array(found).reshape(16, 24), scaled(raw, 16, 24), atol=1e-5)


def test_occlusion_is_that_of_a_bundle(page: Page) -> None:
    image = picture(0, 12, 9)
    weights = np.random.default_rng(1).normal(size=image.size).round(3)
    spec = InputSpec(12, 9, 3, (0.2, 0.52, 0.71), (1.0,) * 3, ("one",))

    def score(views: NDArray[np.uint8]) -> NDArray[np.float32]:
        return (views.reshape(len(views), -1) @ weights).astype(np.float32)

    body = """
        const { data, weights, mean } = given;
        const score = async (views, count) => Array.from({ length: count }, (_, number) =>
            weights.reduce((sum, weight, place) => sum + weight * views[number * data.length + place], 0));
        return Array.from(await m.occlusion({ height: 12, width: 9, data: Uint8Array.from(data) }, mean, score));
    """
    given = {"data": image.ravel().tolist(), "weights": weights.tolist(), "mean": spec.mean}
    found = np.array(run_module(page, "explanation.js", body, given)).reshape(12, 9)
    assert np.allclose(found, occlusion(image, spec, score), atol=1e-2)


@pytest.mark.parametrize("compressed", [True, False])
def test_arrays_are_read_as_numpy_wrote_them(page: Page, compressed: bool) -> None:
    random = np.random.default_rng(0)
    arrays = {
        "bytes": random.integers(0, 256, (3, 4, 5, 2), np.uint8),
        "halves": np.array([[0, -1.5, 6e-8, 65504], [np.inf, -np.inf, 0.1, 1e-5]], np.float16),
        "singles": random.normal(size=7).astype(np.float32),
        "longs": np.array([0, -1, 2**40], np.int64),
    }
    file = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(file, **arrays)  # type: ignore[arg-type]  # they are arrays
    assert zipfile.ZipFile(file).testzip() is None
    body = f"const found = await m.readNpz(await {BLOB}.arrayBuffer());"
    body += "return Object.entries(found).map(([name, { shape, data }]) => [name, shape, Array.from(data)]);"
    found = run_module(page, "npz.js", body, {"content": encoded(file.getvalue())})
    assert {name for name, *_ in found} == set(arrays)
    for name, shape, data in found:
        assert tuple(shape) == arrays[name].shape
        assert np.array_equal(np.array(data, arrays[name].dtype).reshape(shape), arrays[name])


@pytest.mark.parametrize(
    ("answer", "sure", "said", "why"),
    [
        ({}, True, "cat", "93.0\u202f%."),
        ({"sure": True, "plausible": ["cat"]}, True, "cat", "93.0\u202f%. No other class that it knows is plausible."),
        ({"sure": False, "plausible": ["cat", "dog"]}, False, "Not sure", "It may be cat or dog."),
        ({"sure": False, "plausible": list("abcde")}, False, "Not sure", "It may be a, b, c, d or e."),
        ({"sure": False, "plausible": list("abcdefg")}, False, "Not sure", "It may be a, b, c, d or 3 others."),
        (
            {"sure": False, "plausible": []},
            False,
            "Not sure",
            "No class that it knows fits well. Perhaps the image shows something else.",
        ),
    ],
)
def test_verdicts_in_words(page: Page, answer: dict[str, Any], sure: bool, said: str, why: str) -> None:
    given = {"label": "cat", "probability": 0.93} | answer
    assert run_module(page, "words.js", "return m.verdict(given);", given) == {"sure": sure, "said": said, "why": why}


@pytest.mark.parametrize(("share", "text"), [(0.5, "50.0"), (1, "100.0"), (0.99999, "> 99.9"), (0, "0.0")])
def test_certainty_is_not_rounded_to(page: Page, share: float, text: str) -> None:
    assert run_module(page, "words.js", "return m.percent(given);", share) == f"{text}\u202f%"
