"""The six notebooks: each runs by itself on a few real images, says nothing but what it means to, and is tidy."""

from __future__ import annotations

import json
import re
from pathlib import Path

import nbformat
import numpy as np
import pytest

from eyebright.core.settings.data import DataSettings
from eyebright.data.image_set import ImageSet
from eyebright.data.load import load
from notebooks.execute import executed, notebooks, tidied
from tests.data.sources.tiny import CIFAR10_CLASSES, write_folder

TRAIN, TEST = 2000, 1000  # images: as few as the notebooks can do with
FEW = {"limit": 500, "epochs": 2}
LARGEST = 1_000_000  # bytes of a notebook with its pictures
NOTEBOOKS = [pytest.param(path, id=path.stem) for path in notebooks()]


@pytest.fixture(scope="session")
def few_images(cifar10_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with the first images of the real CIFAR-10, in its official layout."""
    whole = load(DataSettings(source="cifar10", root=str(cifar10_root)))
    parts = {f"data_batch_{number}": whole.train.take(_rows(number - 1)) for number in range(1, 6)}
    files = {name: _batch(part, f"training batch {name[-1]} of 5") for name, part in parts.items()}
    files["test_batch"] = _batch(whole.test.take(range(TEST)), "testing batch 1 of 1")
    files["batches.meta"] = {b"label_names": CIFAR10_CLASSES}
    root = tmp_path_factory.mktemp("few")
    write_folder(root, "cifar-10-batches-py", files)
    return root


def _rows(number: int) -> range:
    size = TRAIN // 5
    return range(number * size, (number + 1) * size)


def _batch(images: ImageSet, label: str) -> dict[bytes, object]:
    names = [f"photo_s_{number:06d}.png".encode() for number in range(len(images))]
    planes = np.ascontiguousarray(images.images.transpose(0, 3, 1, 2)).reshape(len(images), -1)
    return {b"batch_label": label.encode(), b"labels": images.labels.tolist(), b"data": planes, b"filenames": names}


@pytest.fixture(autouse=True)
def _own_jupyter(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels leave nothing in the user's folders."""
    home = tmp_path_factory.mktemp("jupyter")
    monkeypatch.setenv("IPYTHONDIR", str(home / "ipython"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(home / "runtime"))


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS)
def test_it_runs_by_itself(path: Path, few_images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EYEBRIGHT_DATA", str(few_images))
    folder = tmp_path / "work"
    folder.mkdir()
    notebook = executed(path, folder, FEW)
    first = next(cell for cell in notebook.cells if cell.cell_type == "code")
    assert "\nlimit = 500 " in first.source
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert [output.text for output in outputs if output.get("name") == "stderr"] == []
    kept = [path.name for path in folder.iterdir()]
    assert kept in ([], ["runs"])
    tidy = tidied(notebook)
    nbformat.validate(tidy)
    assert str(tmp_path) not in json.dumps(tidy)


@pytest.mark.parametrize("path", NOTEBOOKS)
def test_what_is_committed_is_whole_and_tidy(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert path.stat().st_size < LARGEST
    assert tidied(notebook) == notebook
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    # Run from top to bottom, or not run yet and without outputs; never something between.
    counts = [cell.execution_count for cell in code]
    assert counts == list(range(1, len(code) + 1)) or not any(counts + [cell.outputs for cell in code])
    assert all(output.get("name") != "stderr" for cell in code for output in cell.outputs)
    assert "limit = None" in code[0].source  # the outputs are those of all images


def test_every_link_leads_to_the_next() -> None:
    paths = notebooks()
    assert len(paths) == 6
    for path, following in zip(paths, [*paths[1:], None], strict=True):
        links = re.findall(r"\]\(([^)]+\.ipynb)\)", path.read_text(encoding="utf-8"))
        assert links == ([following.name] if following else [])


def test_variables_are_set_and_nothing_else(tmp_path: Path) -> None:
    cells = [
        nbformat.v4.new_code_cell("limit = None  # all\nlimited = None\nprint(limit, limited)"),
        nbformat.v4.new_code_cell("limit = 3\nprint(limit)"),
    ]
    path = tmp_path / "two.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    before = path.read_bytes()
    made = executed(path, tmp_path, {"limit": 7, "epochs": 1})
    assert [cell.outputs[0].text for cell in made.cells] == ["7 None\n", "3\n"]
    assert path.read_bytes() == before
