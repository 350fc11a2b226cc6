"""`POST /explain`: a picture or numbers."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from eyebright.exporting.bundle import Bundle, open_bundle
from tests.serving.bundles import png
from tests.serving.conftest import open_client
from tests.serving.test_predict import RAW, refused


def half_light() -> bytes:
    """Dark on the left, light on the right."""
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[:, 4:] = 255
    packed = io.BytesIO()
    Image.fromarray(pixels).save(packed, "PNG")
    return packed.getvalue()


def test_numbers_are_those_of_the_bundle(client: TestClient, bundle: Path) -> None:
    response = client.post("/explain?format=json&label=light", content=half_light(), headers=RAW)
    said = response.json()
    assert (said["model"], said["label"], said["height"], said["width"]) == ("shades", "light", 8, 8)
    opened = open_bundle(bundle)
    expected = opened.explain(opened.load(half_light()), 2)
    assert np.allclose(said["heat"], expected, atol=5e-4)
    assert np.mean([row[4:] for row in said["heat"]]) > np.mean([row[:4] for row in said["heat"]])


def test_a_picture_large_enough_to_see(client: TestClient) -> None:
    response = client.post("/explain", files={"image": ("a.png", half_light())})
    assert response.headers["content-type"] == "image/png"
    with Image.open(io.BytesIO(response.content)) as picture:
        assert picture.size == (256, 256)


@pytest.mark.parametrize(
    ("query", "content", "kind", "status"),
    [
        ("?label=lihgt", png(0), "bad-parameter", 400),
        ("?format=svg", png(0), "bad-parameter", 400),
        ("?top=3", png(0), "bad-parameter", 400),
        ("", b"no image", "not-an-image", 415),
        ("", b"", "empty-image", 422),
    ],
)
def test_bad_input_is_named(client: TestClient, query: str, content: bytes, kind: str, status: int) -> None:
    assert refused(client.post(f"/explain{query}", content=content, headers=RAW), kind, status)


def test_one_image_at_a_time(client: TestClient) -> None:
    files = [("image", ("a", png(0)))] * 2
    assert "one image" in refused(client.post("/explain", files=files), "too-many-images", 413)


def test_maps_are_bounded(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Event(), threading.Event()
    explain: Callable[..., Any] = Bundle.explain

    def slow(self: Bundle, *arguments: Any) -> Any:
        begun.set()
        assert go_on.wait(60)
        return explain(self, *arguments)

    monkeypatch.setattr(Bundle, "explain", slow)
    with open_client(bundle, max_explanations=1) as client, ThreadPoolExecutor() as pool:
        first = pool.submit(client.post, "/explain", content=png(0), headers=RAW)
        assert begun.wait(60)
        response = client.post("/explain", content=png(0), headers=RAW)
        assert refused(response, "overloaded", 429)
        assert response.headers["retry-after"] == "1"
        assert client.post("/predict", content=png(0), headers=RAW).status_code == 200  # on lanes of their own
        go_on.set()
        assert first.result().status_code == 200
        assert client.post("/explain", content=png(0), headers=RAW).status_code == 200
