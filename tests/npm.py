"""npm packages that tests need, through npm itself."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

_PATIENCE = 300  # seconds for some 30 MB


def pack(package: str, folder: Path) -> Path:
    """Fetch a package, such as "name@1.2.3", into a folder; without npm or its registry the test is skipped."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not here: it fetches the packages that pages are made of")
    command = [npm, "pack", package, "--prefer-offline", "--silent", "--pack-destination", str(folder)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, check=False)
    if ran.returncode:
        pytest.skip(f"npm does not give {package}: {(ran.stderr or ran.stdout).strip()[-200:]}")
    return folder / ran.stdout.split()[-1]
