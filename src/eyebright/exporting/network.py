"""What is traced: `Resize`, which brings images to the model's size, and `Shipped`, which answers about them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import PIL
import torch
from torch import Tensor, nn

from eyebright.core.input_spec import Interpolation
from eyebright.data.decode import Target
from eyebright.models.classifier import Classifier, evaluating

# An axis of an image: where the part that is used begins and ends, in pixels of the image, and where on the canvas it
# comes to lie. 0-d float64 tensors, so that they may depend on the size of the image.
Axis = tuple[Tensor, Tensor, Tensor, Tensor]  # begin, end, offset, length


# From version 13 on Pillow resizes the height first where that leaves less to do; measured, as it says nowhere when.
_PILLOW_CHOOSES_THE_ORDER = int(PIL.__version__.partition(".")[0]) >= 13
_STEPS = 2.0**22  # of a weight of 1
_LARGEST = 1 << 16  # images, and pixels of a side: a bound that tracers want to know


class Resize(nn.Module):
    """What `eyebright.data.decode.fit` does by Pillow, for any size, as two matrix products that any runtime has.

    Along an axis each pixel that comes out is a weighted mean of pixels that go in. The weights in steps of 2^-22, the
    order of the axes and the rounding to whole values after each are those of the Pillow that is installed, so that the
    pixels are the same bit for bit; products and sums are exact in float64. ONNX has a Resize of its own; it knows no
    Lanczos, rounds once, and not every runtime antialiases.

    Parameters
    ----------
    target : the wanted size, and how.
    """

    def __init__(self, target: Target) -> None:
        super().__init__()
        self.target = target

    def forward(self, images: Tensor) -> Tensor:
        """(N, H, W, C) to (N, height, width, C), uint8 both. Images that have the size already stay as they are."""
        fits = (_length(images.shape[1]) == self.target.height) & (_length(images.shape[2]) == self.target.width)
        return _choose(fits, self._as_they_are, self._resized, images)

    @property
    def example(self) -> Tensor:
        """Images to trace with. Their sides differ from those of the model: equal ones would be taken to be fixed."""
        return torch.zeros(2, self.target.height + 3, self.target.width + 5, self.target.channels, dtype=torch.uint8)

    @property
    def free(self) -> dict[int, torch.export.Dim]:
        """The dimensions of the images that may have any length."""
        return {axis: torch.export.Dim(name, min=1, max=_LARGEST) for axis, name in enumerate(("N", "H", "W"))}

    def _as_they_are(self, images: Tensor) -> Tensor:
        # Selecting all rows and columns tells the tracer how many there are.
        rows, columns = torch.arange(self.target.height), torch.arange(self.target.width)
        return images.index_select(1, rows).index_select(2, columns)

    def _resized(self, images: Tensor) -> Tensor:
        target, (rows, columns) = self.target, images.shape[1:3]
        vertical, horizontal = _PLACES[target.resize](_length(rows), _length(columns), target.height, target.width)
        across = _weights(columns, target.width, horizontal, target.interpolation).T  # (W, width)
        down = _weights(rows, target.height, vertical, target.interpolation)  # (height, H)
        pixels = images.permute(0, 3, 1, 2).double().contiguous()  # (N, C, H, W)
        if _PILLOW_CHOOSES_THE_ORDER:
            fewer_rows, fewer_columns = _length(rows) - vertical[3], _length(columns) - horizontal[3]
            height_first = fewer_rows > 2 * fewer_columns.clamp(min=0)
            pixels = _choose(height_first, _height_first, _width_first, pixels, across, down)
        else:
            pixels = _width_first(pixels, across, down)
        # Not contiguous(), which leaves grey images as they are; both branches must have the same strides.
        return pixels.permute(0, 2, 3, 1).to(torch.uint8).clone(memory_format=torch.contiguous_format)


def _choose(
    condition: Tensor, if_true: Callable[..., Tensor], if_false: Callable[..., Tensor], *operands: Tensor
) -> Tensor:
    """`torch.cond` for tracers, which keeps both branches. Outside of them that would compile for each new size."""
    if torch.compiler.is_exporting():
        chosen: Tensor = torch.cond(condition, if_true, if_false, operands)
        return chosen
    return (if_true if bool(condition) else if_false)(*operands)


def _width_first(images: Tensor, across: Tensor, down: Tensor) -> Tensor:
    return _whole(down @ _whole(images @ across))


def _height_first(images: Tensor, across: Tensor, down: Tensor) -> Tensor:
    return _whole(_whole(down @ images) @ across)


def _length(size: int) -> Tensor:
    return torch.full((), size, dtype=torch.float64)


def _whole(values: Tensor) -> Tensor:
    return torch.floor(values + 0.5).clamp(0, 255)


def _crop(rows: Tensor, columns: Tensor, height: int, width: int) -> tuple[Axis, Axis]:
    scale = torch.maximum(width / columns, height / rows)
    return _middle(rows, height, scale), _middle(columns, width, scale)


def _middle(length: Tensor, wanted: int, scale: Tensor) -> Axis:
    margin = (length - wanted / scale) / 2
    begin, end = margin.clamp(min=0), torch.minimum(length - margin, length)
    single = torch.float32  # Pillow takes the box in it
    return begin.to(single).double(), end.to(single).double(), torch.zeros_like(length), torch.full_like(length, wanted)


def _squash(rows: Tensor, columns: Tensor, height: int, width: int) -> tuple[Axis, Axis]:
    none = torch.zeros_like(rows)
    return (none, rows, none, torch.full_like(rows, height)), (none, columns, none, torch.full_like(rows, width))


def _pad(rows: Tensor, columns: Tensor, height: int, width: int) -> tuple[Axis, Axis]:
    scale = torch.minimum(width / columns, height / rows)
    return _centred(rows, height, scale), _centred(columns, width, scale)


def _centred(length: Tensor, wanted: int, scale: Tensor) -> Axis:
    inner = torch.round(length * scale).clamp(min=1)
    return torch.zeros_like(length), length, torch.floor((wanted - inner) / 2), inner


_PLACES: dict[str, Callable[[Tensor, Tensor, int, int], tuple[Axis, Axis]]] = {
    "crop": _crop,
    "squash": _squash,
    "pad": _pad,
}


def _weights(size: int, wanted: int, axis: Axis, interpolation: Interpolation) -> Tensor:
    """(wanted, size) float64: the share of each pixel that goes in, in each that comes out; none outside of `axis`."""
    begin, end, offset, length = axis
    place = torch.arange(wanted, dtype=torch.float64) - offset  # (wanted,)
    step = (end - begin).float().double() / length  # pixels that go in for one that comes out
    centre = (begin + (place + 0.5) * step)[:, None]  # (wanted, 1)
    pixel = torch.arange(size, dtype=torch.float64)  # (size,)
    if interpolation == "nearest":
        # Pillow goes from pixel to pixel by steps that it adds up, and so rounds otherwise than a product.
        first = torch.where(place == 0, begin + 0.5 * step, torch.zeros_like(place))
        stepped = torch.cumsum(torch.where(place > 0, step, first), dim=0)[:, None]  # (wanted, 1)
        weights = (torch.floor(stepped) == pixel).double()
    else:
        distance = (pixel + 0.5 - centre) / step.clamp(min=1)  # a wider filter where the image shrinks: it antialiases
        weights = _FILTERS[interpolation](distance.abs())
        steps = weights / weights.sum(dim=1, keepdim=True) * _STEPS
        weights = torch.sign(steps) * torch.floor(steps.abs() + 0.5) / _STEPS
    inside = (place >= 0) & (place < length)
    return torch.where(inside[:, None], weights, torch.zeros_like(weights))


def _triangle(x: Tensor) -> Tensor:
    return (1 - x).clamp(min=0)


def _cubic(x: Tensor) -> Tensor:
    """Keys 1981, with a = -0.5."""
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return torch.where(x < 1, near, torch.where(x < 2, far, torch.zeros_like(x)))


def _lanczos(x: Tensor) -> Tensor:
    """Three lobes."""
    return torch.where(x < 3, _sinc(x) * _sinc(x / 3), torch.zeros_like(x))


def _sinc(x: Tensor) -> Tensor:
    angle = torch.pi * x
    return torch.where(x == 0, torch.ones_like(x), torch.sin(angle) / torch.where(x == 0, torch.ones_like(x), angle))


_FILTERS: dict[str, Callable[[Tensor], Tensor]] = {"bilinear": _triangle, "bicubic": _cubic, "lanczos": _lanczos}


class Shipped(nn.Module):
    """From images of the model's size to everything that a bundle answers.

    Parameters
    ----------
    model : in evaluation mode.
    temperature : divides the logits before the softmax.
    evidence : name of the submodule of the body whose output is averaged over its pixels to the features, see
        `averaged_map`; None where there is none.
    """

    def __init__(self, model: Classifier, temperature: float, evidence: str | None) -> None:
        super().__init__()
        self.model = model
        self.temperature = temperature
        self.evidence = evidence

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(N, h, w, C) uint8 to logits and probabilities (N, K), embedding (N, F), perhaps evidence (N, K, h', w')."""
        with _outputs(self.model.body, self.evidence) as maps:
            features = self.model.features(images.permute(0, 3, 1, 2))  # (N, F)
        logits: Tensor = self.model.head(features).float()
        outputs = (logits, torch.softmax(logits / self.temperature, dim=1), features.float())
        if not maps:
            return outputs
        weight: Any = self.model.head.weight  # (K, F); `averaged_map` has seen that the head is linear
        return (*outputs, nn.functional.conv2d(maps[0].float(), weight[:, :, None, None]))

    @property
    def example(self) -> Tensor:
        """Images to trace with."""
        spec = self.model.spec
        return torch.zeros(2, spec.height, spec.width, spec.channels, dtype=torch.uint8)

    @property
    def free(self) -> dict[int, torch.export.Dim]:
        """The dimension of the images that may have any length: their number."""
        return {0: torch.export.Dim("N", min=1, max=_LARGEST)}


def averaged_map(model: Classifier) -> str | None:
    """The submodule of the body whose output (B, F, h, w) the features (B, F) are the mean of, if the head is linear.

    There the class-activation map of Zhou et al. (2016, arXiv:1512.04150) is exact: the logit is the mean of the map,
    but for the bias. Found by trying, so that bodies need no common shape.
    """
    if not isinstance(model.head, nn.Linear):
        return None
    spec = model.spec
    noise = torch.randint(
        0, 256, (2, spec.channels, spec.height, spec.width), generator=torch.Generator().manual_seed(0)
    )
    found: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[..., None]:
        return lambda _module, _inputs, output: found.__setitem__(name, output)

    handles = [module.register_forward_hook(keep(name)) for name, module in model.body.named_modules()]
    try:
        with evaluating(model), torch.no_grad():
            features = model.features(noise)
    finally:
        for handle in handles:
            handle.remove()
    averaged = [name for name, output in found.items() if _is_mean(features, output)]
    return averaged[-1] if averaged else None


def _is_mean(features: Tensor, output: object) -> bool:
    if not isinstance(output, Tensor) or output.ndim != 4 or output.shape[1] != features.shape[1]:
        return False
    several = output.shape[2] * output.shape[3] > 1
    return several and bool(features.any()) and torch.allclose(output.mean(dim=(2, 3)), features, rtol=1e-4, atol=1e-6)


@contextlib.contextmanager
def _outputs(body: nn.Module, name: str | None) -> Iterator[list[Tensor]]:
    """What the submodule `name` gives, once the body has run; nothing where there is no name."""
    kept: list[Tensor] = []
    if name is None:
        yield kept
        return
    handle = body.get_submodule(name).register_forward_hook(lambda _module, _inputs, output: kept.append(output))
    try:
        yield kept
    finally:
        handle.remove()
