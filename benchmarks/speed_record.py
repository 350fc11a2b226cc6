"""Our `cifar10/speed94` against the published record, on this machine: airbench94 in fp32 and ours, in the same hour.

    EYEBRIGHT_DATA=... python benchmarks/speed_record.py --script airbench94.py [--steps 8] [--seeds 1] [--first 0]
    EYEBRIGHT_DATA=... python benchmarks/speed_record.py --gpu-script airbench94_muon.py [--runs 20]

`--script` is `legacy/airbench94.py` of the GitHub repository KellerJordan/cifar10-airbench, which is not part of this
project: fetch it yourself. It was written for CUDA and half precision. Here it runs as published, but for these
replacements, made in memory: tensors stay on the CPU and in float32, CUDA's events and torchvision's three functions
are stood in for. Torch keeps its defaults (threads, allocator).

Theirs: seconds of `--steps` training steps, median, times the steps of its whole run, and its evaluation with six
views, measured once. Ours: whole trainings, judged on the test images; accuracy and seconds of each seed. With
`--theirs-whole` theirs is trained to the end too (half an hour or more).

`--gpu-script` is `airbench94_muon.py` of the same repository, for a machine with CUDA: its run as published (compiled,
warmed up once) and ours take turns, with another seed each time. Theirs is timed as it times itself, without its
judging after each epoch; ours from the first batch to the last test image, after one run to warm up.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import math
import statistics
import sys
import tempfile
import time
import types
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_post_hook

import eyebright as eb
from eyebright.core.device import choose
from eyebright.data.image_set import Splits

_CPU_INSTEAD = (
    (".half().cuda()", ".float()"),
    (".half()", ".float()"),
    ("map_location=torch.device(gpu)", "map_location='cpu'"),
    ("torch.cuda.Event", "Event"),
    ("torch.cuda.synchronize()", "None"),
)


class Event:
    """Stands for CUDA's event, on the wall clock."""

    def __init__(self, **_options: bool) -> None:
        self.time = math.nan

    def record(self) -> None:
        """Note the time."""
        self.time = time.perf_counter()

    def elapsed_time(self, later: Event) -> float:
        """Milliseconds until `later`."""
        return 1000 * (later.time - self.time)


class Normalize:
    """Stands for torchvision's, on batches."""

    def __init__(self, mean: Tensor, std: Tensor) -> None:
        self.mean, self.std = mean.view(-1, 1, 1), std.view(-1, 1, 1)

    def __call__(self, images: Tensor) -> Tensor:
        """(B, C, H, W) float."""
        return (images - self.mean) / self.std


def load_script(path: Path, splits: Splits, replacements: Sequence[tuple[str, str]] = ()) -> dict[str, Any]:
    """The names that the script defines, ready to run on our copy of CIFAR-10, with `replacements` in its text."""

    def cifar10(_root: str, *, train: bool, **_options: bool) -> types.SimpleNamespace:
        part = splits.train if train else splits.test
        return types.SimpleNamespace(data=part.images, targets=part.labels.tolist(), classes=list(part.classes))

    torchvision, transforms = types.ModuleType("torchvision"), types.ModuleType("torchvision.transforms")
    torchvision.__dict__.update(transforms=transforms, datasets=types.SimpleNamespace(CIFAR10=cifar10))
    transforms.__dict__["Normalize"] = Normalize
    sys.modules |= {"torchvision": torchvision, "torchvision.transforms": transforms}
    source = path.read_text(encoding="utf-8")
    for published, instead in replacements:
        source = source.replace(published, instead)
    names: dict[str, Any] = {"__name__": "airbench", "Event": Event}
    exec(compile(source, str(path), "exec"), names)  # noqa: S102 (a script that the user chose)
    return names


@contextlib.contextmanager
def _script_folder() -> Iterator[None]:
    """Work for a while where the scripts may write their copy of the data."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        Path("cifar10").mkdir()
        yield


def theirs(path: Path, splits: Splits, steps: int, *, whole: bool) -> tuple[float, float, float | None]:
    """Seconds a step, seconds in all, and the accuracy if it was trained to the end."""
    names = load_script(path, splits, _CPU_INSTEAD)
    options = names["hyp"]["opt"]
    per_epoch = len(splits.train) // options["batch_size"]
    all_steps = math.ceil(per_epoch * options["train_epochs"])
    if not whole:
        options["train_epochs"] = steps / per_epoch
    names["evaluate"], judged = _timed(names["evaluate"])
    ends: list[float] = []
    hook = register_optimizer_step_post_hook(lambda *_: ends.append(time.perf_counter()))
    with _script_folder():
        accuracy = names["main"](0)
    hook.remove()
    step = statistics.median(after - before for before, after in itertools.pairwise(ends))
    return step, all_steps * step + judged[-1], accuracy if whole else None


def ours(recipe: eb.Recipe, splits: Splits) -> tuple[float, eb.Score]:
    """Seconds of training and of judging the test images, and the test accuracy."""
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        run = eb.fit(recipe, splits, folder=Path(folder) / "run", callbacks=())
        settings = recipe.training
        test = eb.predict(run.model, splits.test, views=settings.views, plan=choose(settings.device))
    return time.perf_counter() - begin, eb.evaluate(test).accuracy


def on_gpu(path: Path, recipe: eb.Recipe, splits: Splits, runs: int) -> None:
    """Whole trainings of both in turn; prints seconds and test accuracies, means and deviations."""
    names = load_script(path, splits)
    told: list[float] = []
    show = names["print_training_details"]

    def listened(variables: dict[str, Any], is_final_entry: bool) -> None:
        told.append(variables["time_seconds"])
        show(variables, is_final_entry)

    names["print_training_details"] = listened
    results: dict[str, list[tuple[float, float]]] = {path.name: [], recipe.name: []}
    with _script_folder():
        model = names["CifarNet"]().cuda().to(memory_format=torch.channels_last)
        model.compile(mode="max-autotune")
        names["main"]("warmup", model)
        ours(recipe, splits)
        for number in range(runs):
            accuracy = names["main"](number, model)
            results[path.name].append((told[-1], accuracy))
            taken, score = ours(recipe.replace(seed=number), splits)
            results[recipe.name].append((taken, score.value))
    for name, found in results.items():
        seconds, accuracies = np.array(found).T
        print(
            f"{name}: {seconds.mean():.2f} s (deviation {seconds.std(ddof=1):.2f}), accuracy {accuracies.mean():.4f} "
            f"(deviation {accuracies.std(ddof=1):.4f}), {runs} runs"
        )


def main() -> None:
    """Measure both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--script", type=Path)
    parser.add_argument("--recipe", default="cifar10/speed94")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--theirs-whole", action="store_true")
    parser.add_argument("--gpu-script", type=Path)
    parser.add_argument("--runs", type=int, default=20, help="of each, with --gpu-script; two or more")
    arguments = parser.parse_args()
    recipe = eb.recipe(arguments.recipe)
    splits = eb.load(recipe.data)
    print(f"{choose()}; torch {torch.__version__}", flush=True)
    if arguments.gpu_script:
        if not torch.cuda.is_available():
            parser.error("--gpu-script needs CUDA, which torch does not find here")
        on_gpu(arguments.gpu_script.resolve(), recipe, splits, arguments.runs)
        return
    peer = math.nan
    if arguments.script:
        step, peer, accuracy = theirs(arguments.script, splits, arguments.steps, whole=arguments.theirs_whole)
        reached = "" if accuracy is None else f", accuracy {accuracy:.4f}"
        print(f"{arguments.script.name}, fp32: {step:.2f} s a step, {peer:.0f} s in all{reached}", flush=True)
    seconds, accuracies = [], []
    for seed in range(arguments.first, arguments.first + arguments.seeds):
        taken, score = ours(recipe.replace(seed=seed), splits)
        seconds.append(taken)
        accuracies.append(score.value)
        print(f"{recipe.name}, seed {seed}: {taken:.0f} s, {score.value:.4f}{_times(peer, taken)}", flush=True)
    if not accuracies:
        return
    spread = f" +- {np.std(accuracies, ddof=1):.4f} (deviation)" if len(accuracies) > 1 else ""
    print(
        f"{recipe.name}, {len(accuracies)} seeds: {statistics.median(seconds):.0f} s (median), accuracy "
        f"{statistics.mean(accuracies):.4f}{spread}{_times(peer, statistics.median(seconds))}"
    )


def _times(peer: float, taken: float) -> str:
    return "" if math.isnan(peer) else f", {peer / taken:.1f} times faster"


def _timed(function: Callable[..., Any]) -> tuple[Callable[..., Any], list[float]]:
    seconds: list[float] = []

    def measured(*arguments: Any, **options: Any) -> Any:
        begin = time.perf_counter()
        result = function(*arguments, **options)
        seconds.append(time.perf_counter() - begin)
        return result

    return measured, seconds


if __name__ == "__main__":
    main()
