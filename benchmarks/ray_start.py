"""What Ray costs before it gains anything: its start, and the way of a task, a trial, a training and predictions to it.

    python benchmarks/ray_start.py [--rounds 5] [--workers 2]

Each round is a process of its own, which starts a cluster on this machine alone and ends it. Beside what goes through
Ray stands the same work in the process itself: small networks on the handwritten digits, so that what is left is the
start. Prints the median of the rounds, the lowest and the highest.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path


def main() -> None:
    """Measure, or be one of the rounds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--once", type=Path, metavar="FILE", help="be a round, and write its seconds there")
    given = parser.parse_args()
    if given.once:
        given.once.write_text(json.dumps(_round(given.workers)))
        return
    rounds = [_measured(given.workers) for _ in range(given.rounds)]
    print(f"{len(os.sched_getaffinity(0))} cores, {given.workers} workers, {given.rounds} rounds")
    print(f"{'seconds':<44}{'median':>8}{'lowest':>8}{'highest':>8}")
    for what in rounds[0]:
        seconds = [each[what] for each in rounds]
        print(f"{what:<44}{statistics.median(seconds):>8.2f}{min(seconds):>8.2f}{max(seconds):>8.2f}")


def _measured(workers: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="eb") as folder:  # short: it holds the names of sockets
        environment = os.environ | {"RAY_TMPDIR": folder, "RAY_ADDRESS": "local"}
        file = Path(folder) / "seconds.json"
        command = [sys.executable, __file__, "--once", str(file), "--workers", str(workers)]
        subprocess.run(command, check=True, env=environment)
        seconds: dict[str, float] = json.loads(file.read_text())
        return seconds


def _round(workers: int) -> dict[str, float]:
    seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def clock(what: str) -> Iterator[None]:
        begin = time.perf_counter()
        yield
        seconds[what] = time.perf_counter() - begin
        print(f"{what}: {seconds[what]:.2f} s", file=sys.stderr)

    with clock("import Eyebright and torch"):
        import eyebright as eb
        from eyebright.cluster import training, trials
        from eyebright.cluster.session import connected

        recipe = eb.recipe("digits/mlp", ["epochs=1", "device=cpu", "threads=1"])
        splits = eb.load(recipe.data)
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as ended:
        here = Path(folder)
        fields = {"optimizer.lr": [1e-3, 2e-3, 3e-3, 5e-3]}
        eb.fit(recipe, splits, folder=here / "warm", callbacks=())
        with clock("sweep of 4 trials, in the process"):
            eb.sweep(recipe, fields, folder=here / "sweep", splits=splits)
        with clock("training and judging, in the process"):
            eb.judge(eb.fit(recipe, splits, folder=here / "run", callbacks=()), splits)
        with clock("import Ray"):
            import ray
        with clock("start a cluster"):
            ended.enter_context(connected())
        with clock("first task"):
            ray.get(ray.remote(_nothing).remote())
        with clock("100 tasks, one after the other"):
            _repeat(lambda: ray.get(ray.remote(_nothing).remote()), 100)
        for time_of in ("first", "second"):
            with clock(f"sweep of 4 trials, {time_of} time"):
                eb.sweep(recipe, fields, folder=here / time_of, splits=splits, executor=trials.executor())
        with clock(f"training and judging, {workers} processes"):
            training.train(recipe, here / "together", workers=workers)
        begin = time.perf_counter()
    seconds["end the cluster"] = time.perf_counter() - begin
    return seconds


def _nothing() -> None:
    pass


def _repeat(work: Callable[[], object], times: int) -> None:
    for _ in range(times):
        work()


if __name__ == "__main__":
    main()
