"""What a result depends on besides the recipe and the data."""

from __future__ import annotations

import datetime
import importlib.metadata
import platform
import shlex
import subprocess
import sys
from pathlib import Path

import torch

from eyebright.core.device import Plan

_PACKAGES = ("eyebright", "torch", "numpy", "pillow", "scikit-learn")


def describe(plan: Plan) -> dict[str, str]:
    """Versions, machine, precision, command, git commit and time, as text."""
    versions = {name: importlib.metadata.version(name) for name in _PACKAGES}
    return versions | {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": processor(),
        "accelerator": torch.cuda.get_device_name(plan.device) if plan.device.type == "cuda" else "none",
        "plan": str(plan),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "git": _git_commit(),
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def processor() -> str:
    """The processor's name as its maker gives it."""
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _git_commit() -> str:
    """Commit of the folder that the command runs in, with "+changes" when the tree is not clean."""
    command = ["git", "describe", "--always", "--dirty=+changes", "--abbrev=12", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return "none"
    return done.stdout.strip() or "none"
