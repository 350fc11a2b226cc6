"""What this machine can do at best: multiply, convolve, move memory, decode photos. With `measure_recipe` beside it,
one sees what share of that a training reaches.
"""

from __future__ import annotations

import dataclasses
import functools
import io
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from eyebright.core.device import Plan
from eyebright.core.randomness import stream
from eyebright.data.decode import decode
from eyebright.data.progress import Progress
from eyebright.training import environment
from eyebright.training.measure.timing import Effort, Measurement, rate

MATRIX, FORWARD, BOTH = "matrix product", "convolution, forward", "convolution, forward and backward"

# Sides of square matrices, and images of a batch: an accelerator needs far more work at once than a CPU does.
_MATRIX_SIDES = {"cpu": (512, 1024, 2048)}
_ACCELERATOR_SIDES = (2048, 4096, 8192)
_BATCH = {"cpu": 128}
_ACCELERATOR_BATCH = 1024
# (channels, side) of 3x3 convolutions: the four stages of ResNet-18 on 32x32 images. All cost the same.
_CONVOLUTIONS = ((64, 32), (128, 16), (256, 8), (512, 4))
_KERNEL = 3

# Each of the two arrays that are copied: beyond the caches of nearly all processors (McCalpin 1995, "Memory Bandwidth
# and Machine Balance", asks for four times the last one), and no burden for a small machine.
COPIED_BYTES = 256 << 20

# The photo: a size at which data sets of photos are handed out; its bytes stand beside the result.
_PHOTO_HEIGHT, _PHOTO_WIDTH, _PHOTO_QUALITY = 375, 500, 90
_PHOTO_CONTRAST, _PHOTO_COLOUR = 24, 6  # standard deviations of each octave of sizes, in units of 0..255
_DECODED_AT_ONCE = 8  # photos a thread: enough to make starting the threads cheap beside them

# Twenty measurements of this length and their warm-ups take about half a minute.
_EFFORT = Effort(seconds=0.6, fewest=5)


@dataclasses.dataclass(frozen=True)
class Peak:
    """The highest speed of one kind of arithmetic.

    Attributes
    ----------
    operation : `MATRIX`, `FORWARD` or `BOTH` (a convolution, then the gradients of its input and its kernel).
    dtype : of the numbers, as torch calls it: "float32".
    shape : the one at which it was reached.
    flops_per_second : a multiplication and an addition count as two; `BOTH` does three times the work of `FORWARD`.
    """

    operation: str
    dtype: str
    shape: str
    flops_per_second: Measurement


@dataclasses.dataclass(frozen=True)
class Decoding:
    """How fast JPEG photos become pixels, from memory, as `eyebright.data.decode` does it.

    Attributes
    ----------
    height, width : of the photo, pixels.
    file_bytes : compressed.
    threads : that decode at the same time.
    images_per_second : by all of them together.
    """

    height: int
    width: int
    file_bytes: int
    threads: int
    images_per_second: Measurement

    @property
    def megapixels_per_second(self) -> Measurement:
        """The same in millions of pixels."""
        return self.images_per_second.times(self.height * self.width / 1e6)


@dataclasses.dataclass(frozen=True)
class Machine:
    """What a machine does at best under a `Plan`.

    Attributes
    ----------
    device, plan, threads : where and how it was measured; `plan` as it prints itself.
    environment : versions, processor, accelerator.
    peaks : of every operation, in float32 and in the plan's dtype.
    copied_bytes_per_second : memory that is read and memory that is written, both counted, while an array of
        `COPIED_BYTES` is copied on the device; what a cache reads before it writes is not counted.
    decoding : of photos, by the CPU.
    seconds : that all of this took.
    """

    device: str
    plan: str
    threads: int
    environment: dict[str, str]
    peaks: tuple[Peak, ...]
    copied_bytes_per_second: Measurement
    decoding: Decoding
    seconds: float

    def peak(self, operation: str, dtype: str) -> Peak:
        """The peak of `operation` in `dtype`, one of those that were measured."""
        return next(peak for peak in self.peaks if (peak.operation, peak.dtype) == (operation, dtype))


def measure_machine(plan: Plan, *, effort: Effort = _EFFORT, progress: Progress | None = None) -> Machine:
    """Measure the machine under `plan`: its device, layout, threads, allocator and determinism.

    Parameters
    ----------
    plan : how to compute.
    effort : for each shape of each operation.
    progress : told what is being measured, and how much was; default: silence.
    """
    begun = time.perf_counter()
    dtypes = tuple(dict.fromkeys((torch.float32, plan.dtype)))
    peaks: list[Peak] = []
    total = len(dtypes) * len(_CASES) + 2

    def tell(what: str, done: int) -> None:
        if progress is not None:
            progress(what, done, total)

    for dtype in dtypes:
        with dataclasses.replace(plan, dtype=dtype).applied():
            for operation in _CASES:
                tell(f"{operation}, {dtype_name(dtype)}", len(peaks))
                peaks.append(_peak(operation, dtype, plan, effort))
    with plan.applied():
        tell("copy of memory", total - 2)
        copied = _copied(plan, effort)
        tell("JPEG decoding", total - 1)
        decoding = _decoding(plan, effort)
    return Machine(
        device=str(plan.device),
        plan=str(plan),
        threads=plan.threads,
        environment=environment.describe(plan),
        peaks=tuple(peaks),
        copied_bytes_per_second=copied,
        decoding=decoding,
        seconds=time.perf_counter() - begun,
    )


def dtype_name(dtype: torch.dtype) -> str:
    """As torch calls it, without "torch."."""
    return str(dtype).removeprefix("torch.")


@dataclasses.dataclass(frozen=True)
class _Case:
    """One shape of an operation."""

    shape: str
    flops: float
    step: Callable[[], object]


def _peak(operation: str, dtype: torch.dtype, plan: Plan, effort: Effort) -> Peak:
    """The fastest of the operation's shapes."""
    found = (
        Peak(operation, dtype_name(dtype), case.shape, rate(case.step, case.flops, plan.device, effort))
        for case in _CASES[operation](plan, dtype)
    )
    return max(found, key=lambda peak: peak.flops_per_second.median)


def _matrices(plan: Plan, dtype: torch.dtype) -> Iterator[_Case]:
    for side in _MATRIX_SIDES.get(plan.device.type, _ACCELERATOR_SIDES):
        a, b = (_noise((side, side), plan, dtype, seed) for seed in range(2))
        yield _Case(f"{side}x{side} by {side}x{side}", 2 * side**3, functools.partial(torch.mm, a, b))


def _forward(plan: Plan, dtype: torch.dtype) -> Iterator[_Case]:
    for shape, flops, images, kernel in _convolutions(plan, dtype):
        yield _Case(shape, flops, functools.partial(F.conv2d, images, kernel, padding=_KERNEL // 2))


def _forward_and_backward(plan: Plan, dtype: torch.dtype) -> Iterator[_Case]:
    for shape, flops, images, kernel in _convolutions(plan, dtype):
        step = functools.partial(_convolve_and_differentiate, images.requires_grad_(), kernel.requires_grad_(), images)
        yield _Case(shape, 3 * flops, step)


def _convolve_and_differentiate(images: Tensor, kernel: Tensor, gradient: Tensor) -> None:
    """`gradient` is that of the output, which has the shape of the input."""
    output = F.conv2d(images, kernel, padding=_KERNEL // 2)
    torch.autograd.grad(output, (images, kernel), gradient.detach())


def _convolutions(plan: Plan, dtype: torch.dtype) -> Iterator[tuple[str, float, Tensor, Tensor]]:
    """Shape, forward FLOPs, images (B, C, S, S) and kernels (C, C, 3, 3)."""
    batch = _BATCH.get(plan.device.type, _ACCELERATOR_BATCH)
    for channels, side in _CONVOLUTIONS:
        images = _noise((batch, channels, side, side), plan, dtype, 0).contiguous(memory_format=plan.memory_format)
        kernel = _noise((channels, channels, _KERNEL, _KERNEL), plan, dtype, 1)
        flops = 2 * batch * side**2 * channels**2 * _KERNEL**2
        shape = f"{batch} images {side}x{side}, {channels} to {channels} channels, {_KERNEL}x{_KERNEL}"
        yield shape, flops, images, kernel.contiguous(memory_format=plan.memory_format)


_CASES: dict[str, Callable[[Plan, torch.dtype], Iterator[_Case]]] = {
    MATRIX: _matrices,
    FORWARD: _forward,
    BOTH: _forward_and_backward,
}


def _noise(shape: tuple[int, ...], plan: Plan, dtype: torch.dtype, seed: int) -> Tensor:
    """Normal numbers: what is multiplied decides how much current a chip draws, and so how fast it may run."""
    generator = torch.Generator().manual_seed(seed)  # its own: the global random state stays as it is
    return torch.randn(shape, generator=generator).to(plan.device, dtype)


def _copied(plan: Plan, effort: Effort) -> Measurement:
    """Bytes/s, read and written."""
    source = torch.ones(COPIED_BYTES // 4, dtype=torch.float32, device=plan.device)
    target = torch.empty_like(source)
    return rate(functools.partial(target.copy_, source), 2 * COPIED_BYTES, plan.device, effort)


def _decoding(plan: Plan, effort: Effort) -> Decoding:
    photo = _photo()
    photos = plan.threads * _DECODED_AT_ONCE
    with ThreadPoolExecutor(plan.threads, thread_name_prefix="decode") as pool:

        def step() -> None:
            for _ in pool.map(functools.partial(decode, channels=3), [photo] * photos):
                pass

        speed = rate(step, photos, torch.device("cpu"), effort)
    return Decoding(_PHOTO_HEIGHT, _PHOTO_WIDTH, len(photo), plan.threads, speed)


def _photo() -> bytes:
    """A JPEG file that is about as hard to decode as a photo.

    Its amplitude falls as 1 / frequency, as in natural images (Field 1987), so that structures of every octave of
    sizes have the same contrast.
    """
    random = stream("photo", 0)
    pixels = np.full((_PHOTO_HEIGHT, _PHOTO_WIDTH, 3), 128.0)  # (H, W, C)
    for size in (2, 4, 8, 16, 32, 64, 128):
        rows, columns = -(-_PHOTO_HEIGHT // size), -(-_PHOTO_WIDTH // size)
        light = random.normal(0, _PHOTO_CONTRAST, (rows, columns, 1))
        coarse = (light + random.normal(0, _PHOTO_COLOUR, (rows, columns, 3))).astype(np.float32)
        for channel in range(3):
            plane = Image.fromarray(coarse[..., channel])
            pixels[..., channel] += plane.resize((_PHOTO_WIDTH, _PHOTO_HEIGHT), Image.Resampling.BICUBIC)
    file = io.BytesIO()
    Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8)).save(file, "JPEG", quality=_PHOTO_QUALITY)
    return file.getvalue()
