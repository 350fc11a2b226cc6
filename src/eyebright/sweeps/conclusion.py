"""The end of a sweep: the winner is tested, once, and the recipe as it was beside it."""

from __future__ import annotations

import dataclasses
import logging
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from eyebright.core.errors import MissingExtraError, StorageError, SweepError, TrackingError, failure
from eyebright.core.files import write_text
from eyebright.sweeps import definition as definitions
from eyebright.sweeps.standing import Sweep
from eyebright.training.callbacks import Callback
from eyebright.training.completion import completed
from eyebright.training.fit import judge
from eyebright.training.run import Run
from eyebright.training.tracking.trackers import publish

if TYPE_CHECKING:
    from eyebright.sweeps.trial import Images, Trial

BEST = "best.yaml"

_logger = logging.getLogger("eyebright")


def conclude(found: Sweep, images: Images, watchers: Sequence[Callback] = ()) -> Sweep:
    """Test the winner, and the recipe as it was beside it; each once.

    Parameters
    ----------
    found : with no trial running.
    images : gives the images of a choice of data.
    watchers : of the training of the recipe as it was, should it be none of the trials.

    Raises
    ------
    SweepError : there is no winner, since all trials failed or no time was left for one.
    """
    best = found.best
    if best is None:
        raise _failure(found)
    # A search that went on after its winner was tested has asked the test images more than once. It is written down
    # before they are asked: a kill must not make it forgotten.
    tested = {"tested": sorted({*found.results.get("tested", ()), best.number})}
    definitions.write(found.path, found.definition, {**found.results, **tested})
    results: dict[str, Any] = {
        "trials": dict(Counter(trial.state for trial in found.trials)),
        "winner": _tested(found, best, images),
        "default": _default(found, images, watchers),
        **tested,
    }
    write_text(found.path / BEST, found.recipe(best).to_yaml())
    definitions.write(found.path, found.definition, results)
    return dataclasses.replace(found, results=results)


def _tested(found: Sweep, trial: Trial, images: Images) -> dict[str, Any]:
    """The run of a trial, judged on the test images; trained anew where it is on another machine."""
    run = Run(definitions.trial_folder(found.path, trial.number), trusted=True)  # of our own recipe
    if not (run.path / "run.json").is_file():
        chosen = found.recipe(trial)
        run = completed(chosen, found.path / "anew" / run.path.name, lambda: images(chosen.data), callbacks=())
    elif not run.scores:
        judge(run, images(run.recipe.data))
    return {"trial": trial.number} | _said(found, run)


def _default(found: Sweep, images: Images, watchers: Sequence[Callback]) -> dict[str, Any]:
    """The same of the recipe as it was. Where it is none of the trials, it is trained: else nothing says whether the
    sweep was worth its time.
    """
    if found.default is not None:
        return _tested(found, found.default, images)
    chosen = found.definition.recipe
    folder = found.path / "default"
    if not folder.exists():
        _logger.info("the recipe as it was is none of the finished trials: it is trained to compare with.")
    try:
        run = completed(chosen, folder, lambda: images(chosen.data), callbacks=watchers)
    except (StorageError, MissingExtraError):
        raise
    except Exception as error:  # noqa: BLE001 (whatever it dies of, such as memory, the winner stands)
        return {"trial": None, "failure": failure(error)}
    return {"trial": None} | _said(found, run)


def _said(found: Sweep, run: Run) -> dict[str, Any]:
    _publish(run)
    return {
        "run": run.path.relative_to(found.path).as_posix(),
        "accuracy": {split: round(score.accuracy.value, 6) for split, score in run.scores.items()},
    }


def _publish(run: Run) -> None:
    """Give the scores to the tracker, if there is one; the run has them whether it answers or not."""
    try:
        publish(run)
    except TrackingError as error:
        _logger.warning("%s", error)


def _failure(found: Sweep) -> SweepError:
    failed = found.of("failed")
    if not failed:
        return SweepError(
            "no trial was finished, so there is nothing to choose from.",
            f"Give it more time: eyebright sweep --resume {found.path}",
        )
    reasons = Counter(trial.outcome.failure.partition(":")[0] for trial in failed)
    named = ", ".join(f"{count} times {reason}" for reason, count in reasons.most_common())
    return SweepError(
        f"all {len(failed)} trials failed ({named}). Trial {failed[0].number}: {failed[0].outcome.failure}",
        "Sweep other values, or mend the recipe: eyebright train shows one training at a time.",
    )
