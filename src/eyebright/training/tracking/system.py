"""How busy the machine is while it trains: a line every few seconds in `system.jsonl` of the run.

Measured with MLflow's own monitors, so that its pages know the names, but kept in the folder first: MLflow would send
them at once, and lose those of the time in which its server does not answer.
"""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

from eyebright.training.tracking.reading import Reading, milliseconds

if TYPE_CHECKING:
    from mlflow.system_metrics.metrics.base_metrics_monitor import BaseMetricsMonitor

_FILE = "system.jsonl"


class SystemLog:
    """Writes a line for each call of `write`.

    Parameters
    ----------
    folder : of the run.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / _FILE
        self._monitors = _monitors()
        for monitor in self._monitors:  # what they count is counted from here
            monitor.collect_metrics()
            monitor.clear_metrics()

    def write(self) -> None:
        """Measure, and add a line."""
        values: dict[str, float] = {}
        for monitor in self._monitors:
            monitor.collect_metrics()
            values |= monitor.aggregate_metrics()
            monitor.clear_metrics()
        line = json.dumps({"time": milliseconds(time.time()), "values": values})
        with self._path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")


def system_readings(folder: Path) -> list[Reading]:
    """All lines so far. A line that a kill has cut off is left out."""
    path = folder / _FILE
    if not path.is_file():
        return []
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        with contextlib.suppress(ValueError):
            lines.append(json.loads(line))
    return [
        Reading(step, line["time"], {f"system/{name}": value for name, value in line["values"].items()})
        for step, line in enumerate(lines)
    ]


def _monitors() -> list[BaseMetricsMonitor]:
    from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
    from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
    from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor
    from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor

    monitors: list[BaseMetricsMonitor] = []
    for kind in (CPUMonitor, DiskMonitor, NetworkMonitor, GPUMonitor):
        with contextlib.suppress(Exception):  # a container hides one, and many machines have no GPU
            monitors.append(kind())
    return monitors
