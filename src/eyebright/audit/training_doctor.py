"""The training doctor: what is wrong with a training, by what evidence, and one change to try.

`examine` gathers the evidence of a run and asks `diagnose`, which applies the rules of `training_rules` and
`image_rules`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from eyebright.audit import image_rules, training_rules
from eyebright.audit.case import SEVERITIES, Activity, Case, ImageEvidence, Remark
from eyebright.audit.gradients import LayerGradient, gradients, movement
from eyebright.audit.leakage import leaks
from eyebright.audit.pixel_statistics import pixel_statistics
from eyebright.core import device
from eyebright.core.errors import EyebrightError, RunError
from eyebright.core.input_spec import InputSpec
from eyebright.core.randomness import torch_seed
from eyebright.core.recipe import Recipe
from eyebright.data.image_set import Splits
from eyebright.evaluation.scores import Scores
from eyebright.models import registry
from eyebright.training import checkpoint
from eyebright.training.run import Run

__all__ = ["Activity", "ImageEvidence", "Remark", "diagnose", "examine"]


def examine(run: Run, splits: Splits, *, activity: Sequence[Activity] = ()) -> tuple[Remark, ...]:
    """Gather the evidence of a judged run and diagnose it.

    Parameters
    ----------
    run : with scores, see `eyebright.judge`.
    splits : the images that it began with, from `eyebright.load(run.recipe.data)`.
    activity : of the stages, where it is known: `eyebright.insight.inside.activity`.

    Raises
    ------
    RunError : the run was not judged, has no model, or was begun with other images.
    """
    splits = run.select(splits)
    run.check_data(splits)
    if not run.scores:
        raise RunError(f"{run.path} was not judged yet.", f"Judge it: eyebright evaluate {run.path}")
    model = run.model
    settings = run.recipe.training
    plan = device.choose(settings.device, "fp32", settings.threads, settings.deterministic)
    moved = _movement(run, model.spec)
    layers = [
        dataclasses.replace(layer, moved=moved.get(layer.layer))
        for layer in gradients(model, splits.train, seed=run.recipe.seed, plan=plan)
    ]
    pixels = {part.split: pixel_statistics(part, seed=run.recipe.seed) for part in splits if len(part)}
    return diagnose(
        run.history,
        recipe=run.recipe,
        scores=run.scores,
        activity=activity,
        gradients=layers,
        environment=run.environment,
        images=ImageEvidence(model.spec, pixels, leaks(splits)),
    )


def diagnose(  # noqa: PLR0913 - a kind of evidence each, all but the first three optional
    history: Sequence[Mapping[str, float]],
    *,
    recipe: Recipe,
    scores: Mapping[str, Scores],
    activity: Sequence[Activity] = (),
    gradients: Sequence[LayerGradient] | None = None,
    environment: Mapping[str, str] | None = None,
    images: ImageEvidence | None = None,
) -> tuple[Remark, ...]:
    """The faults that the evidence shows, the most serious first; empty where it shows none.

    Parameters
    ----------
    history : a record an epoch, as `Run.history`.
    recipe : what was run.
    scores : of the best model, by split.
    activity : of the stages; default: dead units are read from the gradients.
    gradients : of the layers of the best model, with how far they moved.
    environment : as `Run.environment`; its plan says in which precision the history was computed.
    images : what the images themselves say.
    """
    case = Case(history, recipe, scores, activity, gradients or (), environment or {}, images)
    found = [*training_rules.remarks(case), *image_rules.remarks(case)]
    return tuple(sorted(found, key=lambda remark: SEVERITIES.index(remark.severity)))


def _movement(run: Run, spec: InputSpec) -> dict[str, float]:
    """How far each layer came in the whole training; empty where the last checkpoint was removed.

    The initial weights are a function of the recipe, on one version of PyTorch. On another they are others, so that
    everything seems to have moved far, which raises no alarm.
    """
    path = run.last_checkpoint
    if not path.is_file():
        return {}
    try:
        initial = registry.build(run.recipe.model, spec, seed=torch_seed("initial weights", run.recipe.seed))
    except EyebrightError:  # the file that pretrained weights came from is no longer there; the run does not need it
        return {}
    trained = registry.skeleton(run.recipe.model, spec)
    checkpoint.restore_model(trained, path)
    return movement(initial, trained)
