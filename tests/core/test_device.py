"""The plan for this machine: what it computes, and that it gives back what it borrows."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest
import torch

from eyebright.core import device
from eyebright.core.errors import DeviceError
from eyebright.core.settings.training import Precision


def test_a_plan_says_what_it_does() -> None:
    plan = device.choose("cpu", "fp32", threads=1)
    assert str(plan) == "cpu, fp32, channels_last, 1 thread"
    assert plan.dtype == torch.float32


def test_auto_takes_bf16_only_where_the_processor_computes_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for able, dtype in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(device, "computes_bfloat16", lambda _device, able=able: able)
        assert device.choose("cpu").dtype == dtype


def test_threads_and_determinism_are_given_back() -> None:
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    with device.choose("cpu", threads=before[0] + 1).applied():
        assert torch.get_num_threads() == before[0] + 1
        assert torch.are_deterministic_algorithms_enabled()
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == before


def test_they_are_given_back_after_an_error_too() -> None:
    before = torch.get_num_threads()
    with pytest.raises(ZeroDivisionError), device.choose("cpu", threads=before + 1).applied():
        raise ZeroDivisionError
    assert torch.get_num_threads() == before


def test_autocast_computes_in_the_precision() -> None:
    linear, x = torch.nn.Linear(4, 4), torch.zeros(1, 4)
    with device.choose("cpu", "bf16").autocast():
        assert linear(x).dtype == torch.bfloat16
    with device.choose("cpu", "fp32").autocast():
        assert linear(x).dtype == torch.float32


@pytest.mark.parametrize(
    ("name", "precision", "message"),
    [("cpu:7", "auto", "no device"), ("toaster", "auto", "not a device"), ("cpu", "fp16", "fp16 does not train")],
)
def test_what_is_not_there_is_refused(name: str, precision: Precision, message: str) -> None:
    with pytest.raises(DeviceError, match=message):
        device.choose(name, precision)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_missing_gpu_is_refused() -> None:
    with pytest.raises(DeviceError, match="no device 'cuda'"):
        device.choose("cuda")


@pytest.mark.skipif(not device.choose("cpu").keep_pages, reason="needs glibc")
def test_the_process_is_as_fast_after_a_plan_as_before() -> None:
    """Page faults of large arrays: giving back glibc's initial thresholds would cost a thousand a megabyte."""
    code = (
        "import resource, numpy as np\n"
        "from eyebright.core import device\n"
        "def faults():\n"
        "    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "    for _ in range(100): np.ones(1 << 19)\n"
        "    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before\n"
        "faults(); free = faults()\n"
        "with device.choose('cpu').applied(): pass\n"
        "faults(); print(free, faults())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, after = map(int, done.stdout.split())
    assert after <= before + 2000  # 100 arrays of 4 MiB are 102,400 pages


def test_the_allocator_keeps_pages_until_the_outermost_context_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    monkeypatch.setattr(device, "_mallopt", lambda **sizes: calls.append(sizes["trim"]))
    plan = dataclasses.replace(device.choose("cpu"), keep_pages=True)
    with plan.applied():
        with plan.applied():
            assert len(calls) == 1
        assert len(calls) == 1  # a validation inside a training gives nothing back
    assert len(calls) == 2
    assert calls[1] < calls[0]
