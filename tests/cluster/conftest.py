"""A real cluster of two Ray nodes on this machine, each with one core."""

from __future__ import annotations

import shutil
import socket
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

# The names of its sockets may have 107 bytes, and the folders of tests have many of these.
_ROOT = Path("/tmp") if Path("/tmp").is_dir() else Path(tempfile.gettempdir())  # noqa: S108
# A node that does not answer any more is given up after seconds instead of a minute.
_SOON = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 1000, "health_check_failure_threshold": 3}
_NODE: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 80 << 20, "include_dashboard": False}


@pytest.fixture(scope="package")
def two_nodes() -> Iterator[Any]:
    """A `ray.cluster_utils.Cluster`; "ray" connects to it, and so does the variable CLIENT_ADDRESS, as a client."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Ray's own launcher
        cluster_utils = pytest.importorskip("ray.cluster_utils")
        folder = Path(tempfile.mkdtemp(prefix="eb", dir=_ROOT))
        (folder / "ray").mkdir()
        patch.setenv("RAY_TMPDIR", str(folder))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("OMP_NUM_THREADS", "1")
        port = _free_port()
        patch.setenv("CLIENT_ADDRESS", f"ray://127.0.0.1:{port}")
        head = _NODE | {"ray_client_server_port": port, "_system_config": _SOON}
        cluster = cluster_utils.Cluster(initialize_head=True, head_node_args=head)
        try:
            cluster.add_node(**_NODE)
            patch.setenv("RAY_ADDRESS", cluster.address)
            yield cluster
        finally:
            cluster.shutdown()
            shutil.rmtree(folder, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
