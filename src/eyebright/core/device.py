"""What this machine computes best, chosen once and said aloud: device, precision, layout, threads, allocator.

Measured on two x86 cores with AVX512-bf16 (batch 512, three-block CNN on 32x32 images): fp32 506 images/s,
bf16 with channels_last 1,450, and 2,440 once the allocator keeps its pages.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import platform
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from eyebright.core.errors import DeviceError
from eyebright.core.processor import available_threads
from eyebright.core.settings.training import Precision

# glibc's mallopt parameters (malloc.h). By default it returns each freed activation to the kernel, which
# zeroes the pages again at the next step; large thresholds keep them.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3
_KEEP_BYTES = 2**31 - 1  # the largest value that an int parameter holds
_MMAP_BYTES = 1 << 30  # blocks below this come from the heap
_PAD_BYTES = 64 << 20  # grow the heap in steps of this size
# What is given back. Setting a threshold ends glibc's own adjustment for good, so its initial 128 KiB would leave the
# process slower than it was found; these are the values to which the adjustment rises (mallopt(3), 64-bit).
_GROWN_MMAP_BYTES, _GROWN_TRIM_BYTES, _DEFAULT_PAD_BYTES = 32 << 20, 64 << 20, 128 << 10


@dataclasses.dataclass(frozen=True)
class Plan:
    """How to compute on this machine.

    Attributes
    ----------
    device : where tensors live.
    dtype : of convolutions and matrix products; weights stay float32.
    channels_last : whether images and activations are stored (B, H, W, C).
    threads : of the CPU.
    keep_pages : whether the C allocator is told to keep freed memory.
    deterministic : whether algorithms that give other bits at each call are refused.
    """

    device: torch.device
    dtype: torch.dtype
    channels_last: bool
    threads: int
    keep_pages: bool
    deterministic: bool = True

    def __str__(self) -> str:
        names = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}
        layout = "channels_last" if self.channels_last else "contiguous"
        threads = f"{self.threads} thread{'s' if self.threads > 1 else ''}"
        return f"{self.device}, {names[self.dtype]}, {layout}, {threads}"

    @property
    def memory_format(self) -> torch.memory_format:
        """The layout of images (B, C, H, W)."""
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def place(self, module: nn.Module) -> nn.Module:
        """Move `module` to the device and its convolutions to the layout, in place."""
        # nn.Module.to takes memory_format, which torch's type stubs do not know.
        return module.to(device=self.device, memory_format=self.memory_format)  # type: ignore[call-overload, no-any-return]

    def autocast(self) -> torch.autocast:
        """Context in which convolutions and matrix products run in `dtype`."""
        return torch.autocast(self.device.type, dtype=self.dtype, enabled=self.dtype != torch.float32)

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Set threads, allocator and determinism for a while, then give them back."""
        threads = torch.get_num_threads()
        deterministic = torch.are_deterministic_algorithms_enabled()
        warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
        torch.set_num_threads(self.threads)
        torch.use_deterministic_algorithms(self.deterministic or deterministic)
        filling: Any = torch.utils.deterministic  # its one property is unknown to torch's type stubs
        fill = filling.fill_uninitialized_memory
        filling.fill_uninitialized_memory = False  # costs a pass over every new tensor
        tf32 = torch.backends.cudnn.allow_tf32
        if self.dtype == torch.float32:
            torch.backends.cudnn.allow_tf32 = False  # "fp32" is what is exported; TF32 rounds to 10 bits
        try:
            with _kept_pages() if self.keep_pages else contextlib.nullcontext():
                yield
        finally:
            torch.backends.cudnn.allow_tf32 = tf32
            filling.fill_uninitialized_memory = fill
            torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
            torch.set_num_threads(threads)


def choose(
    device: str = "auto",
    precision: Precision = "auto",
    threads: int | None = None,
    deterministic: bool = True,
) -> Plan:
    """The plan for this machine, within what the caller demands.

    Raises
    ------
    DeviceError : the device does not exist here, or cannot compute in the precision.
    """
    where = _device(device)
    return Plan(
        device=where,
        dtype=_dtype(where, precision),
        channels_last=where.type in {"cpu", "cuda"},
        threads=threads or available_threads(),
        keep_pages=where.type == "cpu" and platform.libc_ver()[0] == "glibc",
        deterministic=deterministic,
    )


def _device(name: str) -> torch.device:
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise DeviceError(f"{name!r} is not a device.", "Use auto, cpu, cuda, cuda:1 or mps.") from error
    present = {
        "cpu": 1,
        "cuda": torch.cuda.device_count() if torch.cuda.is_available() else 0,
        "mps": int(torch.backends.mps.is_available()),
    }
    if (device.index or 0) >= present.get(device.type, 0):
        raise DeviceError(f"this machine has no device {name!r}.", "Use training.device=auto.")
    return device


def _dtype(device: torch.device, precision: Precision) -> torch.dtype:
    if precision == "auto":
        return torch.bfloat16 if computes_bfloat16(device) else torch.float32
    if precision == "fp16" and device.type != "cuda":
        raise DeviceError(f"fp16 does not train on {device.type}.", "Use training.precision=auto.")
    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]


def computes_bfloat16(device: torch.device) -> bool:
    """Whether the device has bfloat16 instructions (CPUs: AVX512-bf16 or AMX); elsewhere bf16 is emulated and slow."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


_keepers = 0  # contexts that keep pages at the moment; the allocator has one setting for the whole process


@contextlib.contextmanager
def _kept_pages() -> Iterator[None]:
    """Have the C allocator keep freed memory; contexts may nest, the outermost one gives back."""
    global _keepers  # noqa: PLW0603 (see above)
    if _keepers == 0:
        _mallopt(mmap=_MMAP_BYTES, trim=_KEEP_BYTES, pad=_PAD_BYTES)
    _keepers += 1
    try:
        yield
    finally:
        _keepers -= 1
        if _keepers == 0:
            _mallopt(mmap=_GROWN_MMAP_BYTES, trim=_GROWN_TRIM_BYTES, pad=_DEFAULT_PAD_BYTES)


def _mallopt(*, mmap: int, trim: int, pad: int) -> None:
    libc = ctypes.CDLL(None)
    for parameter, value in ((_M_MMAP_THRESHOLD, mmap), (_M_TRIM_THRESHOLD, trim), (_M_TOP_PAD, pad)):
        libc.mallopt(ctypes.c_int(parameter), ctypes.c_int(value))
