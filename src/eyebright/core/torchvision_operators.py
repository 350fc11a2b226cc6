"""Let torchvision be imported beside a PyTorch that it was not built for.

PyPI's torchvision is built for CUDA. Beside a CPU build of PyTorch its compiled library cannot load, which it
allows for, except that its own import then describes two operators that nobody has defined, and fails with
"operator torchvision::nms does not exist". A definition without an implementation is all that it lacks: networks,
transforms and weights work, and whoever calls the operators is told by PyTorch that they have no kernel.

Eyebright needs no torchvision. Bodies of the user's own may, as does pytorch-grad-cam, which the tests compare with.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import torch

# What torchvision 0.28 describes without asking whether its library is there.
_SCHEMAS = {
    "nms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}
_defined: list[torch.library.Library] = []  # a definition lives as long as its library


def ensure() -> bool:
    """Define the operators that `import torchvision` would miss; call it before that import.

    Does nothing where torchvision is not installed, where its compiled library loads, or at a second call.

    Returns
    -------
    Whether anything was defined.
    """
    missing = [name for name in _SCHEMAS if not hasattr(torch.ops.torchvision, name)]
    if not missing or _loads():
        return False
    make: Any = torch.library.Library  # torch leaves it untyped
    library = make("torchvision", "FRAGMENT")
    for name in missing:
        library.define(name + _SCHEMAS[name])
    _defined.append(library)
    return True


def _loads() -> bool:
    """Whether torchvision's own import will find its operators, or there is no torchvision to import."""
    found = importlib.util.find_spec("torchvision")  # imports nothing
    if found is None:
        return True
    folders = [Path(folder) for folder in found.submodule_search_locations or ()]
    libraries = [path for folder in folders for path in folder.glob("_C.*") if path.suffix in {".so", ".pyd"}]
    loader: Any = torch.ops  # untyped
    try:
        for path in libraries:
            loader.load_library(path)
    except OSError:
        return False
    return bool(libraries)
