"""Whether `eyebright train DATA --minutes N` keeps its word.

    python benchmarks/time_budget.py [--data digits cifar10] [--minutes 1 5]

Runs the real command for every data set and time, and prints the plan, the seconds that passed until the scores were
printed (from the start of the process, imports included), their share of the time given, and the test accuracy.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def main() -> None:
    """Run every combination."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", default=["digits", "cifar10"])
    parser.add_argument("--minutes", nargs="+", type=float, default=[1.0, 5.0])
    chosen = parser.parse_args()
    print(f"{'data':<16}{'minutes':>8}{'seconds':>9}{'of given':>9}{'accuracy':>9}  plan")
    for data in chosen.data:
        for minutes in chosen.minutes:
            seconds, accuracy, plan = _run(data, minutes)
            print(f"{data:<16}{minutes:>8g}{seconds:>9.0f}{seconds / (60 * minutes):>9.0%}{accuracy:>9.1%}  {plan}")


def _run(data: str, minutes: float) -> tuple[float, float, str]:
    """Seconds until the scores were printed, test accuracy, and what was planned."""
    with tempfile.TemporaryDirectory() as folder:
        out, remarks = Path(folder) / "run", Path(folder) / "remarks.txt"
        command = [sys.executable, "-m", "eyebright", "train", data, "--minutes", str(minutes), "--out", str(out)]
        begun = time.perf_counter()
        with (
            remarks.open("w") as errors,
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as running,
        ):
            printed = iter(running.stdout or ())
            line = next((line for line in printed if line.startswith("test ")), "")
            seconds = time.perf_counter() - begun
            list(printed)  # the report, which comes after
        if not line:
            sys.exit(remarks.read_text())
        plans = re.findall(r"^plan: ([^;]+);", remarks.read_text(), re.MULTILINE)
        changes = remarks.read_text().count("planned anew")
        accuracy: float = json.loads((out / "scores.json").read_text())["test"]["accuracy"]["value"]
        return seconds, accuracy, plans[0] + (f", planned anew {changes} times" if changes else "")


if __name__ == "__main__":
    main()
