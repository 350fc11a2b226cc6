"""Networks of timm (Wightman 2019, "PyTorch Image Models") as bodies; the only module that imports it.

Nothing is downloaded: weights come from files that are here.
"""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from eyebright.core import torchvision_operators
from eyebright.core.errors import MissingExtraError, ModelError, nearest

# What timm and PyTorch call weights; .npz and the like come from other frameworks.
SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")


@dataclasses.dataclass(frozen=True)
class Published:
    """What timm says of published weights.

    Attributes
    ----------
    name : of network and weights, such as `resnet18.a1_in1k`.
    size : edge of the square images that they were made for, in pixels.
    mean, std : of the pixels, in units of the 0..1 range.
    interpolation : by which images were resized for them.
    licence : of them; empty where timm does not say.
    fixed : whether the network takes images of one size only, which is chosen when it is built.
    classifiers : of its layers those that make logits.
    repository : on huggingface.co, empty where they are not there.
    files : names that they may have in that repository, the best first.
    url : of an older copy, or empty.
    """

    name: str
    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: Literal["bilinear", "bicubic"]
    licence: str
    fixed: bool
    classifiers: tuple[str, ...]
    repository: str
    files: tuple[str, ...]
    url: str

    @property
    def network(self) -> str:
        """The name without that of the weights."""
        return self.name.partition(".")[0]

    @property
    def page(self) -> str:
        """Where a browser finds the file; empty where nothing is published."""
        return f"https://huggingface.co/{self.repository}/blob/main/{self.files[0]}" if self.repository else self.url


def published(name: str) -> Published:
    """What timm knows about `name`: a network, or one with the tag of its weights.

    Raises
    ------
    MissingExtraError : timm is not installed.
    ModelError : there is no such network, or no such weights of it.
    """
    models = _timm_models()
    network, _, tag = name.partition(".")
    # A name with a colon or a slash would make timm look in other places, some of them in the network.
    if not models.is_model(network) or {":", "/"} & set(name):
        raise ModelError(f"timm knows no network {network!r} (model.body).", nearest(network, models.list_models()))
    try:
        about = models.get_pretrained_cfg(name)
    except RuntimeError:
        tags = [known.partition(".")[2] for known in models.list_models(f"{network}.*", include_tags=True)]
        raise ModelError(f"timm knows no weights {tag!r} of {network}.", nearest(tag, tags)) from None
    if about is None:
        raise ModelError(f"timm says nothing about {network!r}.", "Choose another network for model.body.")
    classifier = about.classifier or ()
    return Published(
        name=f"{network}.{about.tag}" if about.tag else network,
        size=about.input_size[-1],
        mean=tuple(about.mean),
        std=tuple(about.std),
        interpolation="bilinear" if about.interpolation == "bilinear" else "bicubic",
        licence=about.license or "",
        fixed=about.fixed_input_size,
        classifiers=(classifier,) if isinstance(classifier, str) else tuple(classifier),
        repository=about.hf_hub_id or "",
        files=_file_names(about.hf_hub_filename),
        url=about.url if isinstance(about.url, str) else "",
    )


def cached(about: Published) -> Path | None:
    """The file that timm has downloaded once, if it is still in one of its caches."""
    from huggingface_hub import try_to_load_from_cache  # timm itself needs it

    for name in about.files if about.repository else ():
        found = try_to_load_from_cache(about.repository, name)
        if isinstance(found, str):
            return Path(found)
    old = Path(torch.hub.get_dir(), "checkpoints", Path(about.url).name)
    return old if about.url and old.is_file() else None


def build(name: str, size: int) -> nn.Module:
    """The network, without its classifier, with random weights: (B, 3, size, size) to features (B, F).

    Raises
    ------
    ModelError : timm knows no such network.
    """
    # The tag of the weights does not matter, and a later timm may not know it any more.
    return _create(published(name.partition(".")[0]), size)


def load(name: str, size: int, path: Path) -> nn.Module:
    """The network, without its classifier, with the weights of a file that timm can read.

    Raises
    ------
    ModelError : the file cannot be read, or it does not hold exactly this network.
    """
    about = published(name)
    tensors = {
        key: tensor
        for key, tensor in _read(path).items()
        if not key.startswith(tuple(f"{classifier}." for classifier in about.classifiers))
    }
    # No classes, neither in the file nor in the network: then timm reads strictly.
    given = {"state_dict": tensors, "num_classes": 0, "custom_load": False}
    with _Copied() as copied:
        try:
            network = _create(about, size, pretrained=True, pretrained_cfg_overlay=given)
        except (RuntimeError, KeyError, ValueError, AssertionError, AttributeError, IndexError) as error:
            raise misfit(path, about.network, " ".join(str(error).split())) from error
    left = [key for key, tensor in _stored(network).items() if id(tensor) not in copied.targets]
    if left:  # some networks are read leniently, whatever one asks for
        raise misfit(path, about.network, f"it has no values for {', '.join(left[:5])}")
    made: Any = network
    made.pretrained_cfg.pop("state_dict", None)  # timm keeps a second copy there
    return network


def misfit(path: Path, network: str, reason: str) -> ModelError:
    """What to say of a file that does not hold the weights of this network."""
    shown = reason if len(reason) <= 400 else f"{reason[:400]}..."
    return ModelError(
        f"{path} does not hold the weights of {network}: {shown}",
        "Name the network in model.body that the file was made for, or the right file in model.weights.",
    )


def depths(network: nn.Module) -> dict[str, int] | None:
    """The stage of each parameter of a network of timm, from 0 for the first; None where it does not say."""
    matcher: Callable[..., Any] | None = getattr(network, "group_matcher", None)
    if matcher is None:
        return None
    stages: dict[str, int] = _timm_models().group_parameters(network, matcher(coarse=True), reverse=True)
    return stages


class _Copied(TorchFunctionMode):
    """Notes the tensors that something is copied into, as every loading of weights does."""

    def __init__(self) -> None:
        super().__init__()
        self.targets: dict[int, Tensor] = {}  # the tensors too: an id is unique only while its object lives

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func is Tensor.copy_:
            self.targets[id(args[0])] = args[0]
        return func(*args, **(kwargs or {}))


def _stored(network: nn.Module) -> dict[str, Tensor]:
    """The tensors that belong into a file of weights."""
    names = network.state_dict().keys()
    tensors = dict(network.named_parameters()) | dict(network.named_buffers())
    return {name: tensors[name] for name in names if name in tensors}


def _create(about: Published, size: int, **options: Any) -> nn.Module:
    if about.fixed:
        options["img_size"] = size
    network: nn.Module = _timm_models().create_model(about.name, num_classes=0, **options)
    return network


def _read(path: Path) -> dict[str, Tensor]:
    """The tensors of a file, by name. No code in it is run."""
    if path.suffix not in SUFFIXES:
        raise ModelError(f"{path} is no file of weights that can be read.", f"Give one of {', '.join(SUFFIXES)}.")
    try:
        tensors: dict[str, Tensor] = _timm_models().load_state_dict(str(path), weights_only=True)
    except FileNotFoundError as error:
        raise ModelError(f"there is no file {path}.", "Check the path in model.weights.") from error
    except (OSError, EOFError, SafetensorError, RuntimeError, pickle.UnpicklingError, ValueError, KeyError) as error:
        raise ModelError(
            f"{path} cannot be read as weights: {' '.join(str(error).split())}",
            "Copy it again from where it came; a .pth file may hold nothing but tensors, since code is not run.",
        ) from error
    except AttributeError as error:  # what was read is no dictionary
        raise _no_tensors(path) from error
    if not tensors or not all(isinstance(tensor, Tensor) for tensor in tensors.values()):
        raise _no_tensors(path)
    return tensors


def _no_tensors(path: Path) -> ModelError:
    return ModelError(
        f"{path} is no dictionary of tensors.", "Save the weights by torch.save(network.state_dict(), path)."
    )


def _file_names(special: str | None) -> tuple[str, ...]:
    """Names of the file in a repository of Hugging Face, the safe format first."""
    names = (special,) if special else ("pytorch_model.bin",)
    safe = "model.safetensors" if not special else str(Path(special).with_suffix(".safetensors"))
    return tuple(dict.fromkeys((safe.replace("pytorch_model", "model"), *names)))


def _timm_models() -> ModuleType:
    torchvision_operators.ensure()
    try:
        import timm.models
    except ImportError as error:
        raise MissingExtraError("timm", "pretrained") from error
    return timm.models
