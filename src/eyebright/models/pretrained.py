"""`pretrained`: a body that has learnt on other images, with a new head.

The body is a network of timm, or that of an earlier run, in a wrapper that enlarges images which are smaller than those
it has learnt on. So they lie small on the disk and in memory, and every export carries the rule.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eyebright.core.errors import ModelError
from eyebright.core.input_spec import InputSpec
from eyebright.core.settings.model import CustomSettings, ModelSettings, PretrainedSettings
from eyebright.models import heads, timm_bodies, weights_file, weights_source
from eyebright.models.classifier import Classifier, evaluating

_BODY, _NETWORK = "body.", "body.network."  # where a classifier has the weights of its body, and of a wrapped network


class EnlargingBody(nn.Module):
    """A network for larger images than it is given, or for RGB where it is given grey.

    Parameters
    ----------
    network : (B, channels, size, size) to features (B, F).
    channels : 1 or 3.
    size : edge of the square images that the network is to see; None: as they come.
    interpolation : "bilinear" or "bicubic".
    """

    def __init__(self, network: nn.Module, channels: int, size: int | None, interpolation: str) -> None:
        super().__init__()
        self.network = network
        self.channels = channels
        self.size = size
        self.interpolation = interpolation

    def forward(self, x: Tensor) -> Tensor:
        """Normalised images (B, C, H, W) to features (B, F)."""
        if self.size and tuple(x.shape[2:]) != (self.size, self.size):
            x = F.interpolate(x, (self.size, self.size), mode=self.interpolation, align_corners=False)
        features: Tensor = self.network(x.expand(-1, self.channels, -1, -1))
        return features

    def extra_repr(self) -> str:
        """What distinguishes one from another."""
        return f"channels={self.channels}, size={self.size}, interpolation={self.interpolation}"


def resolve(settings: PretrainedSettings) -> PretrainedSettings:
    """The same choice with everything filled in that the weights say, and with absolute paths.

    Raises
    ------
    ModelError : the weights are not here, or not those of `settings.sha256`.
    CheckpointError : they are damaged.
    """
    path = weights_source.find(settings)
    if path is None:
        if settings.sha256 is not None:
            raise ModelError("random weights come from no file that has a SHA-256.", "Take it out: model.sha256=null")
        return _filled(settings, _of_random(settings))
    found = weights_source.sha256(path)
    if settings.sha256 not in {None, found}:
        raise ModelError(
            f"{path} is not the file that the recipe was made with: its SHA-256 is {found} and not {settings.sha256}.",
            "Find the right file, or take this one: model.sha256=null",
        )
    known = _of_run(path, settings) if weights_source.is_ours(path) else _of_timm(settings)
    named = settings.weights if settings.weights == "default" else str(Path(settings.weights).expanduser().absolute())
    return dataclasses.replace(_filled(settings, known), weights=named, sha256=found)


def normalisation(settings: PretrainedSettings, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Mean and deviation of the pixels that resolved weights were made for; None: they were made for none.

    Grey pixels get the average of the three colours.
    """
    if settings.mean is None or settings.std is None:
        return None
    if len(settings.mean) == channels:
        return settings.mean, settings.std
    mean, std = (sum(values) / len(values) for values in (settings.mean, settings.std))
    return (mean,) * channels, (std,) * channels


def build(
    settings: PretrainedSettings, spec: InputSpec, build_own: Callable[[ModelSettings, InputSpec], Classifier]
) -> Classifier:
    """Resolved settings to the network with random weights, wrapped, under a new head.

    Parameters
    ----------
    settings, spec : as for every family.
    build_own : makes a network of ours.

    Raises
    ------
    ModelError : images larger than the body's, of other channels, or not for this body at all.
    """
    size = settings.size
    if size and max(spec.height, spec.width) > size:
        raise ModelError(
            f"the images have {spec.height}x{spec.width} pixels, and the body of the model takes {size}x{size}.",
            f"Load them smaller (data.size={size}), or let the body see them as they are (model.size={spec.height}).",
        )
    if isinstance(settings.body, str):
        channels, edge = 3, size or max(spec.height, spec.width)
        network = timm_bodies.build(settings.body, edge)
    elif settings.body is not None:
        mean, std = settings.mean or spec.mean, settings.std or spec.std  # of as many channels as the body takes
        channels, height, width = len(mean), size or spec.height, size or spec.width
        inner = dataclasses.replace(spec, height=height, width=width, channels=channels, mean=mean, std=std)
        network = build_own(settings.body, inner).body
    else:
        raise ModelError("the model has no body.", "Name a network of timm: model.body=resnet18")
    if spec.channels > channels:
        raise ModelError("the body of the model takes grey images, and these have colours.", "Use data.channels=1")
    body = EnlargingBody(network, channels, size, settings.interpolation or "bicubic")
    head = heads.build(settings.head, _features(body, spec, settings), len(spec.classes), dropout=settings.dropout)
    return Classifier(body, head, spec, settings)


def fill(model: Classifier, settings: PretrainedSettings) -> None:
    """Load the weights of the body; the head stays as it is.

    Raises
    ------
    ModelError : the weights are not here, cannot be read, or are those of another network.
    CheckpointError : they are damaged.
    """
    path, body = weights_source.find(settings), model.body
    if path is None or not isinstance(body, EnlargingBody):
        return
    if weights_source.is_ours(path):
        header, tensors = weights_file.read(path)
        prefix = _NETWORK if isinstance(header.settings, PretrainedSettings) else _BODY
        found = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    else:
        spec = model.spec
        loaded = timm_bodies.load(str(settings.body), settings.size or max(spec.height, spec.width), path)
        found = loaded.state_dict()
    try:
        body.network.load_state_dict(found)
    except RuntimeError as error:
        raise timm_bodies.misfit(path, str(settings.body), " ".join(str(error).split())) from error


def _filled(settings: PretrainedSettings, known: dict[str, object]) -> PretrainedSettings:
    missing = {name: value for name, value in known.items() if getattr(settings, name) is None}
    # The tag of timm's own weights is worth knowing.
    renamed = {"body": known["body"]} if settings.weights == "default" else {}
    changes: dict[str, object] = missing | renamed
    return dataclasses.replace(settings, **changes)  # type: ignore[arg-type]  # values of the fields' own types


def _of_random(settings: PretrainedSettings) -> dict[str, object]:
    """Of random weights only the size is known; pixels are normalised by those of the training."""
    if settings.body is None:
        raise ModelError("the model has no body.", "Name a network of timm: model.body=resnet18")
    if not isinstance(settings.body, str):
        return {}
    about = timm_bodies.published(settings.body)
    return {"size": about.size, "interpolation": about.interpolation}


def _of_timm(settings: PretrainedSettings) -> dict[str, object]:
    if not isinstance(settings.body, str):
        raise ModelError(
            "a file of weights does not say of which network they are, and Eyebright did not write this one.",
            "Name the network: model.body=resnet18",
        )
    about = timm_bodies.published(settings.body)
    named = settings.weights == "default" or settings.body == about.name  # else the file may be anybody's
    return {
        "body": about.name,
        "size": about.size,
        "interpolation": about.interpolation,
        "mean": about.mean,
        "std": about.std,
        "licence": about.licence if named else "",
    }


def _of_run(path: Path, settings: PretrainedSettings) -> dict[str, object]:
    header = weights_file.read_header(path)
    theirs, spec = header.settings, header.spec
    if isinstance(theirs, CustomSettings):
        raise ModelError(
            f"{path} holds a custom model, whose body only its own code can make.",
            f"Load the weights in {theirs.target} and use model=custom.",
        )
    wrapped = theirs if isinstance(theirs, PretrainedSettings) else None
    body = wrapped.body if wrapped else theirs
    if settings.body is not None and settings.body != body:
        raise ModelError(f"{path} holds {body}, and model.body asks for {settings.body}.", "Leave model.body away.")
    size = wrapped.size if wrapped and wrapped.size else max(spec.height, spec.width)
    return {
        "body": body,
        "size": size,
        "interpolation": wrapped.interpolation if wrapped else "bilinear",
        "mean": (wrapped.mean if wrapped else None) or spec.mean,
        "std": (wrapped.std if wrapped else None) or spec.std,
        "licence": spec.licence,
    }


def _features(body: EnlargingBody, spec: InputSpec, settings: PretrainedSettings) -> int:
    """F, found by sending one image through."""
    image = torch.zeros(1, spec.channels, spec.height, spec.width)
    try:
        with evaluating(body), torch.no_grad():
            features = body(image)
    except (RuntimeError, ValueError, AssertionError) as error:
        raise ModelError(
            f"{settings.body} cannot take images of {body.size or spec.height} pixels: {error}",
            "Use a larger model.size, or another model.body.",
        ) from error
    if not isinstance(features, Tensor) or features.ndim != 2:
        found = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
        raise ModelError(
            f"{settings.body} gives {found} for one image, and not one vector of features.",
            "Choose a network of timm that is made for classification.",
        )
    return features.shape[1]
