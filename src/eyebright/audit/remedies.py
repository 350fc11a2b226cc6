"""One change to try for each fault: the first on its ladder that the recipe has not taken yet.

A remedy is a sentence and the overrides that carry it out, in the grammar of the command line.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

from eyebright.core.recipe import Recipe
from eyebright.core.settings.augment import AugmentSettings
from eyebright.core.settings.model import MLPSettings
from eyebright.core.settings.optimizer import learning_rates

# Augmentation that leaves the class what it is; of sources that are not named here, pictures of things are assumed.
_AUGMENTATIONS = {"digits": "digits", "mnist": "digits", "emotions": "faces"}

_DROPOUT = 0.3  # between 0.2, which convolutions stand everywhere, and 0.5, which is for fully connected layers
_SMOOTHING = 0.1  # Szegedy et al., "Rethinking the Inception Architecture for Computer Vision" (2015)
_PATIENCE = 5  # epochs; longer than a validation score wavers, shorter than most trainings
_WEIGHT_DECAY = {"adam": 5e-4, "adamw": 0.05, "sgd": 5e-4}  # usual where images are few
_STRONG_DROPOUT = 0.2  # beyond it, dropout is the first suspect of a network that cannot learn its training images
_MOVED = 0.3  # share of their initial length that the weights of a short but sound training move at least
_LARGEST_STEP = 3  # powers of ten by which a learning rate is raised at most at a time


@dataclasses.dataclass(frozen=True)
class Remedy:
    """One change to try.

    Attributes
    ----------
    change : what to do and why, a sentence.
    overrides : the same for the command line: `eyebright train RECIPE OVERRIDES`.
    """

    change: str
    overrides: tuple[str, ...]


def brake(recipe: Recipe) -> Remedy:
    """Against overfitting."""
    return next(_brakes(recipe))


def _brakes(recipe: Recipe) -> Iterator[Remedy]:
    model: Any = recipe.model  # its switches differ by name
    if recipe.augment == AugmentSettings():
        chosen = _AUGMENTATIONS.get(recipe.data.source, "standard")
        yield Remedy(f"Augment the training images ({chosen}), so that none is seen twice.", (f"augment={chosen}",))
    if model.name == "simple_cnn":
        yield Remedy("Take the network with batch normalisation and dropout.", ("model=regularized_cnn",))
    if getattr(model, "dropout", None) == 0:
        yield Remedy("Switch dropout on, so that no unit relies on another.", (f"model.dropout={_DROPOUT}",))
    usual = _WEIGHT_DECAY.get(recipe.optimizer.name, 0)
    if recipe.optimizer.weight_decay < usual:
        yield Remedy("Let large weights decay faster.", (f"optimizer.weight_decay={usual:g}",))
    if recipe.training.label_smoothing == 0:
        yield Remedy("Ask for less certainty than 100 %.", (f"training.label_smoothing={_SMOOTHING}",))
    if recipe.augment.cutmix == 0:
        yield Remedy("Paste training images into each other (CutMix).", ("augment.cutmix=1.0",))
    patience = recipe.training.patience
    shorter = _PATIENCE if patience is None else max(1, min(_PATIENCE, patience // 2))
    yield Remedy("Stop when the validation score no longer improves.", (f"training.patience={shorter}",))


def push(recipe: Recipe, *, longer: bool) -> Remedy:
    """Against underfitting; `longer` says that the training was too short, for the loss was still falling."""
    return next(_pushes(recipe, longer))


def _pushes(recipe: Recipe, longer: bool) -> Iterator[Remedy]:
    model: Any = recipe.model
    if longer:
        yield Remedy("Train twice as long: it was still learning.", (f"training.epochs={2 * recipe.training.epochs}",))
    dropout = getattr(model, "dropout", 0)
    if dropout > _STRONG_DROPOUT:
        yield Remedy("Halve the dropout.", (f"model.dropout={dropout / 2:g}",))
    if recipe.augment.mixup or recipe.augment.cutmix:
        off = "augment.mixup=0" if recipe.augment.mixup else "augment.cutmix=0"
        yield Remedy("Do not mix images: the network has not learnt the plain ones yet.", (off,))
    wider = "Double the width of the network: it is too small for the task."
    for field in ("widths", "hidden"):
        sizes = getattr(model, field, None)
        if sizes and not isinstance(sizes, int):
            doubled = ",".join(str(2 * size) for size in sizes)
            yield Remedy(wider, (f"model.{field}=[{doubled}]",))
    if model.name == "wide_resnet":
        yield Remedy(wider, (f"model.width={2 * model.width}",))
    if model.name != "resnet18":
        yield Remedy("Take a larger network.", ("model=resnet18",))
    yield Remedy("Train twice as long.", (f"training.epochs={2 * recipe.training.epochs}",))


def shortcut(recipe: Recipe) -> Remedy:
    """Against gradients that vanish, and units that were never alive: a network that the error gets through."""
    model: Any = recipe.model
    if getattr(model, "batch_norm", None) is False:
        return Remedy(
            "Normalise after every convolution, which keeps signals and gradients alive.", ("model.batch_norm=true",)
        )
    if model.name == "mlp" and len(model.hidden) > len(MLPSettings().hidden):
        return Remedy("Take away layers: a plain network of this depth passes no error on.", ("model=mlp",))
    if model.name in {"mlp", "simple_cnn"}:
        return Remedy("Take a network with batch normalisation.", ("model=regularized_cnn",))
    if model.name != "resnet20":
        return Remedy("Take a network with shortcuts around its layers (He et al. 2015).", ("model=resnet20",))
    return Remedy("Take a network with fewer layers and batch normalisation.", ("model=regularized_cnn",))


def slower(recipe: Recipe) -> Remedy:
    """Against steps that are too large."""
    return Remedy("Take a tenth of the learning rate.", _scaled_rates(recipe, 0.1))


def faster(recipe: Recipe, moved: float) -> Remedy:
    """Against steps that are too small; `moved` is how far they brought the weights, a share of their length."""
    powers = _LARGEST_STEP if moved == 0 else round(math.log10(_MOVED / moved))
    factor = 10 ** max(1, min(_LARGEST_STEP, powers))
    return Remedy(f"Take {factor} times the learning rate.", _scaled_rates(recipe, factor))


def _scaled_rates(recipe: Recipe, factor: float) -> tuple[str, ...]:
    rates = learning_rates(recipe.optimizer)
    return tuple(f"optimizer.{name}={rate * factor:g}" for name, rate in rates.items())
