"""A recipe that trains in a blink, and sweeps of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eyebright.core.recipe import Recipe, recipe
from eyebright.data.image_set import Splits
from eyebright.sweeps.standing import Sweep
from eyebright.sweeps.sweep import sweep

Begin = Callable[..., Sweep]

TINY = ["epochs=2", "batch_size=32", "lr=0.01", "model.hidden=[8]", "threads=1", "precision=fp32", "device=cpu"]


@pytest.fixture
def tiny() -> Recipe:
    return recipe("digits/mlp", TINY)


@pytest.fixture
def begin(tiny: Recipe, shades: Splits, tmp_path: Path) -> Begin:
    """Sweep fields of the tiny recipe over the shades."""

    def begin(fields: dict[str, Any], base: Recipe = tiny, name: str = "sweep", **options: Any) -> Sweep:
        options.setdefault("splits", shades)
        return sweep(base, fields, folder=tmp_path / name, **options)

    return begin
