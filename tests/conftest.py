"""Fixtures that more than one folder of tests needs: real data, and small image sets."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import hypothesis
import numpy as np
import pytest

from eyebright.data.image_set import ImageSet, ImageStore, Splits

# Examples are drawn anew at a desk, where they find more; a build of the same commit must end the same.
# No deadline: a busy machine is not a failure.
hypothesis.settings.register_profile("eyebright", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("eyebright")

_BESIDE = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """EYEBRIGHT_DATA, or the folder of real data beside the checkout."""
    folder = Path(os.environ.get("EYEBRIGHT_DATA", _BESIDE))
    if not folder.is_dir():
        pytest.skip(f"real data is not here: set EYEBRIGHT_DATA to a folder that holds it ({folder} does not exist)")
    return folder


@pytest.fixture(scope="session")
def cifar10_root(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with the real CIFAR-10 in its official layout."""
    if (data_folder / "cifar-10-batches-py").is_dir() or (data_folder / "cifar-10-python.tar.gz").is_file():
        return data_folder
    script = data_folder / "unpack_cifar10"
    if not script.is_file():
        pytest.skip(f"CIFAR-10 is not in {data_folder}: it holds neither cifar-10-batches-py nor its tar.gz")
    root = tmp_path_factory.mktemp("cifar10")
    subprocess.run([sys.executable, str(script), str(root)], check=True, capture_output=True)
    return root


@pytest.fixture(scope="session")
def emotions_zip(data_folder: Path) -> Path:
    """The real faces."""
    path = data_folder / "emotions.zip"
    if not path.is_file():
        pytest.skip(f"emotions.zip is not in {data_folder}")
    return path


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests never read or fill the user's cache of decoded images."""
    monkeypatch.setenv("EYEBRIGHT_CACHE", str(tmp_path_factory.getbasetemp() / "decoded"))


def make_images(n: int, split: str, seed: int, size: int = 8) -> ImageSet:
    """Three classes that differ in brightness, so that a small network learns them in seconds."""
    random = np.random.default_rng(seed)
    labels = np.arange(n, dtype=np.int64) % 3
    noise = random.integers(0, 60, size=(n, size, size, 3))
    pixels = (noise + 90 * labels[:, None, None, None]).astype(np.uint8)  # (N, H, W, C)
    names = [f"{split}/{number}.png" for number in range(n)]
    store = ImageStore(pixels, labels, names, ("dark", "grey", "light"), "shades")
    return ImageSet(store, np.arange(n), split)


@pytest.fixture
def shades() -> Splits:
    """130 training, 30 validation and 45 test images of three shades, 8x8 RGB."""
    return Splits(make_images(130, "train", 0), make_images(30, "validation", 1), make_images(45, "test", 2))
