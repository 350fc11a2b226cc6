"""The examples of other user interfaces, driven where their packages are installed."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.serving.bundles import png, write_bundle

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
# What these packages warn of is not for us to mend.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = write_bundle(tmp_path / "shades")
    monkeypatch.setattr(sys, "argv", ["app", str(path)])
    return path


@pytest.mark.slow
@pytest.mark.parametrize(("level", "said"), [("light", "light"), (190, "Not sure")])
def test_streamlit_answers(bundle: Path, level: int | str, said: str) -> None:
    testing = pytest.importorskip("streamlit.testing.v1", exc_type=ImportError)
    app = testing.AppTest.from_file(str(EXAMPLES / "streamlit_app.py"), default_timeout=60).run()
    assert not app.exception
    assert app.title[0].value == "shades"
    app.file_uploader[0].upload("shade.png", png(level), "image/png").run()
    assert not app.exception
    assert app.header[0].value == said


@pytest.mark.slow
def test_streamlit_tells_what_is_no_image(bundle: Path) -> None:
    testing = pytest.importorskip("streamlit.testing.v1", exc_type=ImportError)
    app = testing.AppTest.from_file(str(EXAMPLES / "streamlit_app.py"), default_timeout=60).run()
    app.file_uploader[0].upload("notes.txt", b"hello", "text/plain").run()
    assert not app.exception
    assert "notes.txt is not an image" in app.error[0].value


@pytest.mark.slow
def test_gradio_answers(bundle: Path, tmp_path: Path) -> None:
    gradio = pytest.importorskip("gradio", exc_type=ImportError)
    names = runpy.run_path(str(EXAMPLES / "gradio_app.py"))
    (tmp_path / "shade.png").write_bytes(png("light"))
    probabilities, picture = names["answer"](str(tmp_path / "shade.png"))
    assert max(probabilities, key=probabilities.get) == "light"
    assert picture.shape == (8, 8, 3)
    assert picture.dtype == np.uint8
    (tmp_path / "notes.txt").write_text("hello", encoding="utf-8")
    with pytest.raises(gradio.Error, match="not an image"):
        names["answer"](str(tmp_path / "notes.txt"))


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_an_example_is_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 35
