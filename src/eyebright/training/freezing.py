"""Which stages learn, and when: freezing early ones, and unfreezing those of a pretrained body.

Early stages have the largest maps and settle first, so they may stop learning early: Brock et al. (2017), "FreezeOut"
(arXiv:1706.04983). Name them from the first one on: through a frozen stage behind one that learns, the gradients still
pass. A pretrained body is frozen first, and its last stages are let loose one after the other: Howard and Ruder (2018),
"Universal Language Model Fine-tuning" (arXiv:1801.06146), section 3.3.

A frozen stage is in evaluation mode: its norms keep the statistics that they have, and nothing in it is dropped.
"""

from __future__ import annotations

from collections.abc import Collection

from torch import nn

from eyebright.core.errors import ModelError, nearest
from eyebright.core.settings.training import TrainingSettings
from eyebright.models.classifier import Classifier

ALL = "all"  # stands for the whole body in `TrainingSettings.unfreeze`


def frozen_at(settings: TrainingSettings, done: float) -> tuple[str, ...]:
    """The stages that stopped learning before the share `done` of the training was over."""
    return tuple(name for name, share in settings.freeze.items() if done >= share)


def learning_at(settings: TrainingSettings, done: float) -> tuple[str, ...] | None:
    """The stages that have begun to learn by then; None where all of the body learns from the start."""
    if settings.unfreeze is None:
        return None
    return tuple(name for name, share in settings.unfreeze.items() if done >= share)


def changes(settings: TrainingSettings, before: float, done: float) -> bool:
    """Whether a stage begins or stops to learn between these two shares of the training."""
    return any(at(settings, before) != at(settings, done) for at in (frozen_at, learning_at))


def freeze(model: Classifier, settings: TrainingSettings, done: float) -> None:
    """Let the stages learn that are to learn when the share `done` of the training is over, and no others.

    Parameters that the author of a custom body has frozen never learn.
    """
    if not settings.freeze and settings.unfreeze is None:
        return
    hold(model, frozen_at(settings, done), learning_at(settings, done))


def hold(model: Classifier, frozen: Collection[str], learning: Collection[str] | None) -> None:
    """Freeze the body but for the stages in `learning` (None: nothing of it), and then those in `frozen`."""
    _let(model, model.body, learning is None or ALL in learning)
    for name in learning or ():
        if name != ALL:
            _let(model, _stage(model, name), True)
    for name in frozen:
        _let(model, _stage(model, name), False)


def check(model: Classifier, settings: TrainingSettings) -> None:
    """Refuse names that the body does not have.

    Raises
    ------
    ModelError : names the stage and the nearest one.
    """
    named = [(name, "freeze") for name in settings.freeze]
    named += [(name, "unfreeze") for name in settings.unfreeze or {} if name != ALL]
    for name, purpose in named:
        try:
            _stage(model, name)
        except AttributeError:
            stages = [
                path for path, part in model.network.named_modules() if path and any(True for _ in part.parameters())
            ]
            raise ModelError(
                f"{model.settings.name} has no stage {name!r} to {purpose}.", nearest(name, stages)
            ) from None


def _let(model: Classifier, stage: nn.Module, learn: bool) -> None:
    never = {id(value) for name, value in model.body.named_parameters() if name in model.never_learning}
    for parameter in stage.parameters():
        parameter.requires_grad_(learn and id(parameter) not in never)
    stage.train(learn and model.training)


def _stage(model: Classifier, name: str) -> nn.Module:
    """The part of the body at a path such as "layer4" or "blocks.11"; modules that only wrap may be left out of it."""
    try:
        return model.network.get_submodule(name)
    except AttributeError:
        return model.body.get_submodule(name)
