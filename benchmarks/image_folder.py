"""Image folders: the first and the later epochs, against the loop that people write; and where the time goes.

    python benchmarks/image_folder.py [--photos 5000] [--large 48] [--rounds 3] [--quick]

Photos are synthesised in a temporary folder: of about 500x375, and as a telephone takes them (4032x3024). Both sides
prepare batches for 224x224 with random crops and flips until the last batch is there; no model runs.

theirs : Pillow and a DataLoader with 2 workers, photo by photo: open, convert, shorter side to 256, crop 224, flip, to
    a float tensor in 0..1. It hands over float32 (B, 3, 224, 224).
ours : `eyebright.load` into an empty cache, then `Batches`: the middle square to 224, cached; padded by 16, crop, flip.
    It hands over uint8, since the model itself scales the pixels. The first epoch contains listing, decoding, caching.

Theirs and ours take turns, each in a new process, timed after its imports. Printed are images/s (median of the rounds
and each of them) and the milliseconds of all cores for one image, which busy neighbours disturb less. Memory is the
largest proportional set size of all processes of a side, sampled in a run of its own. The files are in the system's
page cache: the disk is not measured. The default takes some six minutes on two quiet cores, --quick one.

A scene is a random field whose amplitudes fall as one over the frequency, as those of natural images do (Field 1987,
"Relations between the statistics of natural images"); a photo is a window of a scene with the noise of a sensor. So at
500x375 and quality 90 it has some 107 KB, and costs as much to decode as a real one.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import io
import json
import os
import platform
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from eyebright.core.processor import processor_name
from eyebright.core.settings.augment import AugmentSettings
from eyebright.core.settings.data import DataSettings
from eyebright.data.batches import Batches
from eyebright.data.decode import decode, fit, load_image
from eyebright.data.load import load
from eyebright.data.pixel_file import PixelFile, pixel_writer
from eyebright.data.streaming import Decoding

SIZE, RESIZED = 224, 256  # pixels: of the batches, and of the shorter side before theirs are cropped
LATER = 3  # epochs after the first one
DECODING = Decoding(SIZE, SIZE, 3, "crop", "bilinear")

# (width, height) and how many in a hundred: lying, upright and square.
_SIZES = {(500, 375): 50, (500, 333): 15, (375, 500): 15, (333, 500): 5, (480, 360): 5, (640, 480): 5, (500, 500): 5}
_LARGE = (4032, 3024)
_GREY, _TURNED = 2, 5  # in a hundred; turned by EXIF
_ORIENTATION, _LYING = 0x0112, 6  # tag of EXIF, and its value for a camera that was turned to the right
_SCENES, _SCENE = 24, (1100, 1500)  # (H, W)
_FALL = (0.85, 1.15)  # exponents of the frequency
_CONTRAST, _CHROMA, _NOISE = 50, 25, 5  # standard deviations of luma, of the colour differences and of the sensor
_QUALITY = 90
_CLASSES = 10


def main() -> None:
    """Measure small and large photos, memory, and the stages of decoding."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=5000)
    parser.add_argument("--large", type=int, default=48, help="photos of 12 megapixels")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="400 photos, 16 large ones, one round")
    parser.add_argument("--child", nargs=4, metavar=("SIDE", "ROOT", "BATCH", "LATER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        side, root, batch, later = arguments.child
        _measure(side, Path(root), int(batch), int(later))
        return
    if arguments.quick:
        arguments.photos, arguments.large, arguments.rounds = 400, 16, 1
    print(
        f"{processor_name()}, {os.cpu_count()} cores; Python {platform.python_version()}, torch {torch.__version__}, "
        f"Pillow {PIL.__version__}; {arguments.rounds} rounds"
    )
    with tempfile.TemporaryDirectory(prefix="image_folder") as folder:
        small, large, half = Path(folder) / "small", Path(folder) / "large", Path(folder) / "half"
        _write_photos(small, arguments.photos)
        _write_large_photos(large, arguments.large)
        _compare(small, 64, arguments.rounds)
        _compare(large, max(1, arguments.large // 6), arguments.rounds)  # enough batches for their two workers
        _compare_memory([_half(small, half), small])
        _show_stages(small)
        _show_shrinking(large)


# ---- the two sides


class PlainPhotos(Dataset[tuple[Tensor, int]]):
    """One file at a time through Pillow, as in the tutorials."""

    def __init__(self, root: Path) -> None:
        classes = sorted(path.name for path in root.iterdir())
        self.files = [(path, label) for label, name in enumerate(classes) for path in sorted((root / name).iterdir())]

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, position: int) -> tuple[Tensor, int]:
        path, label = self.files[position]
        image: Image.Image = Image.open(path).convert("RGB")
        scale = RESIZED / min(image.size)
        image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BILINEAR)
        left, top = random.randint(0, image.width - SIZE), random.randint(0, image.height - SIZE)
        image = image.crop((left, top, left + SIZE, top + SIZE))
        if random.random() < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous().float() / 255, label


def _their_epochs(root: Path, batch: int) -> Iterator[Iterable[Any]]:
    loader = DataLoader(PlainPhotos(root), batch, shuffle=True, num_workers=2, persistent_workers=True)
    while True:
        yield loader


def _our_epochs(root: Path, batch: int) -> Iterator[Iterable[Any]]:
    photos = load(DataSettings(source=str(root), size=SIZE, validation=0, test=0)).train
    augment = AugmentSettings(flip=True, crop=(RESIZED - SIZE) // 2)
    batches = Batches(photos, batch, shuffle=True, augment=augment, channels_last=True)
    number = 0
    while True:
        yield batches.epoch(number)
        number += 1


SIDES: dict[str, Callable[[Path, int], Iterator[Iterable[Any]]]] = {"theirs": _their_epochs, "ours": _our_epochs}


def _measure(side: str, root: Path, batch: int, later: int) -> None:
    """In a process of its own: print the seconds of each epoch, by the clock and of all cores."""
    clock, cores = [time.perf_counter()], [time.process_time()]
    before = _core_seconds()
    epochs = SIDES[side](root, batch)
    for _ in range(1 + later):
        for _ in next(epochs):
            pass
        clock.append(time.perf_counter())
        cores.append(time.process_time())
    del epochs
    gc.collect()  # their workers end; only then does the system say how long they ran
    each = np.diff(cores)
    each += (_core_seconds() - before - each.sum()) / len(each)  # that of the workers, who do the same in each epoch
    print(json.dumps({"clock": np.diff(clock).tolist(), "cores": each.tolist()}))


def _core_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def _run(side: str, root: Path, batch: int, later: int, memory: list[int] | None = None) -> dict[str, list[float]]:
    """Measure in a new process with an empty cache; the bytes that it holds every 0.1 s are added to `memory`."""
    with tempfile.TemporaryDirectory(dir=root.parent) as cache:
        command = [sys.executable, __file__, "--child", side, str(root), str(batch), str(later)]
        environment = {**os.environ, "EYEBRIGHT_CACHE": cache}
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
            while memory is not None and process.poll() is None:
                memory.append(_memory(process.pid))
                time.sleep(0.1)
            output, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"{side} has failed.")
    result: dict[str, list[float]] = json.loads(output)
    return result


def _memory(process: int) -> int:
    """Proportional set size of a process and its children, in bytes; 0 where the system does not tell."""
    total = 0
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        total += sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:"))
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except (OSError, ProcessLookupError):
        return total  # it has just ended
    return total + sum(_memory(int(child)) for child in children)


# ---- the tables


def _compare(root: Path, batch: int, rounds: int) -> None:
    photos = len(PlainPhotos(root))
    size = statistics.mean(path.stat().st_size for path, _ in PlainPhotos(root).files) / 1000
    results: dict[str, list[dict[str, list[float]]]] = {"theirs": [], "ours": []}
    for _ in range(rounds):
        for side, found in results.items():
            found.append(_run(side, root, batch, LATER))
    print(f"\n{photos} photos of {size:,.0f} KB on average, batches of {batch}")
    print(f"{'':<16}{'theirs images/s':>30}{'ours images/s':>30}{'ratio':>8}{'ms of cores':>20}{'ratio':>8}")
    for name, epochs in (("first epoch", slice(0, 1)), ("later epochs", slice(1, None))):
        speeds = {
            side: [photos / statistics.median(one["clock"][epochs]) for one in found] for side, found in results.items()
        }
        ratio = statistics.median(speeds["ours"]) / statistics.median(speeds["theirs"])
        theirs, ours = (
            1000 * statistics.median(statistics.median(one["cores"][epochs]) for one in found) / photos
            for found in results.values()
        )
        print(
            f"{name:<16}{_row(speeds['theirs']):>30}{_row(speeds['ours']):>30}{ratio:>8.2f}"
            f"{f'{theirs:.2f} / {ours:.2f}':>20}{theirs / ours:>8.2f}",
            flush=True,
        )


def _row(values: Sequence[float]) -> str:
    return f"{statistics.median(values):,.0f} ({', '.join(f'{value:,.0f}' for value in values)})"


def _compare_memory(roots: Sequence[Path]) -> None:
    print(f"\n{'peak memory, MB':<16}{'theirs':>10}{'ours':>10}")
    for root in roots:
        peaks = []
        for side in SIDES:
            memory: list[int] = []
            _run(side, root, 64, 1, memory)
            peaks.append(max(memory) / 1e6)
        print(f"{len(PlainPhotos(root)):>6} photos   " + "".join(f"{peak:>10,.0f}" for peak in peaks), flush=True)


def _half(root: Path, folder: Path) -> Path:
    """The same classes with every second photo."""
    for path, _ in PlainPhotos(root).files[::2]:
        (folder / path.parent.name).mkdir(parents=True, exist_ok=True)
        (folder / path.parent.name / path.name).hardlink_to(path)
    return folder


def _show_stages(root: Path) -> None:
    """One thread, each stage on the same photos."""
    plain = PlainPhotos(root)
    torch.set_num_threads(1)
    contents = [path.read_bytes() for path, _ in plain.files[:: max(1, len(plain) // 200)]]
    whole = [decode(content, channels=3) for content in contents]
    opened = [Image.fromarray(image) for image in whole]
    fitted = [load_image(content, DECODING) for content in contents]
    positions = range(0, len(plain), max(1, len(plain) // 200))
    print(f"\nms of one core for a photo (median of 5 passes over {len(contents)})")
    pillow = _stage("decode, Pillow alone", lambda content: Image.open(io.BytesIO(content)).load(), contents)
    pillow += _stage("resize to 224, Pillow alone", lambda image: fit(image, SIZE, SIZE), opened)
    _stage("load_image: both, and checks", lambda content: load_image(content, DECODING), contents)
    _stage("BLAKE2b of the pixels", lambda image: hashlib.blake2b(image.data).digest(), fitted)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pixels.npy"
        with pixel_writer(path, len(fitted), DECODING.shape) as writer:
            for image in fitted:
                writer.write(image)
        rows = [np.array([row]) for row in range(len(fitted))]
        for name, pixels in (("PixelFile", PixelFile(path)), ("a memory map", np.load(path, mmap_mode="r"))):
            _stage(f"one image from {name}", pixels.__getitem__, rows)
    theirs = _stage("theirs: PlainPhotos[position]", plain.__getitem__, positions)
    print(
        f"Were a first epoch nothing but Pillow's decoding and resizing, it would be {theirs / pillow:.1f} times as\n"
        "fast as their transforms; what they pay for handing batches from process to process comes on top."
    )


def _stage(name: str, work: Callable[[Any], object], items: Sequence[Any]) -> float:
    passes = []
    for _ in range(5):
        begin = time.process_time()
        for item in items:
            work(item)
        passes.append((time.process_time() - begin) / len(items) * 1000)
    print(f"  {name:<32}{statistics.median(passes):8.3f}", flush=True)
    return statistics.median(passes)


def _show_shrinking(root: Path) -> None:
    """What it costs and changes that the decoder shrinks large photos."""
    contents = [path.read_bytes() for path, _ in PlainPhotos(root).files[:8]]
    print(f"\n{_LARGE[0]}x{_LARGE[1]}, ms of one core for a photo")
    whole = _stage("decode whole, resize", lambda content: fit(decode(content, channels=3), SIZE, SIZE), contents)
    shrunk = _stage("decode shrunk, resize", lambda content: load_image(content, DECODING), contents)
    pairs = [(fit(decode(content, channels=3), SIZE, SIZE), load_image(content, DECODING)) for content in contents]
    off = np.stack([first.astype(int) - second for first, second in pairs])
    print(
        f"  {whole / shrunk:.1f} times faster; of 255, the pixels differ by {np.sqrt((off**2).mean()):.2f} "
        f"(root mean square), at most {np.abs(off).max()}"
    )


# ---- photos


def _write_photos(root: Path, count: int) -> None:
    """Write `count` photos into ten class folders, the same at every call."""
    for number in range(_CLASSES):
        (root / f"class{number}").mkdir(parents=True)
    with ProcessPoolExecutor() as pool:
        for _ in pool.map(_write_scene, [root] * _SCENES, range(_SCENES), [count] * _SCENES):
            pass


def _write_scene(root: Path, number: int, count: int) -> None:
    """Every 24th of the photos: windows of one scene."""
    generator = np.random.default_rng(number)
    scene = _scene(generator)
    sizes, weights = list(_SIZES), np.array(list(_SIZES.values()))
    for photo in range(number, count, _SCENES):
        width, height = sizes[generator.choice(len(sizes), p=weights / weights.sum())]
        top, left = generator.integers(0, _SCENE[0] - height), generator.integers(0, _SCENE[1] - width)
        window = scene[top : top + height, left : left + width]
        image = _picture(window + _NOISE * generator.standard_normal(window.shape, np.float32))
        grey, turned = generator.random(2) < (_GREY / 100, _TURNED / 100)
        path = root / f"class{photo % _CLASSES}" / f"photo_{photo:06d}.jpg"
        _save(image.convert("L") if grey else image, path, _LYING if turned else 1)


def _write_large_photos(root: Path, count: int) -> None:
    """What a telephone takes: as sharp as its lens allows, so smoother from pixel to pixel."""
    width, height = _LARGE
    for number in range(count):
        generator = np.random.default_rng(number)
        scene = _picture(_scene(generator)).resize(_LARGE, Image.Resampling.BICUBIC)
        noise = generator.integers(-_NOISE, _NOISE, (height, width, 1), np.int16, endpoint=True)
        path = root / f"class{number % 2}" / f"photo_{number:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        _save(_picture(np.asarray(scene) + noise), path, _LYING if number % 4 == 0 else 1)


def _scene(generator: np.random.Generator) -> NDArray[np.float32]:
    """(H, W, 3) in 0..255, not clipped."""
    height, width = _SCENE
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])  # (H, W // 2 + 1)
    frequency[0, 0] = 1 / width

    def field(fall: float) -> NDArray[np.float64]:
        spectrum = generator.standard_normal((2, *frequency.shape)) / frequency**fall
        values = np.fft.irfft2(spectrum[0] + 1j * spectrum[1], s=_SCENE)
        normal: NDArray[np.float64] = (values - values.mean()) / values.std()
        return normal

    luma = 128 + _CONTRAST * field(generator.uniform(*_FALL))
    blue, red = _CHROMA * field(1.6), _CHROMA * field(1.6)
    # YCbCr to RGB, ITU-R 601
    return np.stack([luma + 1.402 * red, luma - 0.344 * blue - 0.714 * red, luma + 1.772 * blue], 2).astype(np.float32)


def _picture(values: NDArray[Any]) -> Image.Image:
    return Image.fromarray(values.clip(0, 255).astype(np.uint8))


def _save(image: Image.Image, path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[_ORIENTATION] = orientation
    image.save(path, "JPEG", quality=_QUALITY, exif=exif)


if __name__ == "__main__":
    main()
