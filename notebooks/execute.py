"""Run the notebooks and keep their outputs: `python notebooks/execute.py [NAME ...]`, all of them without a name.

Every notebook runs in the current folder, where its runs/ appear, and is written back without what belongs to one
machine or one moment. Needs the extra `notebooks`.
"""

from __future__ import annotations

import copy
import re
import sys
from collections.abc import Mapping
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from traitlets.config import Config

FOLDER = Path(__file__).resolve().parent
_PATIENCE = 3600  # seconds for one cell: a training on a busy laptop
_KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def notebooks() -> list[Path]:
    """All of them, in the order of the story."""
    return sorted(FOLDER.glob("*.ipynb"))


def executed(path: Path, folder: Path, values: Mapping[str, int] | None = None) -> NotebookNode:
    """The notebook with new outputs.

    Parameters
    ----------
    path : of the notebook; it stays as it is.
    folder : where its code runs.
    values : for variables that its first cell of code sets, `limit=500`; those that it does not set are left out.

    Raises
    ------
    nbclient.exceptions.CellExecutionError : a cell failed.
    """
    notebook = nbformat.read(path, as_version=4)
    first = next(cell for cell in notebook.cells if cell.cell_type == "code")
    for name, value in (values or {}).items():
        first.source = re.sub(rf"^{name} = \w+", f"{name} = {value}", first.source, flags=re.MULTILINE)
    client = NotebookClient(
        notebook,
        timeout=_PATIENCE,
        record_timing=False,
        resources={"metadata": {"path": str(folder)}},
        config=Config(KernelManager={"transport_encryption": "auto"}),  # else the kernel warns of its open port
    )
    client.execute()
    return notebook


def tidied(notebook: NotebookNode) -> NotebookNode:
    """The same without versions, times and second copies of pictures, so that a new run changes what has changed."""
    notebook = copy.deepcopy(notebook)
    notebook.metadata = NotebookNode(kernelspec=_KERNEL, language_info={"name": "python"})
    for number, cell in enumerate(notebook.cells, start=1):
        cell.id = f"cell-{number}"
        cell.metadata = NotebookNode()
        for output in cell.get("outputs", []):
            if "data" in output:
                output.metadata = NotebookNode()
                output.data.pop("image/jpeg", None)  # Pillow offers every picture in two formats
                if "image/png" in output.data:
                    output.data["text/plain"] = "picture"  # not the address of an object
    return notebook


def main() -> None:
    """Execute and write the notebooks whose names begin with one of the arguments."""
    chosen = [path for path in notebooks() if path.name.startswith(tuple(sys.argv[1:] or [""]))]
    for path in chosen:
        notebook = tidied(executed(path, Path.cwd()))
        nbformat.validate(notebook)
        nbformat.write(notebook, path)
        print(f"{path.name}: {path.stat().st_size / 1e3:,.0f} kB")


if __name__ == "__main__":
    main()
