"""Where pretrained weights lie, and what to do where they do not: a file, a mirror, a run, or timm's caches."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from eyebright.core.errors import ModelError
from eyebright.core.settings.model import PretrainedSettings
from eyebright.models import timm_bodies, weights_file

# A folder with files NAME.safetensors, as they are named in timm.
MIRROR = "EYEBRIGHT_WEIGHTS"


def find(settings: PretrainedSettings) -> Path | None:
    """The file that `settings` name; None for random weights.

    Raises
    ------
    ModelError : it is not here; says what to fetch from where, and where to put it.
    """
    if settings.weights == "random":
        return None
    if settings.weights == "default":
        return _default(settings)
    path = Path(settings.weights).expanduser().absolute()
    if (path / "run.json").is_file():
        return _best_of_run(path)
    if path.is_dir():
        return _in_mirror(path, settings) or _missing(settings, f"the folder {path} holds no weights of {{name}}")
    if not path.is_file():
        raise ModelError(
            f"there is no file or folder {path} (model.weights).",
            'Name a .safetensors or .pth file, a run, a folder of such files, "default" or "random".',
        )
    return path


def is_ours(path: Path) -> bool:
    """Whether Eyebright wrote the file, as a model of its own.

    Raises
    ------
    CheckpointError : it is damaged.
    """
    return path.suffix == ".safetensors" and weights_file.is_ours(path)


def sha256(path: Path) -> str:
    """Of the content of the file, 64 hex digits, as pages for downloads show it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _best_of_run(run: Path) -> Path:
    path = run / "checkpoints" / "best.safetensors"
    if not path.is_file():
        raise ModelError(
            f"the run {run} has no model yet (model.weights).", f"Finish an epoch: eyebright train --resume {run}"
        )
    return path


def _default(settings: PretrainedSettings) -> Path:
    if not isinstance(settings.body, str):
        raise ModelError(
            "nobody publishes weights for a network of Eyebright's own." if settings.body else "the body has no name.",
            "Name a network of timm (model.body=resnet18), or a run whose body to take (model.weights=runs/...).",
        )
    about = timm_bodies.published(settings.body)
    mirror = os.environ.get(MIRROR)
    found = (_in_mirror(Path(mirror).expanduser(), settings) if mirror else None) or timm_bodies.cached(about)
    return found or _missing(settings, "the weights {name} are not on this machine")


def _in_mirror(folder: Path, settings: PretrainedSettings) -> Path | None:
    """The file of these weights in a folder, with or without the tag in its name."""
    if not isinstance(settings.body, str):
        raise ModelError(
            f"{folder} is a folder of many weights, and model.body does not say which to take.",
            "Name a network of timm: model.body=resnet18",
        )
    about = timm_bodies.published(settings.body)
    names = (f"{name}{suffix}" for name in (about.name, about.network) for suffix in timm_bodies.SUFFIXES)
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _missing(settings: PretrainedSettings, cause: str) -> Path:
    about = timm_bodies.published(str(settings.body))
    if not about.page:
        raise ModelError(
            f"nobody publishes weights for {about.name}.",
            "Name another network, a file of your own (model.weights=PATH), or begin with model.weights=random.",
        )
    mirror = os.environ.get(MIRROR)
    place = Path(mirror) / f"{about.name}.safetensors" if mirror else f"FOLDER/{about.name}.safetensors"
    export = "" if mirror else f" and set the variable {MIRROR} to FOLDER"
    raise ModelError(
        f"{cause.format(name=about.name)}, and nothing is downloaded.",
        f"Fetch {about.page} with a browser, put it to {place}{export}; or name the file: model.weights=PATH. "
        "To begin with random weights on purpose: model.weights=random",
    )
