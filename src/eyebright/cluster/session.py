"""A connection to a Ray cluster, for a while. Ray is imported when somebody connects."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator

from eyebright.cluster.failures import in_our_words, words
from eyebright.core.errors import ClusterError, MissingExtraError

HERE = "ray"
_ELSEWHERE = "ray://"

# What Ray is told where the user has not told it otherwise: it would send statistics about its use to its makers.
_DEFAULTS = {"RAY_USAGE_STATS_ENABLED": "0"}

# One in fourteen connections through Ray's client fails by a race in its server, with no fault of anybody
# (https://github.com/ray-project/ray/issues/63202).
_ATTEMPTS = 3


@contextlib.contextmanager
def connected(address: str = HERE) -> Iterator[None]:
    """Have the tasks of this process run on a Ray cluster, for a while. One that is connected already is used as it is.

    Parameters
    ----------
    address : "ray" is the cluster that this machine belongs to (by `ray start` or RAY_ADDRESS); without one, a cluster
        of this machine alone is started, and ends with the context. "ray://HOST:PORT" is that of another machine.

    Raises
    ------
    ClusterError : no cluster answers there; in the context, what Ray itself fails at.
    MissingExtraError : Ray is not installed.
    """
    try:
        import ray
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise
        raise MissingExtraError("ray", "cluster") from error
    if address != HERE and not address.startswith(_ELSEWHERE):
        raise ClusterError(f"{address!r} is not the address of a cluster.", "Give ray, or ray://HOST:10001.")
    if ray.is_initialized():
        with in_our_words():
            yield
        return
    with _silent():
        _connect(address)
        try:
            with in_our_words():
                yield
        finally:
            ray.shutdown()


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Keep what Ray says of lost processes out of standard output, where our results go.

    It has no public switch for that; this is the one that its debugger uses.
    """
    from ray._private import worker

    worker._worker_logs_enabled = False
    try:
        yield
    finally:
        worker._worker_logs_enabled = True


def _connect(address: str) -> None:
    import ray

    unset = {name: value for name, value in _DEFAULTS.items() if name not in os.environ}
    os.environ.update(unset)  # the processes of a cluster that is started now inherit it
    try:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                ray.init(
                    None if address == HERE else address,
                    include_dashboard=False,
                    log_to_driver=False,
                    logging_level=logging.CRITICAL,
                )
                return
            except ConnectionAbortedError:
                if attempt == _ATTEMPTS:
                    raise
                ray.shutdown()
    except Exception as error:  # it has no common class for a cluster that is away, busy or of another version
        raise ClusterError(
            f"no Ray cluster can be used at {address}: {words(error)}",
            "Look at it with `ray status`. Python and Ray must have the same versions on all its machines.",
        ) from error
    finally:
        for name in unset:
            del os.environ[name]
