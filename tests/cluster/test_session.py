from __future__ import annotations

import contextlib
import os
import subprocess
import sys

import pytest

from eyebright.cluster.session import connected
from eyebright.core.errors import ClusterError, MissingExtraError


def test_another_address_is_refused() -> None:
    with pytest.raises(ClusterError, match="'localhost:6379' is not the address"), connected("localhost:6379"):
        pass


def test_a_cluster_that_is_away_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray")

    def init(*_: object, **options: object) -> None:
        assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
        raise ConnectionError("nobody answers")

    monkeypatch.delenv("RAY_USAGE_STATS_ENABLED", raising=False)
    monkeypatch.setattr(ray, "init", init)
    message = "no Ray cluster can be used at ray://far:10001: ConnectionError: nobody answers"
    with pytest.raises(ClusterError, match=message), connected("ray://far:10001"):
        pass
    assert "RAY_USAGE_STATS_ENABLED" not in os.environ


@pytest.mark.parametrize("failures", [2, 3])
def test_a_connection_that_fails_by_a_race_is_tried_three_times(monkeypatch: pytest.MonkeyPatch, failures: int) -> None:
    ray = pytest.importorskip("ray")
    attempts: list[object] = []

    def init(address: object, **_: object) -> None:
        attempts.append(address)
        if len(attempts) <= failures:
            raise ConnectionAbortedError("the server did not start")

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    fails = pytest.raises(ClusterError, match="did not start") if failures == 3 else contextlib.nullcontext()
    with fails, connected("ray://far:10001"):
        pass
    assert attempts == ["ray://far:10001"] * 3


def test_without_ray_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"eyebright\[cluster\]"), connected():
        pass


def test_ray_is_imported_only_when_it_is_asked_for() -> None:
    code = "import sys, eyebright.cluster.prediction, eyebright.cluster.trials, eyebright.cluster.training;"
    subprocess.run([sys.executable, "-c", f"{code} sys.exit('ray' in sys.modules)"], check=True)
