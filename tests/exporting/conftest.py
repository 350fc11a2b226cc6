"""One trained run and its bundle. Tracing takes seconds: what need not trace uses the network that was traced once."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from eyebright.core.recipe import Recipe
from eyebright.data.image_set import Splits
from eyebright.exporting import certify, write
from eyebright.exporting.bundle import Bundle
from eyebright.training.fit import fit, judge
from eyebright.training.run import Run
from tests.conftest import make_images

# The example of a custom body ends in a mean over the map: its class-activation maps are exact.
RECIPE = Recipe.from_dict(
    {
        "name": "test/shades",
        "data": {"source": "shades"},
        "model": {"name": "custom", "target": "eyebright.models.custom:example_body", "features": 32},
        "optimizer": {"name": "adam", "lr": 0.01},
        "training": {"epochs": 3, "batch_size": 16, "threads": 1, "device": "cpu"},
    }
)


@pytest.fixture(autouse=True)
def _timed_shortly(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time that a call takes is of no interest here."""
    monkeypatch.setattr(certify, "_TIMED_SECONDS", 0.0)


@pytest.fixture(scope="session")
def splits() -> Splits:
    return Splits(make_images(130, "train", 0), make_images(60, "validation", 1), make_images(45, "test", 2))


@pytest.fixture(scope="session")
def run(splits: Splits, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Three epochs, judged."""
    trained = fit(RECIPE, splits, folder=tmp_path_factory.mktemp("run") / "shades", callbacks=())
    judge(trained, splits)
    return trained


@pytest.fixture(scope="session")
def bundle(run: Run, splits: Splits, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A folder with images, as `eyebright export RUN OUT --with-images` makes it."""
    folder = tmp_path_factory.mktemp("bundle") / "shades"
    return write.export(
        run, folder, check=splits.test, calibrate=splits.validation, known=splits.train, examples=splits.test
    )


@pytest.fixture
def traced(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """The network of `bundle`; exports of the same run do not trace it again."""
    content = (bundle.path / bundle.manifest.file).read_bytes()
    monkeypatch.setattr(write, "to_onnx", lambda _model, _temperature: content)
    return content


@pytest.fixture
def album(splits: Splits, tmp_path: Path) -> Path:
    """The test images as files in two folders, and a file that is none."""
    folder = tmp_path / "album"
    for number, image in enumerate(splits.test.images):
        path = folder / f"{number % 2}" / f"{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    (folder / "1" / "broken.jpg").write_text("no image")
    return folder
