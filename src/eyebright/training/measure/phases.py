"""Phases: parts of a training whose steps all cost the same.

Progressive resizing makes early steps cheaper, freezing makes late ones so.
"""

from __future__ import annotations

import dataclasses

import torch
from torch.utils.flop_counter import FlopCounterMode

from eyebright.core.recipe import Recipe
from eyebright.core.settings.training import TrainingSettings
from eyebright.models.classifier import Classifier, evaluating
from eyebright.training import freezing, progressive


@dataclasses.dataclass(frozen=True)
class Phase:
    """What the cost of a step depends on.

    Attributes
    ----------
    scale : of the training images.
    frozen : stages of the body that no longer learn.
    learning : where not None, the only stages of the body that learn yet.
    """

    scale: float = 1.0
    frozen: tuple[str, ...] = ()
    learning: tuple[str, ...] | None = None

    def __str__(self) -> str:
        size = [] if self.scale == 1 else [f"at {self.scale:g} of the size"]
        only = [] if self.learning is None else [f"of the body {' and '.join(self.learning) or 'nothing'} learns"]
        return ", ".join(size + [f"{name} frozen" for name in self.frozen] + only)


def phase_at(settings: TrainingSettings, done: float) -> Phase:
    """The phase when the share `done` of the training is over."""
    scale = progressive.scale_at(settings.progressive, done)
    return Phase(scale, freezing.frozen_at(settings, done), freezing.learning_at(settings, done))


def phases(settings: TrainingSettings, done: float = 0.0) -> dict[Phase, float]:
    """Each phase that comes after the share `done` of the training, and its own share."""
    borders = {until for until, _ in settings.progressive} | set(settings.freeze.values()) | {1.0}
    borders |= set((settings.unfreeze or {}).values())
    found: dict[Phase, float] = {}
    for until in sorted(borders):
        if until > done:
            phase = phase_at(settings, done)
            found[phase] = found.get(phase, 0.0) + until - done
            done = until
    return found


def only(recipe: Recipe, phase: Phase) -> Recipe:
    """The recipe with all of its training in that phase."""
    sizes = [] if phase.scale == 1 else [[1.0, phase.scale]]
    return recipe.replace(progressive=sizes, freeze=dict.fromkeys(phase.frozen, 0.0), unfreeze=phase.learning)


def training_flops(model: Classifier, phase: Phase) -> int:
    """Of one training image, forward and backward, in convolutions and matrix products.

    The weights of frozen stages need no gradients; where all before them is frozen too, their maps need none either.
    The model is left as it was.
    """
    spec = model.spec
    height, width = (progressive.size(pixels, phase.scale) for pixels in (spec.height, spec.width))
    image = torch.zeros(1, spec.channels, height, width, device=model.mean.device)
    learning = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    counter = FlopCounterMode(display=False)
    with evaluating(model), counter:  # in evaluation mode one image is enough for batch normalisation
        freezing.hold(model, phase.frozen, phase.learning)
        model(image, any_size=True).sum().backward()
    for parameter, learns in learning:
        parameter.requires_grad_(learns)
        parameter.grad = None
    return counter.get_total_flops()
