"""`predict`: what a model says of every image of a set."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
import torch

from eyebright.core.device import Plan, choose
from eyebright.core.errors import DataError, ModelError
from eyebright.core.settings.training import Views
from eyebright.data.batches import Batches
from eyebright.data.image_set import ImageSet
from eyebright.data.progress import Progress
from eyebright.evaluation.predictions import Predictions
from eyebright.evaluation.views import averaged
from eyebright.models.classifier import Classifier, evaluating


def predict(
    model: Classifier,
    images: ImageSet,
    *,
    batch_size: int = 500,
    views: Views = "one",
    plan: Plan | None = None,
    progress: Progress | None = None,
) -> Predictions:
    """Logits of `model` for `images`, in their order. The model is given back as it was.

    Parameters
    ----------
    model : on any device, in training or evaluation mode.
    images : of the model's size, channels and classes.
    batch_size : images at a time; changes speed and memory, not the result (beyond rounding).
    views : over which the logits are averaged, see `eyebright.evaluation.views`.
    plan : how to compute; default: this machine's, in fp32, for that is what is exported.
    progress : called as `progress("predict test", done, total)` in images.

    Raises
    ------
    DataError : there are no images.
    ModelError : the images have another size, or other classes, than the model.
    """
    if len(images) == 0:
        raise DataError(
            f"the {images.split} split of {images.store.source} is empty.", "Predict on a split that holds images."
        )
    if images.classes != model.spec.classes:
        raise ModelError(
            f"the model knows the classes {', '.join(model.spec.classes)}, but {images.store.source} has "
            f"{', '.join(images.classes)}.",
            "Load the images with the recipe that the model was trained with.",
        )
    plan = plan or choose(precision="fp32")
    batches = Batches(images, batch_size, device=plan.device, channels_last=plan.channels_last)
    logits = np.empty((len(images), len(images.classes)), dtype=np.float32)
    done = 0
    with lent(model, plan), plan.applied(), torch.inference_mode(), plan.autocast():
        for batch in batches.epoch(0):
            logits[done : done + len(batch)] = averaged(model, batch.images, views).cpu().numpy()  # (B, K)
            done += len(batch)
            if progress is not None:
                progress(f"predict {images.split}", done, len(images))
    source = images.store.source
    return Predictions(logits, images.labels, images.index, images.classes, images.split, source, views)


@contextlib.contextmanager
def lent(model: Classifier, plan: Plan) -> Iterator[None]:
    """Put the model into evaluation mode and where `plan` wants it, then back as it was."""
    weights = [(parameter, parameter.data) for parameter in model.parameters()]
    device = model.mean.device
    with evaluating(model):
        try:
            plan.place(model)
            yield
        finally:
            model.to(device)  # the buffers; the weights return bit for bit and in their layout:
            for parameter, data in weights:
                parameter.data = data
