"""Models, health, images of a bundle, the page, and the document that describes all."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from PIL import Image
from starlette.testclient import TestClient

from eyebright.serving.answers import HeatAnswer, PredictAnswer, ProblemAnswer
from eyebright.serving.api import PAGE
from tests.serving.bundles import CLASSES, png, write_bundle
from tests.serving.conftest import open_client
from tests.serving.test_predict import RAW, refused

KEY = "a-key-of-17-signs"


def test_what_is_served(client: TestClient) -> None:
    (said,) = client.get("/models").json()
    assert said["name"] == "shades"
    assert said["default"] is True
    assert said["classes"] == list(CLASSES)
    assert (said["height"], said["width"], said["channels"], said["resize"]) == (8, 8, 3, "squash")
    assert said["risks"] == [0.05, 0.1]
    assert (said["known_images"], said["examples"]) == (3, 3)
    assert (said["accuracy_low"], said["accuracy"], said["accuracy_high"]) == (0.96, 1.0, 1.0)
    assert said["limits"] == ["It knows three shades."]


def test_health(client: TestClient) -> None:
    assert client.get("/healthz").json() == {"status": "alive"}
    assert client.get("/readyz").json() == {"status": "ready"}


def test_examples_can_be_tried(client: TestClient) -> None:
    examples = client.get("/examples").json()
    assert [each["name"] for each in examples] == sorted(CLASSES)
    for each in examples:
        image = client.get(each["image"])
        assert image.headers["content-type"] == "image/png"
        said = client.post("/predict", content=image.content, headers=RAW).json()
        assert said["images"][0]["label"] == each["name"]


def test_no_link_leads_out_of_a_bundle(tmp_path: Path) -> None:
    path = write_bundle(tmp_path / "shades", extras=True)
    (tmp_path / "secret").write_text("of this machine", encoding="utf-8")
    (path / "examples" / "z-out.png").symlink_to(tmp_path / "secret")
    (path / "examples" / "z-within.png").symlink_to("dark.png")
    with open_client(path) as client:
        assert "link out of the bundle" in refused(client.get("/examples/3.png"), "not-found", 404)
        assert client.get("/examples/4.png").content == png("dark")


def test_known_images_are_shown(client: TestClient) -> None:
    response = client.get("/known/2.png?model=shades&version=1")
    with Image.open(io.BytesIO(response.content)) as image:
        assert image.size == (8, 8)
        assert image.getpixel((0, 0)) == (235, 235, 235)


@pytest.mark.parametrize(
    "path",
    ["/examples/3.png", "/known/3.png", "/known/99999999999999999999.png", f"/known/{'9' * 5000}.png", "/known/-1.png"],
)
def test_what_is_not_there_is_named(client: TestClient, path: str) -> None:
    assert refused(client.get(path), "not-found", 404)


def test_a_bundle_without_images_has_none(tmp_path: Path) -> None:
    with open_client(write_bundle(tmp_path / "shades")) as client:
        assert client.get("/examples").json() == []
        assert refused(client.get("/known/0.png"), "not-found", 404)
        assert refused(client.get("/examples?model=other"), "unknown-model", 404)


def test_the_page_loads_nothing_from_elsewhere(client: TestClient) -> None:
    response = client.get("/")
    assert response.headers["content-type"].startswith("text/html")
    assert "default-src 'self'" in response.headers["content-security-policy"]
    assert response.headers["x-content-type-options"] == "nosniff"
    for path in PAGE.rglob("*"):
        if path.suffix in {".html", ".css", ".js"}:
            text = path.read_text(encoding="utf-8")
            assert "https://" not in text.replace("https://github.com", "")


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/../api.py",
        "/..%2fapi.py",
        "/%2e%2e/%2e%2e/api.py",
        "/..\\api.py",
        "//etc/passwd",
        "/%2fetc%2fpasswd",
        "/index.html%00.png",
        "/" + "a" * 5000,
        "/page",
        "/known/../../api.py",
        "/examples/..%2f..%2fbundle.json",
        "/examples/-1.png",
        "/docs",
    ],
)
def test_only_the_files_of_the_page_are_served(client: TestClient, path: str) -> None:
    assert refused(client.get(path), "not-found", 404)


def test_wrong_methods_are_named(client: TestClient) -> None:
    response = client.post("/models")
    assert "POST" in refused(response, "wrong-method", 405)
    assert "GET" in response.headers["allow"]
    assert refused(client.delete("/"), "wrong-method", 405)


def test_a_key_guards_all_but_health_and_page(bundle: Path, tmp_path: Path) -> None:
    key_file = tmp_path / "key"
    key_file.write_text(KEY, encoding="utf-8")
    with open_client(bundle, key_file=key_file) as client:
        for path in ("/healthz", "/readyz", "/", "/openapi.json"):
            assert client.get(path).status_code == 200
        for path in ("/models", "/metrics", "/examples", "/examples/0.png", "/known/0.png"):
            assert refused(client.get(path), "unauthorized", 401)
            assert client.get(path, headers={"authorization": f"Bearer {KEY}"}).status_code == 200
        assert refused(client.post("/models/reload"), "unauthorized", 401)
        assert client.post("/models/reload", headers={"x-api-key": KEY}).json()["failures"] == []
        document = client.get("/openapi.json").json()
        assert document["security"] == [{"key": []}, {"bearer": []}]


def test_without_a_key_nobody_reloads(client: TestClient) -> None:
    assert "with a key" in refused(client.post("/models/reload"), "forbidden", 403)


def test_a_failure_is_a_problem_too(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: object) -> bytes:
        raise ZeroDivisionError("a secret")

    monkeypatch.setattr("eyebright.serving.metrics.Metrics.exposition", fail)
    with open_client(bundle, raises=False) as client:
        response = client.get("/metrics")
        refused(response, "failed", 500)
        assert "secret" not in response.text


def test_the_document_describes_every_path(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    assert set(document["paths"]) == {
        "/predict",
        "/explain",
        "/models",
        "/models/reload",
        "/healthz",
        "/readyz",
        "/metrics",
        "/examples",
        "/examples/{number}.png",
        "/known/{number}.png",
    }
    text = json.dumps(document)
    for name in set(text.split('"#/components/schemas/')[1:]):
        assert name.partition('"')[0] in document["components"]["schemas"]
    assert "security" not in document


def test_the_examples_of_the_document_are_true(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    predict, explain = (document["paths"][path]["post"] for path in ("/predict", "/explain"))
    request = predict["requestBody"]["content"]["application/json"]["example"]
    assert client.post("/predict", json=request).status_code == 200
    PredictAnswer.model_validate(predict["responses"]["200"]["content"]["application/json"]["example"], strict=True)
    HeatAnswer.model_validate(explain["responses"]["200"]["content"]["application/json"]["example"], strict=True)


def test_answers_are_as_described(client: TestClient) -> None:
    files = [("image", ("a", png("dark"))), ("image", ("b", b"no image")), ("image", ("c", png(64)))]
    PredictAnswer.model_validate(client.post("/predict?nearest=2", files=files).json(), strict=True)
    HeatAnswer.model_validate(client.post("/explain?format=json", content=png("dark"), headers=RAW).json(), strict=True)
    ProblemAnswer.model_validate(client.get("/predict").json(), strict=True)
