"""Freezing early stages while later ones still learn: Brock et al. (2017), "FreezeOut" (arXiv:1706.04983).

Early stages have the largest maps, and settle first. Name them from the first one on: through a frozen stage behind one
that learns, the gradients still pass.
"""

from __future__ import annotations

from collections.abc import Mapping

from eyebright.core.errors import ModelError, nearest
from eyebright.models.classifier import Classifier


def freeze(model: Classifier, shares: Mapping[str, float], done: float) -> None:
    """Let the named stages of the body learn until their share of the training is done, and no longer.

    Running statistics of norms go on.
    """
    for name, share in shares.items():
        model.body.get_submodule(name).requires_grad_(done < share)


def check(model: Classifier, shares: Mapping[str, float]) -> None:
    """Refuse names that the body does not have.

    Raises
    ------
    ModelError : names the stage and the nearest one.
    """
    stages = [name for name, _ in model.body.named_children()]
    for name in shares:
        if name not in stages:
            raise ModelError(f"{model.settings.name} has no stage {name!r} to freeze.", nearest(name, stages))
