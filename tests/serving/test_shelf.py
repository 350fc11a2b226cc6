"""Bundles that change while they are served, over `POST /models/reload` and by watching."""

from __future__ import annotations

import functools
import json
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from eyebright.core.errors import EyebrightError
from eyebright.core.files import write_json
from eyebright.exporting.bundle import MANIFEST_FILE, MODEL_FILE
from tests.serving.bundles import png, write_bundle
from tests.serving.conftest import open_client, wait_until
from tests.serving.test_predict import RAW, predict

KEY = "a-key-of-17-signs"


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_text(KEY, encoding="utf-8")
    return path


def reload(client: TestClient) -> list[str]:
    """Why changed bundles are not used."""
    response = client.post("/models/reload", headers={"x-api-key": KEY})
    assert response.status_code == 200
    failures: list[str] = response.json()["failures"]
    return failures


def version(client: TestClient) -> str:
    headers = RAW | {"x-api-key": KEY}
    found: str = client.post("/predict", content=png(0), headers=headers).json()["version"]
    return found


def test_a_changed_bundle_takes_the_place_of_the_old(tmp_path: Path, key_file: Path) -> None:
    path = write_bundle(tmp_path / "shades", version="1")
    with open_client(path, key_file=key_file) as client:
        assert version(client) == "1"
        write_bundle(path, version="2")
        assert version(client) == "1"
        assert reload(client) == []
        assert version(client) == "2"
        numbers = client.get("/metrics", headers={"x-api-key": KEY}).text
        assert 'eyebright_reloads_total{outcome="done"} 1.0' in numbers
        assert 'eyebright_waiting_images{model="shades",version="2"}' in numbers
        assert 'eyebright_waiting_images{model="shades",version="1"}' not in numbers  # it has no state any more
        assert 'eyebright_batch_images_count{model="shades",version="1"} 2.0' in numbers
        assert reload(client) == []  # nothing has changed: nothing is opened
        assert numbers.count("eyebright_reloads_total{") == 1


def test_a_bundle_that_is_broken_or_gone_leaves_the_old_one(tmp_path: Path, key_file: Path) -> None:
    path = write_bundle(tmp_path / "shades", version="1")
    with open_client(path, key_file=key_file) as client:
        (path / MODEL_FILE).write_bytes(b"half")
        (failure,) = reload(client)
        assert "model.onnx is not the file" in failure
        assert version(client) == "1"
        assert reload(client) == [failure]  # it is tried again: the reason may have been another than the files
        shutil.rmtree(path)
        assert reload(client) == []
        assert version(client) == "1"
        write_bundle(path, version="2")
        assert reload(client) == []
        assert version(client) == "2"


def test_no_two_places_serve_the_same_version(tmp_path: Path, key_file: Path) -> None:
    first = write_bundle(tmp_path / "first", version="1")
    second = write_bundle(tmp_path / "second", version="2")
    with open_client(first, second, key_file=key_file) as client:
        write_bundle(second, version="1")
        (failure,) = reload(client)
        assert "both version 1 of shades" in failure
        listed = client.get("/models", headers={"x-api-key": KEY}).json()
        assert [each["version"] for each in listed] == ["1", "2"]


def test_no_request_is_lost_while_bundles_change(tmp_path: Path) -> None:
    path = write_bundle(tmp_path / "shades", version="0")
    with open_client(path, watch_seconds=0.02) as client:
        stopped = threading.Event()

        def ask() -> list[str]:
            found = []
            while not stopped.is_set():
                found.append(predict(client, "dark")["version"])  # raises where one is refused
            return found

        with ThreadPoolExecutor() as pool:
            askers = [pool.submit(ask) for _ in range(3)]
            try:
                for number in ("1", "2", "3"):
                    manifest = json.loads((path / MANIFEST_FILE).read_text(encoding="utf-8"))
                    write_json(path / MANIFEST_FILE, manifest | {"version": number})
                    wait_until(functools.partial(_serves, client, number))
            finally:
                stopped.set()
        for asker in askers:
            assert asker.result() == sorted(asker.result())  # never an old one after a new one


def _serves(client: TestClient, number: str) -> bool:
    return bool(predict(client, "dark")["version"] == number)


def test_a_server_does_not_start_without_its_bundles(tmp_path: Path) -> None:
    twin = write_bundle(tmp_path / "twin")
    for paths, said in (
        ([tmp_path / "nothing"], "there is no bundle"),
        ([twin, write_bundle(tmp_path / "other")], "both version 1 of shades"),
    ):
        with pytest.raises(EyebrightError, match=said), open_client(*paths):
            pass
