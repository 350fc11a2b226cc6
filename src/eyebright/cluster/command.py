"""The command by which a run came about, for a run that is made by a process of Ray."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence


@contextlib.contextmanager
def named(command: Sequence[str]) -> Iterator[None]:
    """Have runs that begin in this process name the user's command, where they would name Ray's, for a while.

    Parameters
    ----------
    command : `sys.argv` of the process that the user started.
    """
    own = sys.argv
    sys.argv = list(command)
    try:
        yield
    finally:
        sys.argv = own
