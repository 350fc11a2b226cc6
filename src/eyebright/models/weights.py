"""Weights on disk: one safetensors file that rebuilds the whole classifier, and that runs no code when read."""

from __future__ import annotations

from pathlib import Path

import torch

from eyebright.core.errors import CheckpointError
from eyebright.core.settings.model import CustomSettings, ModelSettings
from eyebright.models import registry
from eyebright.models.classifier import Classifier
from eyebright.models.weights_file import Header, contiguous, digest_of, load_into, plain, read, read_header, save

__all__ = ["Header", "contiguous", "digest_of", "load", "load_into", "read_header", "save"]


def load(path: Path, map_location: str | torch.device = "cpu", *, expected: ModelSettings | None = None) -> Classifier:
    """Read what `save` wrote, in evaluation mode.

    Parameters
    ----------
    path : the file.
    map_location : device of the model.
    expected : the settings that the caller believes in, mostly `recipe.model`. A custom model needs them, so
        that a file alone, perhaps a stranger's, never chooses what is imported and run.

    Raises
    ------
    CheckpointError : the file is missing, damaged, something else, or a checkpoint of another model.
    ModelError : the custom model that it belongs to cannot be built.
    """
    header, tensors = read(path)
    # Compared as JSON, in which a tuple among the options of a custom model is a list.
    if expected is not None and plain(expected) != plain(header.settings):
        raise CheckpointError(
            f"{path} holds another model: {header.settings}, and not {expected}.",
            "Name the checkpoint of this recipe, or the recipe of this checkpoint.",
        )
    if isinstance(header.settings, CustomSettings) and expected is None:
        raise CheckpointError(
            f"{path} holds a custom model: to load it means to run {header.settings.target}.",
            "If you trust that function, load through the run, or pass expected=CustomSettings(...).",
        )
    model = registry.skeleton(header.settings, header.spec)
    load_into(model, tensors, path)
    return model.to(map_location).eval()
