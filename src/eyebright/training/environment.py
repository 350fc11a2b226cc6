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
from eyebright.core.processor import available_threads, processor_name

_PACKAGES = ("eyebright", "torch", "numpy", "pillow", "scikit-learn")
_BODIES = "timm"  # matters to those alone who use its networks


def describe(plan: Plan, processes: int = 1) -> dict[str, str]:
    """Versions, machine, precision, processes, command, git commit and time, as text."""
    used = (*_PACKAGES, _BODIES) if _BODIES in sys.modules else _PACKAGES
    versions = {name: importlib.metadata.version(name) for name in used}
    return versions | {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": processor_name(),
        "accelerator": torch.cuda.get_device_name(plan.device) if plan.device.type == "cuda" else "none",
        "cores": str(available_threads()),
        "plan": str(plan),
        "processes": str(processes),
        "command": shlex.join([*_program(), *sys.argv[1:]]),
        "git": _git_commit(),
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def _program() -> list[str]:
    path = Path(sys.argv[0])
    return ["python", "-m", path.parent.name] if path.name == "__main__.py" else [path.name]


def _git_commit() -> str:
    """Commit of the folder that the command runs in, with "+changes" when the tree is not clean."""
    command = ["git", "describe", "--always", "--dirty=+changes", "--abbrev=12", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return "none"
    return done.stdout.strip() or "none"
