"""Layers whose output is a map of the image, found by sending images through and looking at the shapes.

A convolution gives (B, C, h, w), a Swin-like body (B, h, w, C), a transformer tokens (B, T, C): those of the grid,
after a class token and registers where it has them. Which of it a layer gives, no layer says; but a map keeps the
proportions of the image, and on its way through the network it never grows, by which matrices of attention
(B, heads, T, T) are told apart.

Two experiments with two images tell which layers are worth a map, whatever the network computes between:
a layer is *live* if the logits change when the images exchange their maps there (the last block of a transformer with
a class token is not: only that token is read); it *carries* the image if the logits change places when the images
exchange the layer's whole output, so that nothing goes around it (a layer beside a shortcut does not).
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eyebright.core.errors import ModelError, nearest
from eyebright.core.randomness import stream
from eyebright.insight.subject import Subject, hooked

# Class token and registers: DINOv2 has 1 + 4.
_MOST_PREFIX = 8
# By which the two sides of a map may shrink unequally: convolutions without padding take the same from both.
_MOST_DISTORTION = 2.0
_RESOLUTIONS = 3  # whose layers are compared: beyond the last three, maps show edges rather than what they belong to
# Shares of the way from the logits of one image to those of the other; rounding is far below the first.
_LIVE, _CARRIED = 1e-3, 1e-2


@final
@dataclasses.dataclass(frozen=True)
class Layout:
    """How an output is a map (B, C, height, width).

    Attributes
    ----------
    height, width : of the map.
    channels_first : (B, C, height, width), else (B, height, width, C) or tokens (B, prefix + height * width, C).
    prefix : tokens before those of the map.
    """

    height: int
    width: int
    channels_first: bool
    prefix: int = 0

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.height, self.width

    def to_map(self, output: Tensor) -> Tensor:
        """The map (B, C, height, width) in a layer's output."""
        if self.channels_first:
            return output
        tokens = output.flatten(1, -2)[:, self.prefix :]  # (B, height * width, C)
        return tokens.transpose(1, 2).reshape(len(output), -1, self.height, self.width)

    def put(self, output: Tensor, changed: Tensor) -> Tensor:
        """`output` with the map `changed` (B, C, height, width) in place of its own."""
        if self.channels_first:
            return changed
        tokens = output.flatten(1, -2)  # (B, T, C)
        return torch.cat([tokens[:, : self.prefix], changed.flatten(2).transpose(1, 2)], dim=1).view_as(output)


@final
@dataclasses.dataclass(frozen=True)
class Layer:
    """A layer whose output is a map.

    Attributes
    ----------
    name : as `named_modules` of the classifier names it.
    layout : of its output.
    """

    name: str
    layout: Layout

    def __str__(self) -> str:
        return f"{self.name} ({self.layout.height}x{self.layout.width})"


def spatial_layers(subject: Subject) -> tuple[Layer, ...]:
    """Every layer that runs once and gives a map of more than one pixel a side, in the order in which they end."""
    runs: dict[str, list[_Output]] = {}

    def recorder(name: str) -> Callable[[nn.Module, object, object], None]:
        def record(_module: nn.Module, _inputs: object, output: object) -> None:
            runs[name] = [*runs.pop(name, []), _Output.of(output)]  # at the end: where its last run ends

        return record

    x = _probe(subject)
    with contextlib.ExitStack() as hooks:
        for name, module in subject.model.named_modules():
            if name:
                hooks.enter_context(hooked(module, recorder(name)))
        subject.logits(x)
    return tuple(_read(runs, (x.shape[2], x.shape[3])))


def find(subject: Subject, name: str) -> Layer:
    """The layer called `name`.

    Raises
    ------
    ModelError : there is none of that name whose output is a map.
    """
    layers = {layer.name: layer for layer in spatial_layers(subject)}
    if not layers:
        raise no_layers(subject)
    if name not in layers:
        raise ModelError(
            f"the model has no layer {name!r} that runs once and whose output is a map of the image.",
            nearest(name, layers),
        )
    return layers[name]


def candidates(subject: Subject) -> tuple[Layer, ...]:
    """The layers of the last resolutions at which maps are worth computing, the last layer first.

    Of each resolution the last live layer that carries the image, and the live one that follows it, if any: the
    normalisation that the last block of a transformer reads its tokens through. Where no layer carries the image, the
    last live one.

    Raises
    ------
    ModelError : no output of the model is a map, or none that is has a part in the logits.
    """
    layers = spatial_layers(subject)
    if not layers:
        raise no_layers(subject)
    x = _probe(subject)
    resolutions = itertools.groupby(reversed(layers), key=lambda layer: layer.layout.size)
    best = (_best(subject, x, same) for _, same in resolutions)
    found = tuple(itertools.chain.from_iterable(itertools.islice(filter(None, best), _RESOLUTIONS)))
    if not found:
        raise ModelError(
            f"the logits depend on none of the maps that the {len(layers)} spatial layers of the model give.",
            "Train the model first; or use the method integrated_gradients or occlusion, which need no layer.",
        )
    return found


def no_layers(subject: Subject) -> ModelError:
    """What to say of a model without any map inside."""
    return ModelError(
        f"no layer of the {subject.model.settings.name} model gives a map of the image, as class-activation maps need.",
        "Use the method integrated_gradients or occlusion, which look at the input and work for any model.",
    )


def changed_map(subject: Subject, x: Tensor, layer: Layer, change: Callable[[Tensor], Tensor]) -> Tensor:
    """Logits (B, K) after `change` has been made to the map (B, C, h, w) that the layer gives for x (B, C, H, W)."""
    layout = layer.layout
    return _changed(subject, x, layer, lambda output: layout.put(output, change(layout.to_map(output))))


def _changed(subject: Subject, x: Tensor, layer: Layer, change: Callable[[Tensor], Tensor]) -> Tensor:
    with hooked(subject.model.get_submodule(layer.name), lambda _module, _inputs, output: change(output)):
        return subject.logits(x)


def _best(subject: Subject, x: Tensor, layers: Iterable[Layer]) -> list[Layer]:
    """Of layers of one resolution, the last first, those to try; `x` are two images (2, C, H, W)."""
    plain = subject.logits(x)  # (2, K)
    other = _exchange(plain)
    apart = float((plain - other).norm())
    live: list[Layer] = []
    for layer in layers:
        if float((changed_map(subject, x, layer, _exchange) - plain).norm()) <= _LIVE * apart:
            continue
        live.append(layer)
        if float((_changed(subject, x, layer, _exchange) - other).norm()) <= _CARRIED * apart:
            return live[-2:]
    return live[:1]


def _exchange(values: Tensor) -> Tensor:
    """(2, ...) with the two changing places."""
    return values.flip(0)


def _probe(subject: Subject) -> Tensor:
    """Two normalised images (2, C, H, W) of large random patches, unlike each other and the same at each call."""
    spec = subject.model.spec
    patches = stream("probe images", 0).uniform(0, 255, (2, spec.channels, 4, 4))
    images = F.interpolate(torch.from_numpy(patches).float(), (spec.height, spec.width), mode="bilinear")
    return subject.model.normalise(images.to(subject.plan.device))


@final
@dataclasses.dataclass(frozen=True)
class _Output:
    """What of an output tells how it is a map.

    Attributes
    ----------
    shape : of it; () where it is no tensor.
    channels_last : whether neighbours differ more along the last side than along the first after the batch, for
        outputs whose three sides are equal. The probe images are smooth, so maps are, and channels are not.
    """

    shape: tuple[int, ...]
    channels_last: bool = False

    @classmethod
    def of(cls, output: object) -> _Output:
        if not isinstance(output, Tensor):
            return cls(())
        shape = tuple(output.shape)
        if len(shape) != 4 or len(set(shape[1:])) > 1:
            return cls(shape)
        first, last = (float(output.detach().float().diff(dim=side).norm()) for side in (1, 3))
        return cls(shape, last > first)


def _read(runs: Mapping[str, Sequence[_Output]], image: tuple[int, int]) -> Iterator[Layer]:
    """The layers among `runs` (name -> its outputs) that give a map, each no larger than the one before."""
    largest = image
    for name, outputs in runs.items():
        layout = _layout(outputs[0], image, largest) if len(outputs) == 1 else None
        if layout is not None:
            largest = layout.size
            yield Layer(name, layout)


def _layout(output: _Output, image: tuple[int, int], largest: tuple[int, int]) -> Layout | None:
    """How an output for two images is a map; None where it is none."""
    shape = output.shape
    if len(shape) not in {3, 4} or shape[0] != 2:
        return None
    if len(shape) == 3:
        return _token_layout(shape[1], image, largest)
    _, first, second, third = shape
    readings = [Layout(second, third, channels_first=True), Layout(first, second, channels_first=False)]
    if output.channels_last:
        readings.reverse()
    fitting = [
        layout
        for layout in readings
        if _fits(layout.size, largest) and _distortion(layout.size, image) <= _MOST_DISTORTION
    ]
    return min(fitting, key=lambda layout: _distortion(layout.size, image), default=None)


def _token_layout(tokens: int, image: tuple[int, int], largest: tuple[int, int]) -> Layout | None:
    """Tokens are those of the map before, else of the image cut into square patches, with the smallest prefix."""
    height, width = image
    cut = [
        size
        for edge in range(1, min(image) + 1)
        for size in ((height // edge, width // edge), (-(-height // edge), -(-width // edge)))
    ]
    for sizes in ([largest], cut):
        prefixes = {size: tokens - size[0] * size[1] for size in sizes if _fits(size, largest)}
        possible = {size: prefix for size, prefix in prefixes.items() if 0 <= prefix <= _MOST_PREFIX}
        if possible:
            size = min(possible, key=lambda size: possible[size])
            return Layout(*size, channels_first=False, prefix=possible[size])
    return None


def _fits(size: tuple[int, int], largest: tuple[int, int]) -> bool:
    return 1 < size[0] <= largest[0] and 1 < size[1] <= largest[1]


def _distortion(size: tuple[int, int], image: tuple[int, int]) -> float:
    """By which factor the map has shrunk more in one direction than in the other."""
    scales = size[0] / image[0], size[1] / image[1]
    return max(scales) / min(scales)
