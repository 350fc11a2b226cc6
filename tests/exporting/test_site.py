"""The folder that any web host can serve. tests/browser has it running."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import tarfile
from pathlib import Path

import pytest

from eyebright.core.errors import ExportError
from eyebright.exporting import site as module
from eyebright.exporting.bundle import Bundle, open_bundle
from eyebright.exporting.site import (
    MODEL_FOLDER,
    PACKAGE,
    PAGE,
    RUNTIME,
    RUNTIME_VERSION,
    fetch_runtime,
    read_runtime,
    refuse_to_mix,
    write_page,
)
from tests.browser.hosting import hosted
from tests.npm import pack
from tests.serving.bundles import write_bundle

PARTS = {"ort.wasm.bundle.min.mjs": b"export {};", "ort-wasm-simd-threaded.wasm": b"\0asm"}


def site_with_bundle(folder: Path, *, extras: bool = True) -> Bundle:
    return open_bundle(write_bundle(folder / MODEL_FOLDER, extras=extras))


def npm_folder(folder: Path, name: str = RUNTIME, version: str = RUNTIME_VERSION) -> Path:
    """A package as npm installs it."""
    (folder / "dist").mkdir(parents=True)
    (folder / "package.json").write_text(json.dumps({"name": name, "version": version}), encoding="utf-8")
    for part, content in PARTS.items():
        (folder / "dist" / part).write_bytes(content)
    return folder


def npm_file(path: Path, folder: Path) -> Path:
    """The same as npm packs it."""
    with tarfile.open(path, "w:gz") as packed:
        packed.add(folder, "package")
    return path


@pytest.fixture
def ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small package that passes for the pinned one."""
    path = npm_file(tmp_path / PACKAGE.name, npm_folder(tmp_path / "npm"))
    checksum = hashlib.sha512(path.read_bytes()).hexdigest()
    monkeypatch.setattr(module, "_CHECKSUM", checksum)
    monkeypatch.setattr(module, "PACKAGE", dataclasses.replace(PACKAGE, checksum=f"sha512:{checksum}"))
    return path


def test_a_site_is_page_bundle_and_runtime(tmp_path: Path) -> None:
    bundle = site_with_bundle(tmp_path)
    write_page(tmp_path, bundle, PARTS)
    for source in PAGE.iterdir():
        if source.name != "site.js":
            assert (tmp_path / source.name).read_bytes() == source.read_bytes()
    assert {path.name: path.read_bytes() for path in (tmp_path / "runtime").iterdir()} == PARTS
    assert open_bundle(tmp_path / MODEL_FOLDER).name == "shades"


@pytest.mark.parametrize("extras", [True, False])
def test_the_page_is_told_what_it_cannot_find_out(tmp_path: Path, extras: bool) -> None:
    write_page(tmp_path, site_with_bundle(tmp_path, extras=extras), PARTS)
    text = (tmp_path / "site.js").read_text(encoding="utf-8")
    told = json.loads(text.removeprefix("export const site = ").removesuffix(";\n"))
    examples = [f"{MODEL_FOLDER}/examples/{name}.png" for name in ("dark", "grey", "light")]
    assert told == {
        "runtime": f"{RUNTIME} {RUNTIME_VERSION}",
        "bytes": (tmp_path / MODEL_FOLDER / "model.onnx").stat().st_size + 14,
        "known_images": 3 if extras else 0,
        "examples": examples if extras else [],
    }
    assert all((tmp_path / path).is_file() for path in told["examples"])


def test_only_a_site_is_replaced(tmp_path: Path) -> None:
    site = tmp_path / "site"
    refuse_to_mix(site)
    site.mkdir()
    refuse_to_mix(site)
    write_page(site, site_with_bundle(site), PARTS)
    refuse_to_mix(site)
    (site / "site.js").unlink()
    with pytest.raises(ExportError, match="exists and is no site"):
        refuse_to_mix(site)


def test_the_runtime_is_read_from_file_or_folder(ours: Path, tmp_path: Path) -> None:
    assert read_runtime(ours) == PARTS
    assert read_runtime(tmp_path / "npm") == PARTS


def test_another_package_is_refused(tmp_path: Path) -> None:
    other = npm_folder(tmp_path / "other", version="1.0.0")
    for path, why in [
        (npm_file(tmp_path / "other.tgz", other), "its checksum is not that of version"),
        (other, f"it is {RUNTIME} 1.0.0, and version {RUNTIME_VERSION} is needed"),
        (npm_folder(tmp_path / "left-pad", "left-pad"), "it is left-pad"),
        (tmp_path, "package.json"),
        (tmp_path / "nothing.tgz", "No such file"),
    ]:
        with pytest.raises(ExportError, match=re.escape(why)) as refused:
            read_runtime(path)
        assert f"npm pack {RUNTIME}@{RUNTIME_VERSION}" in refused.value.remedy


def test_a_package_without_its_parts_is_refused(ours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "npm" / "dist" / "ort.wasm.bundle.min.mjs").unlink()
    empty = npm_file(tmp_path / "empty.tgz", tmp_path / "npm")
    monkeypatch.setattr(module, "_CHECKSUM", hashlib.sha512(empty.read_bytes()).hexdigest())
    for path in (empty, tmp_path / "npm"):
        with pytest.raises(ExportError, match=r"ort\.wasm\.bundle\.min\.mjs"):
            read_runtime(path)


def test_the_runtime_is_fetched_once(ours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: tmp_path / "cache" / name)
    with hosted(tmp_path) as url:
        monkeypatch.setattr(module, "PACKAGE", dataclasses.replace(module.PACKAGE, urls=(f"{url}{ours.name}",)))
        assert fetch_runtime() == PARTS
    assert fetch_runtime() == PARTS  # the host is gone
    assert (tmp_path / "cache" / "eyebright" / "npm" / ours.name).is_file()


def test_without_a_network_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: tmp_path / name)
    with hosted(tmp_path) as url:
        monkeypatch.setattr(module, "PACKAGE", dataclasses.replace(PACKAGE, urls=(f"{url}nothing.tgz",)))
        with pytest.raises(ExportError, match="404") as refused:
            fetch_runtime()
    assert "npm pack" in refused.value.remedy


def test_the_pinned_package_is_that_of_the_registry(tmp_path: Path) -> None:
    runtime = read_runtime(pack(f"{RUNTIME}@{RUNTIME_VERSION}", tmp_path))
    assert runtime["ort-wasm-simd-threaded.wasm"].startswith(b"\0asm")
    assert RUNTIME_VERSION.encode() in runtime["ort.wasm.bundle.min.mjs"][:200]


def test_the_page_holds_what_it_names() -> None:
    html = (PAGE / "index.html").read_text(encoding="utf-8")
    named = re.findall(r'(?:href|src)="([^"]+)"', html)
    for path in PAGE.glob("*.js"):
        named += re.findall(r'(?:from |import\(|URL\()"(?:\./)?([^"]+\.js)"', path.read_text(encoding="utf-8"))
    assert {"main.js", "theme.js", "style.css", "icon.svg", "worker.js", "fit.js"} <= set(named)
    for name in named:
        assert (PAGE / name).is_file(), name
    used = set(re.findall(r'byId\("([^"]+)"\)', "".join(path.read_text() for path in PAGE.glob("*.js"))))
    assert used <= set(re.findall(r'id="([^"]+)"', html))


def test_the_page_needs_no_other_host_and_no_code_in_html() -> None:
    html = (PAGE / "index.html").read_text(encoding="utf-8")
    assert "default-src 'none'" in html
    assert "unsafe-inline" not in html
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?! (type=\"module\" )?src=)", html)
    for path in PAGE.iterdir():
        assert not re.search(r"https?://(?!www\.w3\.org)", path.read_text(encoding="utf-8")), path.name
