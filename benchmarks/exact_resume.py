"""Kill -9 at random moments, resume, and compare every bit with a training that was left alone.

    python benchmarks/exact_resume.py [--kills 20] [--seed 0]

Each of the trainings (digits, CNN with batch norm and dropout, augmentation and mixup, moving average,
accumulation; a checkpoint after every step, so that kills hit checkpoints too) is killed at a moment drawn
uniformly from its running time, resumed, and compared: weights, momenta, average, best model and history.
Prints a line a kill and exits with 1 if any bit differs.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from safetensors.torch import load_file

TRAIN = [
    *("-m", "eyebright", "train", "digits/cnn", "epochs=60", "ema=0.99", "accumulate=2", "mixup=0.2"),
    "checkpoint_seconds=0",
]


def main() -> None:
    """Run the kills."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    moments = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "whole"
        begin = time.monotonic()
        _run([*TRAIN, "--out", str(whole)])
        lasted = time.monotonic() - begin
        print(f"uninterrupted: {lasted:.1f} s")
        equal = 0
        for number in range(1, arguments.kills + 1):
            run = Path(folder) / str(number)
            moment = moments.uniform(0, lasted)
            killed = _kill(run, moment)
            begun = (run / "run.json").is_file()
            _run(["-m", "eyebright", "train", *(["--resume", str(run)] if begun else [*TRAIN[3:], "--out", str(run)])])
            same = _state(run) == _state(whole)
            equal += same
            print(f"kill {number:2d} at {moment:5.2f} s, {killed}: {'identical' if same else 'DIFFERENT'}", flush=True)
    print(f"{equal} of {arguments.kills} finished bit-identical")
    sys.exit(equal != arguments.kills)


def _run(arguments: list[str]) -> None:
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)


def _kill(run: Path, moment: float) -> str:
    """Begin a training, kill it after `moment` seconds, and say where it was."""
    process = subprocess.Popen(
        [sys.executable, *TRAIN, "--out", str(run)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    time.sleep(moment)
    process.kill()
    process.wait()
    history = run / "history.jsonl"
    epochs = len(history.read_text().splitlines()) if history.is_file() else 0
    return f"after {epochs} epochs" if (run / "run.json").is_file() else "before the run began"


def _state(run: Path) -> tuple[list[tuple[str, bytes]], list[dict[str, float]]]:
    """Every tensor of both checkpoints as bytes, and the history without the times."""
    tensors = {
        f"{path.name} {name}": value
        for path in sorted((run / "checkpoints").glob("*.safetensors"))
        for name, value in load_file(path).items()
    }
    bits = [(name, tensors[name].reshape(-1).view(torch.uint8).numpy().tobytes()) for name in sorted(tensors)]
    lines = (run / "history.jsonl").read_text().splitlines()
    timed = {"seconds", "images_per_second"}
    return bits, [{key: value for key, value in json.loads(line).items() if key not in timed} for line in lines]


if __name__ == "__main__":
    main()
