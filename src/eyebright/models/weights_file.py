"""The file of weights: one safetensors file that says what it holds, and that runs no code when read."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib.metadata
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pydantic
import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from eyebright.core.errors import CheckpointError
from eyebright.core.files import atomic_path
from eyebright.core.input_spec import InputSpec
from eyebright.core.settings.model import ModelSettings
from eyebright.models.classifier import Classifier

_SETTINGS: pydantic.TypeAdapter[ModelSettings] = pydantic.TypeAdapter(ModelSettings)

_COPY_AGAIN = "Copy it again from where it came, or train again."

# The only key of the file's metadata. One, because safetensors writes several in random order, and the same
# model must give the same bytes.
_KEY = "eyebright"


@dataclasses.dataclass(frozen=True)
class Header:
    """What a weights file says about itself.

    Attributes
    ----------
    version : of Eyebright that wrote it.
    settings : which network.
    spec : what goes in and what comes out.
    extra : what the writer added, such as the epoch.
    digest : BLAKE2b of names, dtypes, shapes and bytes of all tensors.
    """

    version: str
    settings: ModelSettings
    spec: InputSpec
    extra: dict[str, str]
    digest: str


def save(model: Classifier, path: Path, extra: Mapping[str, str] | None = None) -> None:
    """Write weights, buffers, settings and `InputSpec` to `path`, atomically.

    The same model and `extra` give the same bytes. Tensors of any device, memory layout or shared storage
    are stored contiguous, each by itself.

    Raises
    ------
    StorageError : the disk is full or cannot be written.
    """
    tensors = {name: contiguous(tensor) for name, tensor in model.state_dict().items()}
    header = {
        "version": _version(),
        "settings": plain(model.settings),
        "input_spec": model.spec.to_dict(),
        "extra": dict(extra or {}),
        "digest": digest_of(tensors),
    }
    content = safetensors.torch.save(tensors, {_KEY: json.dumps(header, sort_keys=True)})
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)  # not save_file, which hides from us why the system refused


def read_header(path: Path) -> Header:
    """Read the header of `path`, without the tensors.

    Raises
    ------
    CheckpointError : the file is missing, damaged or something else.
    """
    with _opened(path) as stored:
        return _header(stored, path)


def is_ours(path: Path) -> bool:
    """Whether `save` wrote the safetensors file at `path`.

    Raises
    ------
    CheckpointError : the file is missing or damaged.
    """
    with _opened(path) as stored:
        return _KEY in (stored.metadata() or {})


def load_into(model: Classifier, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Copy `tensors`, which were read from `path`, into `model` in place; all of them, or none at an error.

    Raises
    ------
    CheckpointError : a tensor is missing, unknown, or of another shape or dtype.
    """
    wanted = model.state_dict()
    for name, tensor in wanted.items():
        found = tensors.get(name)
        if found is None:
            raise _misfit(path, f"it has no tensor {name!r}", model)
        if found.shape != tensor.shape:
            raise _misfit(path, f"tensor {name!r} is {tuple(found.shape)} and not {tuple(tensor.shape)}", model)
        if found.dtype != tensor.dtype:
            raise _misfit(path, f"tensor {name!r} is {found.dtype} and not {tensor.dtype}", model)
    for name in sorted(tensors.keys() - wanted.keys()):
        raise _misfit(path, f"the model has no tensor {name!r}", model)
    model.load_state_dict(dict(tensors))


def _misfit(path: Path, cause: str, model: Classifier) -> CheckpointError:
    return CheckpointError(
        f"{path} belongs to another model than this {model.settings.name}: {cause}.",
        "Use the recipe that the checkpoint was written with (same model, image size and classes).",
    )


def read(path: Path) -> tuple[Header, dict[str, Tensor]]:
    """Read what `save` wrote: the header and all tensors.

    Raises
    ------
    CheckpointError : the file is missing, damaged or something else.
    """
    with _opened(path) as stored:
        header = _header(stored, path)
        tensors = {name: stored.get_tensor(name) for name in stored.offset_keys()}
    if digest_of(tensors) != header.digest:
        raise CheckpointError(f"{path} is damaged: its tensors are not those that were written.", _COPY_AGAIN)
    return header, tensors


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="pt") as stored:
            yield stored
    except FileNotFoundError as error:
        raise CheckpointError(f"there is no file {path}.", "Check the path; `eyebright runs` lists runs.") from error
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} is not a whole safetensors file: {error}", _COPY_AGAIN) from error


def _header(stored: Any, path: Path) -> Header:
    text = (stored.metadata() or {}).get(_KEY)
    if text is None:
        raise CheckpointError(
            f"{path} is a safetensors file, but Eyebright did not write it as a model.",
            "Name a file that eyebright.models.weights.save wrote, such as the best checkpoint of a run.",
        )
    try:
        value = json.loads(text)
        return Header(
            version=value["version"],
            settings=_SETTINGS.validate_python(value["settings"]),
            spec=InputSpec.from_dict(value["input_spec"]),
            extra=value["extra"],
            digest=value["digest"],
        )
    except (ValueError, KeyError, TypeError) as error:  # pydantic's and json's errors are ValueErrors
        raise CheckpointError(
            f"the header of {path} cannot be understood: {type(error).__name__}: {error}",
            f"Load it with the version of Eyebright that wrote it; this is {_version()}.",
        ) from error


def plain(settings: ModelSettings) -> Any:
    """What JSON can hold."""
    return _SETTINGS.dump_python(settings, mode="json")


def contiguous(tensor: Tensor) -> Tensor:
    """A copy on the CPU that shares its storage with nothing, in row-major order."""
    return tensor.detach().cpu().clone(memory_format=torch.contiguous_format)


def digest_of(tensors: Mapping[str, Tensor]) -> str:
    """32 hex digits over contiguous CPU tensors."""
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _version() -> str:
    return importlib.metadata.version("eyebright")
