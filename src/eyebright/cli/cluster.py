"""The options by which a command works on a Ray cluster."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Annotated

import typer

from eyebright.core.errors import ClusterError

On = Annotated[
    str | None, typer.Option("--on", metavar="CLUSTER", help="Work on a Ray cluster: ray, or ray://HOST:PORT.")
]
Workers = Annotated[int | None, typer.Option(min=1, help="With --on: processes at a time.")]


@contextlib.contextmanager
def cluster(on: str | None) -> Iterator[None]:
    """A connection to the cluster that was named, for a while.

    Raises
    ------
    ClusterError : it does not answer; or none was named, though another option is for one.
    """
    if on is None:
        raise ClusterError("--workers is for a cluster.", "Name it with --on ray, or leave --workers away.")
    from eyebright.cluster.session import connected

    with connected(on):
        yield
