"""The squares that occlusion hides, one after the other. No torch: a bundle explains its answers too."""

from __future__ import annotations

from collections.abc import Iterator

_SHARE = 4  # a square is as long as a fourth of the side


def squares(length: int) -> Iterator[slice]:
    """Where the squares lie along one side: as long as a fourth of it, each beginning in the middle of the last."""
    edge = max(1, round(length / _SHARE))
    last = length - edge
    for start in range(0, last, max(1, edge // 2)):
        yield slice(start, start + edge)
    yield slice(last, length)
