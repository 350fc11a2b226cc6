"""Inside a network: its first filters, what each stage makes of an image, and which channels never answer.

Looking at first filters and feature maps goes back to Zeiler and Fergus, "Visualizing and Understanding Convolutional
Networks" (2013, arXiv:1311.2901).
"""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from eyebright.core.device import Plan, choose
from eyebright.core.errors import DataError, ModelError
from eyebright.data import sheet as sheets
from eyebright.data.batches import Batches
from eyebright.data.image_set import ImageSet
from eyebright.data.progress import Progress
from eyebright.evaluation.predict import lent
from eyebright.models.classifier import Classifier, evaluating

# Layers that let a value through or hold it back; a channel without a value above 0 after one is dead.
_ACTIVATIONS = (
    nn.ReLU,
    nn.ReLU6,
    nn.LeakyReLU,
    nn.PReLU,
    nn.RReLU,
    nn.ELU,
    nn.CELU,
    nn.SELU,
    nn.GELU,
    nn.SiLU,
    nn.Mish,
    nn.Hardswish,
    nn.Threshold,
)


@dataclasses.dataclass(frozen=True, eq=False)
class Filters:
    """The first weights that pixels meet.

    Attributes
    ----------
    weights : (n, h, w, c) float32 for display: each filter by itself without its mean and scaled to its largest
        deviation, so that 0.5 is the mean and the farthest weight is 0 or 1. Its strength is lost; see `norms`.
    norms : (n,) float32, length of each filter as the model has it. A filter that is small beside the others has
        learnt nothing, however striking it looks here.
    layer : where they are, such as "body.stage1.convolution1".
    learned : whether training moves them; that of the speed record's network computes them from the images beforehand.
    """

    weights: NDArray[np.float32]
    norms: NDArray[np.float32]
    layer: str
    learned: bool = True

    def __len__(self) -> int:
        return len(self.weights)

    def __repr__(self) -> str:
        count, height, width, channels = self.weights.shape
        return f"Filters({count} of {height}x{width}x{channels} in {self.layer})"

    def picture(self, *, columns: int = 16, edge: int = 48) -> Image.Image:
        """Draw them in colour; those over channels that are no colours as one grey picture a channel, in a row."""
        pixels = (255 * self.weights).round().astype(np.uint8)  # (n, h, w, c)
        if pixels.shape[3] in {1, 3}:
            rows = [pixels[first : first + columns] for first in range(0, len(pixels), columns)]
        else:
            rows = [filter_.transpose(2, 0, 1)[..., None] for filter_ in pixels]  # (c, h, w, 1) each
        title = f"{self.layer}: {len(self)} filters"
        return sheets.draw(title, [sheets.Row(row, [""] * len(row)) for row in rows], edge)


@final
class FeatureMaps(dict[str, NDArray[np.float32]]):
    """Stage -> feature maps (C, h, w) float32 of one image, in the order of computation.

    Features without a place, such as those of a fully connected layer, have h = w = 1.
    """

    def picture(self, *, channels: int = 12, edge: int = 72) -> Image.Image:
        """Draw the `channels` strongest maps of every stage, a row each; black is the smallest value of a map.

        Stages without a place are left out.

        Raises
        ------
        DataError : there is no other.
        """
        rows = []
        for stage, maps in self.items():
            if maps.shape[1:] == (1, 1):
                continue
            strongest = np.argsort(-np.abs(maps).mean(axis=(1, 2)), kind="stable")[:channels]
            pictures = np.stack([_enlarged(maps[channel], edge) for channel in strongest])
            rows.append(sheets.Row(pictures, [str(channel) for channel in strongest], stage))
        if not rows:
            raise DataError("no stage of this model has feature maps to draw.", "Draw those of a convolutional one.")
        return sheets.draw("feature maps, the strongest channels first", rows, edge)


@dataclasses.dataclass(frozen=True, eq=False)
class LayerActivity:
    """What the channels of one layer do over many images.

    Attributes
    ----------
    layer : its path in the body.
    mean, deviation : (C,) float64, of each channel over images and pixels.
    zero_share : (C,) float64, share of its values that are exactly 0.
    dead : (C,) whether it is never active: after a ReLU or its like never above 0, elsewhere always 0.
    """

    layer: str
    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    zero_share: NDArray[np.float64]
    dead: NDArray[np.bool_]


@dataclasses.dataclass(frozen=True, eq=False)
class StageActivity:
    """What the channels of one stage of a body do over many images; each channel counts the same.

    Attributes
    ----------
    stage : its name.
    layers : its activation layers (ReLU and the like) in the order of computation; where it has none, its output.
    """

    stage: str
    layers: tuple[LayerActivity, ...]

    def __repr__(self) -> str:
        return (
            f"{self.stage}: {self.channels} channels, {self.dead} dead, mean {self.mean:.3g}, "
            f"deviation {self.deviation:.3g}, {self.zero_share:.0%} zeros"
        )

    @property
    def channels(self) -> int:
        """Channels of all its layers together."""
        return sum(len(layer.mean) for layer in self.layers)

    @property
    def dead(self) -> int:
        """How many of them are never active."""
        return sum(int(layer.dead.sum()) for layer in self.layers)

    @property
    def mean(self) -> float:
        """Mean of their means."""
        return float(np.concatenate([layer.mean for layer in self.layers]).mean())

    @property
    def deviation(self) -> float:
        """Mean of their deviations."""
        return float(np.concatenate([layer.deviation for layer in self.layers]).mean())

    @property
    def zero_share(self) -> float:
        """Mean of their shares of zeros, 0..1."""
        return float(np.concatenate([layer.zero_share for layer in self.layers]).mean())


def first_filters(model: Classifier) -> Filters:
    """The weights of the first convolution, or of the first linear layer as far as it sees whole images.

    First is what is computed first when an image goes through, be it a layer or a call of a function.

    Raises
    ------
    ModelError : the first weights are those of a linear layer on something else than the pixels, or there are none.
    """
    spec = model.spec
    image = torch.zeros(1, spec.channels, spec.height, spec.width, dtype=torch.uint8, device=model.mean.device)
    first = _FirstWeight()
    with evaluating(model), torch.no_grad(), first:
        model(image)
    pixels = spec.channels * spec.height * spec.width
    if first.weight is None or (first.weight.ndim == 2 and first.weight.shape[1] != pixels):
        raise ModelError(
            f"{model.settings.name} has no first filters: its first weights are neither a convolution's nor those of "
            "a linear layer on all pixels.",
            "Look at its feature maps instead.",
        )
    weights = first.weight.detach().float().cpu()
    if weights.ndim == 2:
        weights = weights.view(-1, spec.channels, spec.height, spec.width)
    images = weights.permute(0, 2, 3, 1).numpy()  # (n, c, h, w) -> (n, h, w, c)
    centred = images - images.mean(axis=(1, 2, 3), keepdims=True)
    largest = np.abs(centred).max(axis=(1, 2, 3), keepdims=True)
    shown = 0.5 + centred / np.where(largest > 0, 2 * largest, 1)
    norms = np.linalg.norm(images.reshape(len(images), -1), axis=1)
    learned = all(buffer is not first.weight for buffer in model.buffers())
    return Filters(shown.astype(np.float32), norms, _place(model, first.weight), learned)


def feature_maps(model: Classifier, image: NDArray[np.uint8], *, plan: Plan | None = None) -> FeatureMaps:
    """What every stage of the body makes of one image (H, W, C) uint8. The model is given back as it was.

    Stages are the named children of the body, without those that compute nothing of their own (flatten, pools). One
    that gives no single tensor is left out.

    Raises
    ------
    ModelError : the image has another size than the model's.
    """
    plan = plan or choose(precision="fp32")
    pixels = torch.tensor(image)[None].permute(0, 3, 1, 2)  # (H, W, C) -> (1, C, H, W)
    found = FeatureMaps()

    def keep(stage: str, call: int, output: Tensor) -> None:
        name = stage if call == 1 else f"{stage} (call {call})"
        found[name] = output[0].float().cpu().numpy().copy()  # (C, h, w)

    with lent(model, plan), plan.applied(), torch.inference_mode(), plan.autocast():
        _listen(model, _stages(model), pixels.to(plan.device), keep)
    return found


def activity(
    model: Classifier,
    images: ImageSet,
    *,
    batch_size: int = 250,
    plan: Plan | None = None,
    progress: Progress | None = None,
) -> tuple[StageActivity, ...]:
    """How active the channels of every stage are over `images`. The model is given back as it was.

    Parameters
    ----------
    model : on any device, in training or evaluation mode.
    images : of the model's size and channels. A channel is dead if none of them wakes it: give a thousand or more.
    batch_size : images at a time; changes speed and memory, not the result (beyond rounding).
    plan : how to compute; default: this machine's, in fp32.
    progress : called as `progress("activity validation", done, total)` in images.

    Raises
    ------
    DataError : there are no images.
    ModelError : the images have another size than the model's.
    """
    if len(images) == 0:
        raise DataError(
            f"the {images.split} split of {images.store.source} is empty.", "Give a set that holds at least one image."
        )
    plan = plan or choose(precision="fp32")
    stages = {name: _activations(name, module) or {name: module} for name, module in _stages(model).items()}
    layers = {path: layer for own in stages.values() for path, layer in own.items()}
    sums: dict[tuple[str, int], _Sums] = {}

    def add(path: str, call: int, output: Tensor) -> None:
        sums.setdefault((path, call), _Sums(isinstance(layers[path], _ACTIVATIONS))).add(output)

    batches = Batches(images, batch_size, device=plan.device, channels_last=plan.channels_last)
    done = 0
    with lent(model, plan), plan.applied(), torch.inference_mode(), plan.autocast():
        for batch in batches.epoch(0):
            _listen(model, layers, batch.images, add)
            done += len(batch)
            if progress is not None:
                progress(f"activity {images.split}", done, len(images))
    found = {
        stage: tuple(one.result(path, call) for (path, call), one in sums.items() if path in own)
        for stage, own in stages.items()
    }
    return tuple(StageActivity(stage, measured) for stage, measured in found.items() if measured)


class _FirstWeight(TorchFunctionMode):
    """Remembers the weights of the first convolution or linear map that is computed, by a layer or by a function."""

    def __init__(self) -> None:
        super().__init__()
        self.weight: Tensor | None = None

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        named = dict(kwargs or {})
        if self.weight is None and func in {F.conv2d, F.linear}:
            self.weight = args[1] if len(args) > 1 else named["weight"]
        return func(*args, **named)


def _place(model: Classifier, weight: Tensor) -> str:
    """The path of the layer that holds `weight`."""
    for name, tensor in itertools.chain(model.named_parameters(), model.named_buffers()):
        if tensor is weight:
            return name.rpartition(".")[0]
    return "weights that are computed from others"  # such as those of torch.nn.utils.parametrizations


def _stages(model: Classifier) -> dict[str, nn.Module]:
    """The parts of the body that compute something of their own, by name: they hold weights or an activation."""
    name, body = "", model.body
    while len(children := dict(body.named_children())) == 1:  # a wrapper around the network proper
        ((child, body),) = children.items()
        name = f"{name}{child}."
    parts = {f"{name}{child}": part for child, part in children.items()} or {name.rstrip(".") or "body": body}
    return {
        name: part
        for name, part in parts.items()
        if next(part.parameters(), None) is not None or _activations(name, part)
    }


def _activations(name: str, module: nn.Module) -> dict[str, nn.Module]:
    """The activation layers in a module that has this name, by their paths."""
    inner = ((f"{name}.{path}" if path else name, layer) for path, layer in module.named_modules())
    return {path: layer for path, layer in inner if isinstance(layer, _ACTIVATIONS)}


def _listen(
    model: Classifier, layers: Mapping[str, nn.Module], images: Tensor, tell: Callable[[str, int, Tensor], None]
) -> None:
    """Send images (B, C, H, W) through the model once, and tell(name, call, output (B, C, h, w)) of each layer.

    A layer that is used several times tells of each call, the first being 1.
    """
    calls: Counter[str] = Counter()

    def listener(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def listen(_module: nn.Module, _inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor) and output.ndim in _CHANNELS_FIRST:
                calls[name] += 1
                tell(name, calls[name], _CHANNELS_FIRST[output.ndim](output))

        return listen

    handles = [layer.register_forward_hook(listener(name)) for name, layer in layers.items()]
    try:
        model(images)
    finally:
        for handle in handles:
            handle.remove()


# Dimensions of an output -> how it becomes (B, C, h, w).
_CHANNELS_FIRST: Mapping[int, Callable[[Tensor], Tensor]] = {
    2: lambda output: output[:, :, None, None],  # (B, F)
    3: lambda output: output.transpose(1, 2)[..., None],  # (B, tokens, F)
    4: lambda output: output,
}


class _Sums:
    """What is kept of the values of one layer from batch to batch."""

    def __init__(self, activation: bool) -> None:
        self.activation = activation
        self.count = 0
        self.mean = self.squares = self.zeros = np.zeros(0)  # (C,) each, once there are channels
        self.active = np.zeros(0, dtype=np.bool_)

    def add(self, values: Tensor) -> None:
        """Take in values (B, C, h, w)."""
        values = values.float()
        over = (0, 2, 3)
        variance, mean = (part.double().cpu().numpy() for part in torch.var_mean(values, over, correction=0))
        zeros = (values == 0).sum(over).double().cpu().numpy()
        # Not "above": what is not a number is not dead.
        passive = values <= 0 if self.activation else values == 0
        active = (~passive).any(dim=0).flatten(1).any(dim=1).cpu().numpy()
        count = values.numel() // values.shape[1]
        if not self.count:
            self.mean, self.squares, self.zeros = (np.zeros(values.shape[1]) for _ in range(3))
            self.active = np.zeros(values.shape[1], dtype=np.bool_)
        # Chan, Golub and LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample Variances" (1979):
        # a mean of squares less the square of the mean would lose the small deviations of large values.
        total, shift = self.count + count, mean - self.mean
        self.squares = self.squares + count * variance + shift**2 * (self.count * count / total)
        self.mean = self.mean + shift * (count / total)
        self.zeros = self.zeros + zeros
        self.active = self.active | active
        self.count = total

    def result(self, path: str, call: int) -> LayerActivity:
        """The statistics of all that was added."""
        return LayerActivity(
            layer=path if call == 1 else f"{path} (call {call})",
            mean=self.mean,
            deviation=np.sqrt(self.squares / self.count),
            zero_share=self.zeros / self.count,
            dead=~self.active,
        )


def _enlarged(values: NDArray[np.float32], edge: int) -> NDArray[np.uint8]:
    """A map (h, w) as a grey picture (edge, edge, 1) from its smallest value, black, to its largest, white."""
    low, high = float(values.min()), float(values.max())
    grey = (255 * (values - low) / (high - low or 1)).round().astype(np.uint8)
    return np.asarray(Image.fromarray(grey).resize((edge, edge), Image.Resampling.NEAREST))[..., None]
