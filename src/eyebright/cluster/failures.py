"""Ray's failures in our words."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from eyebright.core.errors import ClusterError, EyebrightError


@contextlib.contextmanager
def in_our_words() -> Iterator[None]:
    """Turn what Ray raises into the error of ours that it came from on some machine, else into a `ClusterError`."""
    import ray

    try:
        yield
    except (ray.exceptions.RayError, ConnectionError) as error:
        ours = next((cause for cause in _causes(error) if _is_ours(cause)), None)
        if ours is not None:
            raise ours from error
        raise ClusterError(
            f"the cluster failed: {words(error)}", "Look at it with `ray status`, then give the same command again."
        ) from error


def _is_ours(error: BaseException) -> bool:
    import ray

    # Where a task failed by an error of ours, Ray raises one that is of both kinds.
    return isinstance(error, EyebrightError) and not isinstance(error, ray.exceptions.RayTaskError)


def _causes(error: Any) -> Iterator[BaseException]:
    """An error and what it came from, on whatever machine; Ray wraps errors of errors."""
    waiting, seen = [error], set[int]()
    while waiting:
        found = waiting.pop(0)
        if isinstance(found, BaseException) and id(found) not in seen:
            seen.add(id(found))
            yield found
            waiting += [getattr(found, "cause", None), found.__cause__, found.__context__]
            waiting += getattr(found, "worker_failures", {}).values()  # of Ray Train


def words(error: BaseException) -> str:
    """The deepest cause, in a line: what Ray says above it is the trace of a call."""
    *_, deepest = _causes(error)
    lines = str(deepest).strip().splitlines() or [""]
    said = lines[-1] if any(line.startswith("Traceback") for line in lines) else lines[0]
    return f"{type(deepest).__name__}: {said}" if said else type(deepest).__name__
