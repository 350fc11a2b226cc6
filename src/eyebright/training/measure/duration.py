"""How long a training takes: the arithmetic, from what its parts cost."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from eyebright.core.recipe import Recipe
from eyebright.data.image_set import Splits
from eyebright.training.fit import judged_images
from eyebright.training.measure.phases import Phase, phases

# Above these many seconds a duration is told in the next larger units.
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


@dataclasses.dataclass(frozen=True)
class Duration:
    """Seconds of a training's parts.

    Attributes
    ----------
    training : all steps.
    epoch_ends : validation and checkpoints.
    judging : the final predictions on all splits.
    so_far : what is over already, preparations included.
    """

    training: float
    epoch_ends: float
    judging: float
    so_far: float = 0.0

    @property
    def total(self) -> float:
        """Seconds of all of them."""
        return self.so_far + self.training + self.epoch_ends + self.judging

    def __str__(self) -> str:
        parts = {"so far": self.so_far, "training": self.training}
        parts |= {"validation": self.epoch_ends, "judging": self.judging}
        named = ", ".join(f"{name} {in_words(seconds)}" for name, seconds in parts.items() if seconds)
        return f"{in_words(self.total)} ({named})"


@dataclasses.dataclass(frozen=True)
class Costs:
    """Seconds that parts of a training take.

    Attributes
    ----------
    image : from the phase to a step's share for one training image, with its loading.
    epoch_end : validation and checkpoints of one epoch.
    judged_image : the answer about one image in the final judging, all views of it.
    """

    image: Callable[[Phase], float]
    epoch_end: float
    judged_image: float


def remaining(recipe: Recipe, splits: Splits, costs: Costs, *, done: float = 0.0, ended: int = 0) -> Duration:
    """What is left of a training, unless patience ends it earlier.

    Parameters
    ----------
    recipe, splits : of the training.
    costs : measured.
    done : epochs that are trained; half of one counts.
    ended : epochs that are validated.
    """
    epochs = recipe.training.epochs
    image = sum(share * costs.image(phase) for phase, share in phases(recipe.training, done / epochs).items())
    return Duration(
        training=image * epochs * len(splits.train),
        epoch_ends=costs.epoch_end * (epochs - ended),
        judging=costs.judged_image * sum(len(judged_images(part, recipe)) for part in splits),
    )


def in_words(seconds: float) -> str:
    """In the units that one would say: "0.42 s", "38 s", "6 min 20 s", "2 h 05 min", "3 d 4 h"."""
    if round(seconds, 1) < 10:
        return f"{seconds:.2g} s"
    if round(seconds) < _MINUTE:
        return f"{seconds:.0f} s"
    if round(seconds) < _HOUR:
        return "{} min {:02d} s".format(*divmod(round(seconds), 60))
    if round(seconds / 60) < _DAY // 60:
        return "{} h {:02d} min".format(*divmod(round(seconds / 60), 60))
    return "{} d {} h".format(*divmod(round(seconds / 3600), 24))
