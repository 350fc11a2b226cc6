"""What several processes on one machine gain, and whether they train as well as one at the same global batch.

    python benchmarks/distributed.py [FIELD=VALUE]... [--recipe cifar10/ladder_cnn] [--processes 1 2] [--epochs 3]
                                     [--rounds 3]

Trains the recipe with each number of processes in turn, round after round, each round with its own seed; all cores of
the machine are divided among the processes. Prints for each number the median images/s of all epochs but the first of
each training, with the slowest and the fastest; the speed-up over the first number; and the mean of validation loss and
test accuracy, with their spread over the rounds.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import eyebright as eb


def main() -> None:
    """Measure, or be one of the processes that are measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("changes", nargs="*", metavar="FIELD=VALUE")
    parser.add_argument("--recipe", default="cifar10/ladder_cnn")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="be a process of a training in this folder")
    arguments = parser.parse_args()
    if arguments.folder:
        _train(arguments.folder, eb.recipe(arguments.recipe, [f"epochs={arguments.epochs}", *arguments.changes]))
        return
    runs: dict[int, list[eb.Run]] = {processes: [] for processes in arguments.processes}
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(arguments.rounds):
            for processes, done in runs.items():
                path = Path(folder) / f"{processes} {seed}"
                own = ["--recipe", arguments.recipe, "--epochs", str(arguments.epochs), "--folder", str(path)]
                _launch(processes, [*arguments.changes, f"seed={seed}", *own])
                done.append(eb.Run.open(path))
                print(f"seed {seed}, processes: {processes}, {done[-1].environment['plan']}", file=sys.stderr)
        _print(runs)


def _train(folder: Path, recipe: eb.Recipe) -> None:
    with eb.joined() as world:
        with world.first_ahead():
            splits = eb.load(recipe.data)
        eb.judge(eb.fit(recipe, splits, folder=folder, callbacks=()), splits)


def _launch(processes: int, arguments: list[str]) -> None:
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes > 1 else []
    # Without it, each process takes its part of the cores.
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    subprocess.run([sys.executable, *launcher, __file__, *arguments], check=True, env=environment)


def _print(runs: dict[int, list[eb.Run]]) -> None:
    print(f"{'processes':>9}{'images/s':>10}{'from':>9}{'to':>9}{'speed-up':>10}", end="")
    print(f"{'validation loss':>18}{'test accuracy':>18}")
    base = None
    for processes, done in runs.items():
        rates = [record["images_per_second"] for run in done for record in run.history[1:] or run.history]
        rate = statistics.median(rates)
        base = base or rate
        loss = _spread([run.history[-1]["validation_loss"] for run in done])
        accuracy = _spread([run.scores["test"].accuracy.value for run in done])
        print(
            f"{processes:>9}{rate:>10,.0f}{min(rates):>9,.0f}{max(rates):>9,.0f}{rate / base:>10.2f}"
            f"{loss:>18}{accuracy:>18}"
        )


def _spread(values: list[float]) -> str:
    """Mean and standard deviation."""
    deviation = f" ±{statistics.stdev(values):.4f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.4f}{deviation}"


if __name__ == "__main__":
    main()
