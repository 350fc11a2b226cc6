"""`eyebright train --minutes N`: as good a model as the time allows for."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eyebright.cli.terminal import Bar, remarks
from eyebright.core.errors import RecipeError

if TYPE_CHECKING:
    from eyebright.core.settings.data import DataSettings
    from eyebright.data.image_set import Splits
    from eyebright.evaluation.scores import Scores
    from eyebright.training.budget import Budget
    from eyebright.training.run import Run


def train_in(
    minutes: float, what: str | None, overrides: list[str], changes: dict[str, Any], out: Path | None
) -> tuple[Run, Splits, dict[str, Scores]]:
    """Choose, train and judge in so many minutes; the report comes after them."""
    begun = time.perf_counter()  # before torch is imported
    from eyebright.training.budget import choose, train_within
    from eyebright.training.candidates import candidates
    from eyebright.training.fit import judge, new_folder
    from eyebright.training.progress import ProgressBar

    if what is None:
        raise RecipeError("nothing to train.", "Name images or a recipe: eyebright train cifar10 --minutes 5")
    if any(override.split("=")[0] in {"epochs", "training.epochs"} for override in overrides):
        raise RecipeError("--minutes chooses the epochs.", "Give either --minutes or epochs=...")
    found, reason = candidates(what, overrides, changes)
    _say(reason)
    budget = choose(found, _Images().load, 60 * minutes, begun=begun, tell=_say)
    _say(f"plan: {budget.recipe.name}, {budget.recipe.training.epochs} epochs; predicted time: {budget.predicted}")
    folder = out or new_folder(budget.recipe)
    try:
        run = train_within(budget, folder, [ProgressBar(remarks())], _say)
    except KeyboardInterrupt:
        if (folder / "run.json").is_file():  # else it had not begun
            _say(f"stopped. Continue, without a limit of time, with: eyebright train --resume {folder}")
        raise
    scores = judge(run, budget.splits)
    _say(_took(budget))
    return run, budget.splits, scores


class _Images:
    """The images that were loaded last: candidates of one size share them."""

    def __init__(self) -> None:
        self._loaded: tuple[DataSettings, Splits] | None = None

    def load(self, settings: DataSettings) -> Splits:
        from eyebright.data.load import load

        if self._loaded is None or self._loaded[0] != settings:
            self._loaded = None  # two sizes need not fit into memory together
            with Bar() as bar:
                self._loaded = settings, load(settings, progress=bar)
        return self._loaded[1]


def _took(budget: Budget) -> str:
    from eyebright.training.measure.duration import in_words

    took = in_words(time.perf_counter() - budget.begun)
    return (
        f"everything up to here took {took}; {in_words(budget.predicted.total)} were predicted, "
        f"{in_words(budget.seconds)} were given"
    )


def _say(sentence: str) -> None:
    remarks().print(sentence, soft_wrap=True)
