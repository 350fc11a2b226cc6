"""Answers for loose image files: the top classes of each."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from eyebright.core.device import Plan, choose
from eyebright.core.errors import BadImageError
from eyebright.core.processor import available_threads
from eyebright.core.settings.data import OnBadImage
from eyebright.data.decode import load_image
from eyebright.data.image_files import find_images
from eyebright.evaluation.answer import Answer
from eyebright.evaluation.predict import lent
from eyebright.models.classifier import Classifier


def classify(
    model: Classifier,
    paths: str | Path | Iterable[str | Path],
    *,
    top: int = 3,
    batch_size: int = 64,
    on_bad_image: OnBadImage = "error",
    plan: Plan | None = None,
) -> Iterator[Answer]:
    """Classify image files and folders of them, one batch at a time, in order.

    Parameters
    ----------
    model : such as `run.model`; its InputSpec says how images are resized.
    paths : a file or folder, or several; folders are searched to any depth.
    top : number of classes in an answer.
    batch_size : images in memory at once.
    on_bad_image : raise at a file that cannot be decoded, or answer with its problem.
    plan : the machine; default: fp32 on the best device.

    Raises
    ------
    BadImageError : a file cannot be decoded and `on_bad_image` is "error".
    DataError : a path does not exist.
    """
    plan = plan or choose(precision="fp32")
    top = min(top, len(model.spec.classes))
    files = find_images([paths] if isinstance(paths, str | Path) else paths)
    with ThreadPoolExecutor(available_threads()) as pool:
        while names := list(itertools.islice(files, batch_size)):
            decoded = list(pool.map(lambda path: _decode(path, model, on_bad_image), names))
            whole = [image for image in decoded if not isinstance(image, str)]
            ranked = iter(_rank(model, whole, top, plan) if whole else [])
            for name, image in zip(names, decoded, strict=True):
                if isinstance(image, str):
                    yield Answer(str(name), (), (), image)
                else:
                    yield Answer(str(name), *next(ranked))


def _decode(path: Path, model: Classifier, on_bad_image: OnBadImage) -> NDArray[np.uint8] | str:
    try:
        return load_image(path, model.spec)
    except BadImageError as error:
        if on_bad_image == "error":
            raise
        return error.cause


def _rank(
    model: Classifier, images: list[NDArray[np.uint8]], top: int, plan: Plan
) -> list[tuple[tuple[str, ...], tuple[float, ...]]]:
    batch = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).to(plan.device)  # (B, C, H, W)
    with lent(model, plan), plan.applied(), torch.inference_mode(), plan.autocast():
        probabilities, classes = model(batch).softmax(dim=1).topk(top, dim=1)  # (B, top) each
    names = model.spec.classes
    return [
        (tuple(names[k] for k in row), tuple(values))
        for row, values in zip(classes.tolist(), probabilities.tolist(), strict=True)
    ]
