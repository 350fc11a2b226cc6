"""The processor: its name, and how much of it this process may use."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def available_threads() -> int:
    """CPU cores that this process may use; OMP_NUM_THREADS, by which users and schedulers share a machine, counts.

    Processes of one training share the cores of their machine. Where nobody chose, torchrun gives each of them
    OMP_NUM_THREADS=1, however many cores there are; so behind it a 1 is taken for no choice.
    """
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    beside = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # processes of this training here, says their launcher
    chosen = wanted.isdecimal() and int(wanted) > 0
    if chosen and not (beside > 1 and wanted == "1" and "TORCHELASTIC_RUN_ID" in os.environ):
        return int(wanted)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // beside)


def processor_name() -> str:
    """The processor's name as its maker gives it."""
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
