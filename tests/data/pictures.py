"""Small image files for the tests."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def picture(seed: int, height: int = 6, width: int = 8, channels: int = 3) -> NDArray[np.uint8]:
    """Noise (H, W, C); another seed gives another picture."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)


def png(pixels: NDArray[np.uint8]) -> bytes:
    """The content of a PNG of (H, W, C)."""
    file = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(file, "PNG")
    return file.getvalue()


def write_tree(root: Path, files: Mapping[str, bytes | None]) -> Path:
    """Files by their path below `root`, all of one age; a path that ends with "/" is an empty folder."""
    for name, content in files.items():
        path = root / name
        if name.endswith("/"):
            path.mkdir(parents=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content or b"")
        os.utime(path, ns=(10**18, 10**18))
    return root


def write_zip(path: Path, files: Mapping[str, bytes | None], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    """The same as members of a zip."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content or b"")
    return path


def pngs(*names: str) -> dict[str, bytes | None]:
    """A different picture for each name."""
    return {name: png(picture(seed)) for seed, name in enumerate(names)}
