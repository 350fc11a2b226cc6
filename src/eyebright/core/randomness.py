"""Randomness as a pure function of what it is for: purpose, seed, epoch, batch. Never a global state.

So a resumed training draws exactly what the uninterrupted one would have drawn, and neither the number
of workers nor what else is switched on changes a draw.
"""

from __future__ import annotations

import zlib

import numpy as np


def stream(purpose: str, seed: int, *position: int) -> np.random.Generator:
    """The generator of `purpose` at `position` (epoch, batch number), independent of all others of `seed`."""
    return np.random.default_rng(_sequence(purpose, seed, position))


def torch_seed(purpose: str, seed: int, *position: int) -> int:
    """A seed for torch's own generators; 32 bits, since that of the CPU keeps no more."""
    return int(_sequence(purpose, seed, position).generate_state(1, np.uint32)[0])


def _sequence(purpose: str, seed: int, position: tuple[int, ...]) -> np.random.SeedSequence:
    return np.random.SeedSequence(seed, spawn_key=(zlib.crc32(purpose.encode()), *position))
