"""What shipping costs: a bundle beside a bare loop of ONNX Runtime, a folder of files, and the first answer.

    python benchmarks/export_predict.py BUNDLE [--images 20000] [--rounds 3] [--folder FOLDER] [--quick]

Printed are, alternating over the rounds, medians with their spread:

loop : images/s of a bare loop of ONNX Runtime over batches of 64 that lie in memory, logits only.
bundle : images/s of `Bundle.probabilities` over the same arrays.
single : milliseconds of one image, both ways.
files : images/s of `eyebright predict BUNDLE FOLDER --out answers.parquet` on that many PNG files of twice the model's
    size, in a process of its own; with its peak memory beyond that of the same command on 500 files.
pillow : the same files through Pillow and the bare loop, one after the other, as people write it.
start : seconds from the command `eyebright predict BUNDLE IMAGE` to its answer, in a process of its own, and to the
    end of `python -c "import numpy, PIL.Image, onnxruntime"`, which no such command can do without.

Make the bundle with, for example: eyebright export RUN bundle/
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

from eyebright.core.processor import available_threads, processor_name
from eyebright.exporting.bundle import Bundle, open_bundle

BATCH = 64
FEW = 500  # files, whose memory is that of Python and its packages
PICTURES = 50  # different ones
BARE_START = "import numpy, PIL.Image, onnxruntime"


def main() -> None:
    """Measure everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where the files are written; default: the temporary folder")
    parser.add_argument("--quick", action="store_true", help="600 images, one round")
    arguments = parser.parse_args()
    images, rounds = (600, 1) if arguments.quick else (arguments.images, arguments.rounds)
    bundle = open_bundle(arguments.bundle)
    print(f"{processor_name()}, {available_threads()} threads; onnxruntime {onnxruntime.__version__}; {bundle}")
    in_memory(bundle, arguments.bundle, images, rounds)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        from_files(bundle, arguments.bundle, Path(folder), images, rounds)
        first_answer(arguments.bundle, Path(folder), rounds)


def in_memory(bundle: Bundle, path: Path, count: int, rounds: int) -> None:
    """The loop and the bundle over arrays."""
    spec, random = bundle.spec, np.random.default_rng(0)
    pixels = random.integers(0, 256, (min(count, 4096), spec.height, spec.width, spec.channels), dtype=np.uint8)
    session = bare_session(path)

    def loop() -> None:
        for start in range(0, len(pixels), BATCH):
            session.run(["logits"], {"images": pixels[start : start + BATCH]})

    show(
        "loop",
        "images/s",
        rounds,
        {
            "bare": per_second(loop, len(pixels)),
            "bundle": per_second(lambda: bundle.probabilities(pixels), len(pixels)),
        },
    )
    one = pixels[:1]
    show(
        "single",
        "ms",
        rounds,
        {
            "bare": milliseconds(lambda: session.run(["logits"], {"images": one})),
            "bundle": milliseconds(lambda: bundle.probabilities(one)),
        },
    )


def from_files(bundle: Bundle, path: Path, folder: Path, count: int, rounds: int) -> None:
    """A folder of files by the command, and by a loop."""
    many, few = folder / "many", folder / "few"
    write_files(bundle, many, count)
    write_files(bundle, few, min(FEW, count))
    session, spec = bare_session(path), bundle.spec
    size = (spec.width, spec.height)
    mode = "RGB" if spec.channels == 3 else "L"

    def loop() -> None:
        files = sorted(many.iterdir())
        for start in range(0, count, BATCH):
            read = [Image.open(file).convert(mode).resize(size) for file in files[start : start + BATCH]]
            batch = np.stack([np.asarray(image) for image in read]).reshape(-1, spec.height, spec.width, spec.channels)
            session.run(["logits"], {"images": batch})

    peaks: dict[str, float] = {}

    def command(given: Path) -> None:
        peaks[given.name] = run(path, given, "--out", folder / f"{given.name}.parquet")

    command(few)
    show(
        "files",
        "images/s",
        rounds,
        {"pillow": per_second(loop, count), "command": per_second(lambda: command(many), count)},
    )
    print(f"memory beyond that of {FEW} files: {peaks['many'] - peaks['few']:.0f} MiB")


def first_answer(path: Path, folder: Path, rounds: int) -> None:
    """From the command to its answer."""
    image = next((folder / "few").iterdir())
    show(
        "start",
        "s",
        max(rounds, 3),
        {
            "imports": lambda: seconds(lambda: subprocess.run([sys.executable, "-c", BARE_START], check=True)),
            "command": lambda: seconds(lambda: run(path, image)),
        },
    )


def run(path: Path, *arguments: object) -> float:
    """Run `eyebright predict` and return its peak memory in MiB."""
    command = [sys.executable, "-m", "eyebright", "predict", str(path), *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed")
    return usage.ru_maxrss / 1024


def bare_session(path: Path) -> onnxruntime.InferenceSession:
    """The network as anybody would load it, with as many threads."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = available_threads()
    return onnxruntime.InferenceSession(path / "model.onnx" if path.is_dir() else path, options)


def write_files(bundle: Bundle, folder: Path, count: int) -> None:
    """Smooth pictures of twice the model's size, which are as small as photographs of it would be."""
    folder.mkdir()
    spec, random = bundle.spec, np.random.default_rng(0)
    shape = (max(1, spec.height // 4), max(1, spec.width // 4), spec.channels)
    size = (2 * spec.width, 2 * spec.height)
    contents = []
    for _ in range(PICTURES):
        coarse = random.integers(0, 256, shape, dtype=np.uint8)
        image = Image.fromarray(coarse if spec.channels == 3 else coarse[:, :, 0])
        image.resize(size, Image.Resampling.BICUBIC).save(folder / "picture.png")
        contents.append((folder / "picture.png").read_bytes())
    (folder / "picture.png").unlink()
    for number in range(count):
        (folder / f"{number:07d}.png").write_bytes(contents[number % PICTURES])


def seconds(call: Callable[[], object]) -> float:
    """Of one call."""
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def per_second(call: Callable[[], object], count: int) -> Callable[[], float]:
    """Images a second of one call that handles `count`."""
    return lambda: count / seconds(call)


def milliseconds(call: Callable[[], object]) -> Callable[[], float]:
    """Median of many calls."""
    return lambda: 1000 * statistics.median(seconds(call) for _ in range(200))


def show(name: str, unit: str, rounds: int, ways: dict[str, Callable[[], float]]) -> None:
    """Alternate the ways, and print the median, lowest and highest of each."""
    found: dict[str, list[float]] = {way: [] for way in ways}
    for measure in ways.values():
        measure()  # warm
    for _ in range(rounds):
        for way, measure in ways.items():
            found[way].append(measure())
    for way, values in found.items():
        spread = f"({min(values):,.2f} to {max(values):,.2f})"
        print(f"{name:<8} {way:<8} {statistics.median(values):12,.2f} {unit}  {spread}")


if __name__ == "__main__":
    main()
