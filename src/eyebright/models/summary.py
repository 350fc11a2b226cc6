"""`summary`: what happens to an image on its way through a network, layer by layer, and what each layer costs."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from eyebright.models.classifier import Classifier, evaluating
from eyebright.models.profile import ModelProfile, profile


@dataclasses.dataclass(frozen=True)
class Layer:
    """One layer of a network.

    Attributes
    ----------
    name : its path below the body, such as "stage1.convolution1"; "head" is the last one.
    kind : its class, such as "Conv2d".
    output : shape of what it makes of one image, (C, H, W) or (F,).
    parameters : numbers that it holds and learns.
    multiply_adds : for one image; of all its calls, where a network uses a layer more than once.
    """

    name: str
    kind: str
    output: tuple[int, ...]
    parameters: int
    multiply_adds: int


@dataclasses.dataclass(frozen=True)
class Summary:
    """The layers of a network in the order in which an image meets them, and the cost of the whole.

    Functions between the layers, such as the sum of a shortcut, are no layers and are not listed.
    """

    layers: tuple[Layer, ...]
    profile: ModelProfile

    def __repr__(self) -> str:
        headings = ("layer", "kind", "output", "parameters", "multiply-adds")
        rows = [headings, *map(_cells, self.layers)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        total = f"{self.profile.parameters:,} parameters, {self.profile.multiply_adds:,} multiply-adds for one image"
        return "\n".join([f"{self.profile.name}: {total}", *(_line(row, widths) for row in rows)])


def summary(model: Classifier) -> Summary:
    """Send one black image through the model and note every layer. The model is given back as it was."""
    spec = model.spec
    image = torch.zeros(1, spec.channels, spec.height, spec.width, dtype=torch.uint8, device=model.mean.device)
    counter = FlopCounterMode(display=False)
    found: dict[str, Layer] = {}
    begun: dict[str, int] = {}

    def begin(name: str) -> None:
        begun[name] = counter.get_total_flops()

    def end(name: str, layer: nn.Module, output: Any) -> None:
        if isinstance(output, Tensor):
            parameters = sum(parameter.numel() for parameter in layer.parameters())
            multiply_adds = (counter.get_total_flops() - begun[name]) // 2  # torch counts both operations
            before = found[name].multiply_adds if name in found else 0
            shape = tuple(output.shape[1:])
            found[name] = Layer(name, type(layer).__name__, shape, parameters, before + multiply_adds)

    with contextlib.ExitStack() as hooks, evaluating(model), torch.no_grad(), counter:
        for name, layer in _layers(model).items():
            hooks.enter_context(layer.register_forward_pre_hook(lambda _layer, _inputs, name=name: begin(name)))
            hooks.enter_context(
                layer.register_forward_hook(lambda layer, _inputs, output, name=name: end(name, layer, output))
            )
        model(image)
    return Summary(tuple(found.values()), profile(model))


def _layers(model: Classifier) -> dict[str, nn.Module]:
    """The modules that hold no others, by name."""
    parts = {"": model.network, "head": model.head}
    return {
        ".".join(filter(None, (prefix, path))) or "body": layer
        for prefix, part in parts.items()
        for path, layer in part.named_modules()
        if next(layer.children(), None) is None
    }


def _cells(layer: Layer) -> tuple[str, ...]:
    numbers = (f"{number:,}" if number else "" for number in (layer.parameters, layer.multiply_adds))
    return (layer.name, layer.kind, "x".join(map(str, layer.output)), *numbers)


def _line(row: tuple[str, ...], widths: list[int]) -> str:
    words = [f"{cell:<{width}}" for cell, width in zip(row[:3], widths[:3], strict=True)]
    numbers = [f"{cell:>{width}}" for cell, width in zip(row[3:], widths[3:], strict=True)]
    return "  " + "  ".join([*words, *numbers]).rstrip()
