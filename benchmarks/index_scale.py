"""How the cost of a folder grows with its number of files: listing, first and second load, an epoch.

    python benchmarks/index_scale.py [--sizes 1000 10000 100000] [--folder FOLDER] [--quick]

For each size a folder of that many tiny pictures (PNG of 8x8 pixels, 20 classes) is written into FOLDER (default: the
system's temporary folder), and each step runs in a process of its own:

list : find the files with their sizes and dates, and sign them.
load : list, decode to 16x16 into an empty cache, label, hold out validation and test (stratified).
again : the same with the cache filled.
epoch : again, then one shuffled epoch in batches of 256.

Printed are seconds by the clock and of all cores, microseconds of all cores a file, which stay equal where cost is
linear, and the peak resident memory beyond that of the same step on 500 files, which is mostly that of the imports.
Pixels stay in their file from 256 MiB on, which is 350,000 of these. A million files (--sizes 1000000) need 4 GB of
disk, a million inodes and some ten minutes.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from eyebright.core.processor import processor_name
from eyebright.core.settings.data import DataSettings
from eyebright.data.batches import Batches
from eyebright.data.image_files import open_files
from eyebright.data.load import load

CLASSES = 20
FEW = 500  # files, whose memory is that of Python and its packages
PICTURES = 50  # different ones
STEPS = ("list", "load", "again", "epoch")


def main() -> None:
    """Measure every size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--quick", action="store_true", help="1,000 and 10,000 files")
    parser.add_argument("--child", nargs=2, metavar=("STEP", "ROOT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        _measure(arguments.child[0], Path(arguments.child[1]))
        return
    print(f"{processor_name()}, {os.cpu_count()} cores; Python {platform.python_version()}")
    print(f"{'files':>10}{'step':>8}{'clock s':>10}{'cores s':>10}{'us a file':>11}{'peak MB beyond':>16}")
    usual: dict[str, float] = {}
    for size in [FEW, *([1000, 10_000] if arguments.quick else arguments.sizes)]:
        for step, (clock, cores, peak) in _steps(size, arguments.folder).items():
            if step not in usual:
                usual[step] = peak
                continue
            print(
                f"{size:>10,}{step:>8}{clock:>10.2f}{cores:>10.2f}{1e6 * cores / size:>11.1f}"
                f"{peak - usual[step]:>16.0f}",
                flush=True,
            )


def _steps(size: int, folder: Path | None) -> dict[str, tuple[float, float, float]]:
    """Seconds by the clock and of all cores, and peak resident memory in MB, of each step."""
    with tempfile.TemporaryDirectory(prefix="index_scale", dir=folder) as parent:
        root, cache = Path(parent) / "pictures", Path(parent) / "cache"
        _write(root, size)
        found: dict[str, tuple[float, float, float]] = {}
        for step in STEPS:
            command = [sys.executable, __file__, "--child", step, str(root)]
            environment = {**os.environ, "EYEBRIGHT_CACHE": str(cache)}
            output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout
            clock, cores, peak = json.loads(output)
            found[step] = clock, cores, peak
        shutil.rmtree(root)
    return found


def _write(root: Path, size: int) -> None:
    contents = []
    for seed in range(PICTURES):
        file = io.BytesIO()
        Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)).save(file, "PNG")
        contents.append(file.getvalue())
    for number in range(CLASSES):
        (root / f"class_{number:03d}").mkdir(parents=True)
    for number in range(size):
        path = root / f"class_{number % CLASSES:03d}" / f"image_{number:07d}.png"
        path.write_bytes(contents[number % PICTURES])


def _measure(step: str, root: Path) -> None:
    """In a process of its own: print what `_steps` gathers."""
    clock, cores = time.perf_counter(), time.process_time()
    if step == "list":
        files = open_files(root)
        files.signature(np.arange(len(files.names)))
    else:
        images = load(DataSettings(source=str(root), size=16)).train
        if step == "epoch":
            for _ in Batches(images, 256, shuffle=True).epoch(0):
                pass
    seconds = time.perf_counter() - clock, time.process_time() - cores
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)
    print(json.dumps([*seconds, peak]))


if __name__ == "__main__":
    main()
