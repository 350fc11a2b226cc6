"""A static site: the web page with a bundle that it computes in the visitor's browser. Any web host can serve it.

A site is a folder

    index.html, *.js, style.css     the page, the same that the server shows
    site.js                         what the page cannot find out by itself
    model/                          the bundle
    runtime/                        ONNX Runtime for browsers, from its npm package
"""

from __future__ import annotations

import hashlib
import json
import logging
import tarfile
from pathlib import Path

import platformdirs

from eyebright.core.errors import DownloadError, ExportError
from eyebright.core.files import write_bytes, write_text
from eyebright.data.download import RemoteFile, fetch
from eyebright.data.progress import Progress
from eyebright.exporting.bundle import Bundle

RUNTIME = "onnxruntime-web"
RUNTIME_VERSION = "1.30.0"
# dist.integrity of the registry, in hexadecimal digits.
_CHECKSUM = (
    "ab4cbe26baedba45d2cec05610c71c55fa97db92d19a8b171c5f8269126683ca"
    "590a5cdc57bb2f35ce2b298de32f4d956fb42644c0ecd528a0a91e025c07ca61"
)
PACKAGE = RemoteFile(
    f"{RUNTIME}-{RUNTIME_VERSION}.tgz",
    (f"https://registry.npmjs.org/{RUNTIME}/-/{RUNTIME}-{RUNTIME_VERSION}.tgz",),
    f"sha512:{_CHECKSUM}",
)
# Of the package, what one thread of a processor needs; more would ask the web host for headers.
_PARTS = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")

PAGE = Path(__file__).resolve().parents[1] / "page"
MODEL_FOLDER = "model"
_RUNTIME_FOLDER = "runtime"
_SITE_FILE = "site.js"
_BY_HAND = f"Fetch it with: npm pack {RUNTIME}@{RUNTIME_VERSION}. Then add: --runtime {PACKAGE.name}"

_logger = logging.getLogger(__name__)

# Content by name.
Runtime = dict[str, bytes]


def read_runtime(path: Path) -> Runtime:
    """The files of ONNX Runtime for browsers, from its npm package.

    Parameters
    ----------
    path : the package as npm packs it (.tgz), or its folder, such as `node_modules/onnxruntime-web`.

    Raises
    ------
    ExportError : it is not that package, or another version.
    """
    try:
        return _unpacked(path) if path.is_dir() else _packed(path)
    except (OSError, KeyError, ValueError, tarfile.TarError) as error:
        raise ExportError(f"{path} is not the npm package {RUNTIME}: {error}.", _BY_HAND) from error


def fetch_runtime(*, progress: Progress | None = None) -> Runtime:
    """The same, from npm's registry; kept in the platform's cache folder.

    Raises
    ------
    ExportError : the registry does not give it.
    """
    folder = platformdirs.user_cache_path("eyebright") / "npm"
    try:
        path = fetch(PACKAGE, folder, progress=progress)
    except DownloadError as error:
        raise ExportError(error.cause, _BY_HAND) from error
    _logger.info("%s %s from %s", RUNTIME, RUNTIME_VERSION, path)
    return read_runtime(path)


def refuse_to_mix(site: Path) -> None:
    """Asked before the work, not after it.

    Raises
    ------
    ExportError : the folder holds something that is not a site.
    """
    taken = site.is_file() or (site.is_dir() and any(site.iterdir()) and not (site / _SITE_FILE).is_file())
    if taken:
        raise ExportError(f"{site} exists and is no site.", "Choose another name, or remove it.")


def write_page(site: Path, bundle: Bundle, runtime: Runtime) -> None:
    """Put the page beside a bundle that lies in the folder `model` of a site."""
    for source in sorted(PAGE.iterdir()):
        if source.name != _SITE_FILE:
            write_bytes(site / source.name, source.read_bytes())
    for name, content in runtime.items():
        write_bytes(site / _RUNTIME_FOLDER / name, content)
    loaded = (bundle.path / bundle.manifest.file).stat().st_size + sum(map(len, runtime.values()))
    about = {
        "runtime": f"{RUNTIME} {RUNTIME_VERSION}",
        "bytes": loaded,
        "known_images": 0 if bundle.known is None else len(bundle.known),
        "examples": [path.relative_to(site).as_posix() for path in bundle.examples],
    }
    write_text(site / _SITE_FILE, f"export const site = {json.dumps(about, indent=2)};\n")


def _packed(path: Path) -> Runtime:
    content = path.read_bytes()
    if hashlib.sha512(content).hexdigest() != _CHECKSUM:
        raise ValueError(f"its checksum is not that of version {RUNTIME_VERSION}")
    with tarfile.open(path) as package:
        return {name: _member(package, f"package/dist/{name}") for name in _PARTS}


def _member(package: tarfile.TarFile, name: str) -> bytes:
    file = package.extractfile(name)
    if file is None:
        raise KeyError(name)
    return file.read()


def _unpacked(path: Path) -> Runtime:
    said = json.loads((path / "package.json").read_text(encoding="utf-8"))
    if (said["name"], said["version"]) != (RUNTIME, RUNTIME_VERSION):
        raise ValueError(f"it is {said['name']} {said['version']}, and version {RUNTIME_VERSION} is needed")
    return {name: (path / "dist" / name).read_bytes() for name in _PARTS}
