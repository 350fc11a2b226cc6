"""Streams: the same for the same place, independent of every other."""

from __future__ import annotations

import numpy as np

from eyebright.core.randomness import stream, torch_seed


def test_a_stream_is_a_function_of_its_place() -> None:
    first = stream("flip", 1, 2, 3).random(8)
    np.random.default_rng().random(100)
    assert np.array_equal(first, stream("flip", 1, 2, 3).random(8))


def test_neighbouring_places_draw_independently() -> None:
    places = [("flip", 0, 0, 0), ("flip", 0, 0, 1), ("flip", 0, 1, 0), ("flip", 1, 0, 0), ("crop", 0, 0, 0)]
    draws = np.stack([stream(*place).random(10_000) for place in places])
    correlation = np.corrcoef(draws) - np.eye(len(places))
    assert np.abs(correlation).max() < 0.05  # five standard errors of 10,000 independent draws


def test_seeds_for_torch_do_not_collide_over_a_training() -> None:
    seeds = {torch_seed("dropout", 0, epoch, batch) for epoch in range(20) for batch in range(400)}
    assert len(seeds) >= 8000 - 2  # of 2**32; a collision has a chance of less than one in a hundred
    assert max(seeds) < 2**32
