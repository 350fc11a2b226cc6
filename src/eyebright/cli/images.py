"""The images of a run for a command: where the run has them from, or where the user says that they are now."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from eyebright.cli.terminal import Bar

if TYPE_CHECKING:
    from eyebright.data.image_set import Splits
    from eyebright.training.run import Run


def given(**fields: str | None) -> dict[str, str]:
    """The fields `data.NAME` of a recipe that the user has set; None are those that stay."""
    return {f"data.{name}": value for name, value in fields.items() if value is not None}


def images_of(run: Run, changes: dict[str, str], bar: Bar | None = None) -> Splits:
    """The images, divided as the run divided them, loaded under a progress bar; `changes` are of `given`.

    Raises
    ------
    DataError : they are not there.
    RunError : there are fewer than the run began with, or its record of the splits is damaged.
    """
    from eyebright.data.load import load

    # The run knows its rows: no need to look for copies among the images again.
    settings = dataclasses.replace(run.recipe.replace(**changes).data, leave_out_copies=False)
    if bar is not None:
        return run.select(load(settings, progress=bar))
    with Bar() as own:
        return run.select(load(settings, progress=own))
