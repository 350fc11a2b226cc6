"""`POST /predict` on an application in this process: answers, risks, batches, and refusals."""

from __future__ import annotations

import base64
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from starlette.testclient import TestClient

from eyebright.core.files import write_json
from eyebright.exporting.bundle import MANIFEST_FILE, open_bundle
from eyebright.serving.served_model import ServedModel
from tests.serving.bundles import CLASSES, png, write_bundle, write_without_risks
from tests.serving.conftest import open_client
from tests.serving.test_pixels import BAD, moving

RAW = {"content-type": "image/png"}


def predict(client: TestClient, level: int | str, query: str = "") -> dict[str, Any]:
    """The answer for one plain image."""
    response = client.post(f"/predict{query}", content=png(level), headers=RAW)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def refused(response: httpx2.Response, kind: str, status: int) -> str:
    """What an answer that is a problem tells."""
    assert response.headers["content-type"] == "application/problem+json"
    said = response.json()
    assert said["type"] == f"urn:eyebright:problem:{kind}"
    assert said["status"] == response.status_code == status
    assert said["title"]
    assert said["remedy"]
    return f"{said['detail']} {said['remedy']}"


def test_the_answer_is_that_of_the_bundle(client: TestClient, bundle: Path) -> None:
    said = predict(client, "grey")
    expected = open_bundle(bundle).predict(np.full((1, 8, 8, 3), 128, np.uint8))[0]
    assert (said["model"], said["version"], said["risk"]) == ("shades", "1", 0.1)
    image = said["images"][0]
    assert image["label"] == "grey"
    assert tuple(each["label"] for each in image["top"]) == expected.classes
    assert [each["probability"] for each in image["top"]] == pytest.approx(expected.probabilities, abs=1e-6)
    assert image["probability"] == image["top"][0]["probability"]
    assert (image["sure"], image["plausible"], image["name"]) == (True, ["grey"], "")
    assert set(image) == {"name", "label", "probability", "top", "sure", "plausible"}


def test_all_three_ways_of_sending_give_the_same(client: TestClient) -> None:
    encoded = base64.b64encode(png("light")).decode()
    answers = [
        client.post("/predict", content=png("light"), headers=RAW),
        client.post("/predict", files={"image": ("a", png("light"))}),
        client.post("/predict", files={"whatever": ("a", png("light"), "text/plain")}),
        client.post("/predict", json={"images": [{"name": "a", "data": encoded}]}),
        client.post("/predict", json={"images": [{"data": encoded}]}),
    ]
    images = [answer.json()["images"][0] for answer in answers]
    assert [image.pop("name") for image in images] == ["", "a", "a", "a", ""]
    assert images[0]["label"] == "light"
    assert all(image == images[0] for image in images)


def test_a_micro_batch_answers_as_single_images_do(client: TestClient) -> None:
    levels = range(0, 256, 5)
    single = [predict(client, level)["images"][0] for level in levels]
    files = [("image", (str(level), png(level))) for level in levels]
    together = client.post("/predict", files=files).json()["images"]
    with ThreadPoolExecutor(8) as pool:
        at_once = [said["images"][0] for said in pool.map(lambda level: predict(client, level), levels)]
    for level, alone, batched, crowded in zip(levels, single, together, at_once, strict=True):
        assert batched["name"] == str(level)
        for other in (batched, crowded):
            assert {**other, "name": "", "top": [], "probability": 0} == {**alone, "top": [], "probability": 0}
            for one, another in zip(alone["top"], other["top"], strict=True):
                assert one["label"] == another["label"]
                assert one["probability"] == pytest.approx(
                    another["probability"], abs=1e-5
                )  # float32, in another order


def test_options(client: TestClient) -> None:
    assert len(predict(client, "dark", "?top=2")["images"][0]["top"]) == 2
    assert len(predict(client, "dark", "?top=1000")["images"][0]["top"]) == 3
    near = predict(client, "dark", "?nearest=2")["images"][0]["nearest"]
    assert [each["label"] for each in near] == ["dark", "grey"]  # all three are equally near to a grey
    assert near[0]["similarity"] == pytest.approx(3**-0.5, abs=1e-6)
    assert client.get(near[0]["image"]).content[:4] == b"\x89PNG"


def test_whether_it_is_sure_depends_on_the_risk(client: TestClient) -> None:
    between = 68  # of brightness 0.27: probabilities of 0.56 for grey and 0.43 for dark
    strict, lax = (predict(client, between, f"?risk={risk}") for risk in (0.05, 0.1))
    assert (strict["risk"], lax["risk"]) == (0.05, 0.1)
    assert strict["images"][0]["plausible"] == ["grey", "dark"]
    assert strict["images"][0]["sure"] is False
    assert lax["images"][0]["sure"] is False
    assert predict(client, "dark", "?risk=0.05")["images"][0]["sure"] is True
    assert predict(client, between, "?risk=0.07")["risk"] == 0.05  # its guarantee covers what was asked for
    assert "0.05, 0.1" in refused(client.post("/predict?risk=0.01", content=png(0), headers=RAW), "bad-parameter", 400)


def test_nothing_plausible_is_not_sure_either(tmp_path: Path) -> None:
    path = write_bundle(tmp_path / "shades")
    manifest = json.loads((path / MANIFEST_FILE).read_text(encoding="utf-8"))
    write_json(path / MANIFEST_FILE, manifest | {"conformal": {"0.1": 0.3}})  # 0.7 is plausible
    with open_client(path) as client:
        image = predict(client, 64)["images"][0]  # halfway: 0.5 each
        assert image["sure"] is False
        assert image["plausible"] == []


def test_a_model_without_thresholds_says_nothing_about_it(tmp_path: Path) -> None:
    with open_client(write_without_risks(tmp_path / "shades")) as client:
        said = predict(client, "dark", "?nearest=3")
        assert said["risk"] is None
        assert set(said["images"][0]) == {"name", "label", "probability", "top"}
        response = client.post("/predict?risk=0.1", content=png(0), headers=RAW)
        assert "without validation images" in refused(response, "bad-parameter", 400)


@pytest.mark.parametrize(("data", "kind", "said"), BAD.values(), ids=BAD)
def test_bad_images_are_named(bundle: Path, data: bytes, kind: str, said: str) -> None:
    status = {"empty-image": 422, "damaged-image": 422, "not-an-image": 415, "too-many-pixels": 413}[kind]
    with open_client(bundle, max_pixels=10_000) as client:
        for headers, more in ((RAW, {"content": data}), ({}, {"files": {"image": ("a.png", data)}})):
            response = client.post("/predict", headers=headers, **more)
            assert said in refused(response, kind, status)
        assert predict(client, "dark")["images"][0]["label"] == "dark"


def test_one_bad_image_among_good_ones_is_told_in_its_place(client: TestClient) -> None:
    files = [("image", (name, data)) for name, data in (("a", png("dark")), ("b", b"no image"), ("c", png("light")))]
    images = client.post("/predict", files=files).json()["images"]
    assert [image["name"] for image in images] == ["a", "b", "c"]
    assert [image.get("label") for image in images] == ["dark", None, "light"]
    assert images[1]["problem"]["status"] == 415
    assert set(images[1]) == {"name", "problem"}


def test_an_animated_image_is_judged_by_its_first_frame(client: TestClient) -> None:
    image = client.post("/predict", content=moving("GIF"), headers={"content-type": "image/gif"}).json()["images"][0]
    assert image["label"] == "dark"
    assert "first frame" in image["remark"]


def test_refusals_of_requests(client: TestClient) -> None:
    assert "takes POST" in refused(client.get("/predict"), "wrong-method", 405)
    assert client.put("/predict").headers["allow"] == "POST"
    assert "'shade'" in refused(client.post("/predict?model=shade", content=png(0), headers=RAW), "unknown-model", 404)
    assert "'2'" in refused(client.post("/predict?version=2", content=png(0), headers=RAW), "unknown-model", 404)
    assert "text/plain" in refused(
        client.post("/predict", content=b"a", headers={"content-type": "text/plain"}), "unsupported-type", 415
    )
    files = [("image", ("a", b""))] * 65
    assert "more than 64" in refused(client.post("/predict", files=files), "too-many-images", 413)


def test_too_large_requests_are_refused(bundle: Path) -> None:
    with open_client(bundle, max_body=1000) as client:
        assert "1,000 bytes" in refused(client.post("/predict", content=bytes(1001), headers=RAW), "too-large", 413)
        assert predict(client, "dark")


def test_a_lane_that_takes_too_long_is_not_waited_for(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judge = ServedModel.judge

    def slow(self: ServedModel, uploads: Any) -> Any:
        time.sleep(0.3)
        return judge(self, uploads)

    monkeypatch.setattr(ServedModel, "judge", slow)
    with open_client(bundle, answer_seconds=0.05) as client:
        response = client.post("/predict", content=png(0), headers=RAW)
        assert "0.05 s" in refused(response, "timed-out", 504)
        assert client.get("/healthz").status_code == 200


def test_what_nobody_foresaw_tells_nothing_about_the_server(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(self: ServedModel, uploads: Any) -> Any:
        raise ZeroDivisionError("a secret")

    monkeypatch.setattr(ServedModel, "judge", fail)
    with open_client(bundle) as client:
        response = client.post("/predict", content=png(0), headers=RAW)
        refused(response, "failed", 500)
        assert "secret" not in response.text
        assert client.get("/healthz").status_code == 200
    assert "a secret" in caplog.text


def test_the_key_is_asked_for_before_anything_is_looked_at(bundle: Path, tmp_path: Path) -> None:
    key_file = tmp_path / "key"
    key_file.write_text("a-key-of-17-signs\n", encoding="utf-8")
    with open_client(bundle, key_file=key_file) as client:
        response = client.post("/predict?nonsense=1", content=b"nonsense")
        assert "no key" in refused(response, "unauthorized", 401)
        assert response.headers["www-authenticate"] == "Bearer"
        headers = RAW | {"x-api-key": "a-key-of-17-signs"}
        assert client.post("/predict", content=png("dark"), headers=headers).status_code == 200


def test_predictions_are_counted(tmp_path: Path) -> None:
    with open_client(write_bundle(tmp_path / "shades")) as client:
        client.post("/predict", files=[("image", (name, png(name))) for name in ("dark", "dark", "light")])
        client.post("/predict", content=b"nonsense", headers=RAW)
        predict(client, 68)
        numbers = client.get("/metrics").text
    model = 'model="shades",version="1"'
    for line in (
        'eyebright_requests_total{path="/predict",status="200"} 2.0',
        'eyebright_requests_total{path="/predict",status="415"} 1.0',
        f'eyebright_predicted_total{{label="dark",{model}}} 2.0',
        f'eyebright_predicted_total{{label="grey",{model}}} 1.0',
        f'eyebright_refused_images_total{{kind="not-an-image",{model}}} 1.0',
        f"eyebright_unsure_total{{{model}}} 1.0",
        f"eyebright_batch_images_count{{{model}}} 2.0",
        f'eyebright_reference_share{{label="dark",{model}}} 0.3333333333333333',
    ):
        assert line in numbers


def test_drift_is_measured(tmp_path: Path) -> None:
    with open_client(write_bundle(tmp_path / "shades")) as client:
        files = [("image", ("a", png("dark")))] * 50
        for _ in range(20):
            client.post("/predict", files=files)
        numbers = client.get("/metrics").text
    drift = {
        line.partition('what="')[2].partition('"')[0]: float(line.rpartition(" ")[2])
        for line in numbers.splitlines()
        if line.startswith("eyebright_drift{")
    }
    assert set(drift) == {"classes", "confidence", "pixels", "embedding"}
    assert drift["classes"] > 0.25
    assert drift["pixels"] == pytest.approx((128 - 20) / 90, abs=1e-3)


def test_several_models_and_versions(tmp_path: Path) -> None:
    write_bundle(tmp_path / "a", name="shades", version="1")
    write_bundle(tmp_path / "b", name="shades", version="2")
    write_bundle(tmp_path / "c", name="other", version="2")
    with open_client(tmp_path / "a", tmp_path / "b", tmp_path / "c") as client:
        served = [(each["name"], each["version"], each["default"]) for each in client.get("/models").json()]
        assert served == [("shades", "1", True), ("shades", "2", False), ("other", "2", False)]
        for query, name, version in (
            ("", "shades", "1"),
            ("?model=shades", "shades", "1"),
            ("?version=2", "shades", "2"),
            ("?model=other", "other", "2"),
            ("?model=other&version=2", "other", "2"),
        ):
            said = predict(client, "dark", query)
            assert (said["model"], said["version"]) == (name, version)
        response = client.post("/predict?model=other&version=1", content=png(0), headers=RAW)
        assert "'1'" in refused(response, "unknown-model", 404)


def test_classes_are_those_of_the_bundle(client: TestClient) -> None:
    assert {predict(client, name)["images"][0]["label"] for name in CLASSES} == set(CLASSES)
