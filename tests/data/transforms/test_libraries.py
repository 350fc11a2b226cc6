"""Every transform of both libraries draws from the generators of its image alone."""

from __future__ import annotations

import threading
import warnings
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from eyebright.data.transforms.albumentations_library import Albumentations
from eyebright.data.transforms.library import Draws, Library
from eyebright.data.transforms.torchvision_library import Torchvision

# Arguments of those that have no defaults and are of use for pictures without boxes.
ARGUMENTS: dict[str, dict[str, Any]] = {
    "CenterCrop": {"size": 16},
    "ColorJitter": {"brightness": 0.2, "contrast": 0.2, "saturation": 0.2, "hue": 0.1},
    "ElasticTransform": {"sigma": 1.0},
    "GaussianBlur": {"kernel_size": 3},
    "RandomAdjustSharpness": {"sharpness_factor": 2},
    "RandomAffine": {"degrees": 10, "translate": [0.1, 0.1], "scale": [0.9, 1.1], "shear": 10},
    "RandomCrop": {"size": 16, "padding": 2},
    "RandomErasing": {"p": 1.0, "value": "random"},
    "RandomPosterize": {"bits": 3},
    "RandomResizedCrop": {"size": 16},
    "RandomRotation": {"degrees": 15},
    "RandomSolarize": {"threshold": 100},
}


def picture() -> NDArray[np.uint8]:
    rows, columns = np.mgrid[:16, :16]
    return np.stack([16 * rows, 16 * columns, 8 * (rows + columns)], axis=2).astype(np.uint8)


def repeats(library: Library, transform: Any) -> bool:
    """Whether the same seed gives the same pixels, with other draws between; the image is left alone meanwhile."""

    def drawn(seed: int) -> Any:
        return library.apply(transform, picture(), Draws(seed))

    first = drawn(3)

    cv2.setRNGSeed(1)
    drawn(4)
    return np.array_equal(first, drawn(3))


@pytest.mark.slow
def test_every_transform_of_albumentations_repeats() -> None:
    """Those that can be made without arguments and need nothing but an image."""
    library, tried = Albumentations(), 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # several say of themselves that another one is better
        for name, each in library.classes().items():
            try:
                transform = library.build(each, {"p": 1})
                library.apply(transform, picture(), Draws(0))
            except Exception:  # noqa: BLE001, S112 (it wants arguments, boxes, masks or volumes)
                continue
            assert repeats(library, transform), name
            tried += 1
    assert tried > 60


@pytest.mark.slow
def test_every_transform_of_torchvision_repeats_and_leaves_the_global_generator() -> None:
    library, tried = Torchvision(), 0
    state = torch.random.get_rng_state()
    for name, each in library.classes().items():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # ToTensor is deprecated
                transform = library.build(each, ARGUMENTS.get(name, {}))
            library.apply(transform, picture(), Draws(0))
        except Exception:  # noqa: BLE001, S112 (it wants arguments, boxes or the compiled library)
            continue
        if name != "ToPILImage":
            assert repeats(library, transform), name
        tried += 1
    assert torch.equal(torch.random.get_rng_state(), state)
    assert tried > 30


def test_one_thread_draws_while_another_trains() -> None:
    """The training's draws are those it would make alone."""
    library = Torchvision()
    transform = library.build(library.classes()["ElasticTransform"], {"sigma": 1.0})
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        expected = torch.rand(1000)
        torch.manual_seed(0)
        stop, begun = threading.Event(), threading.Event()

        def work() -> None:
            while not stop.is_set():
                library.apply(transform, picture(), Draws(7))
                begun.set()

        thread = threading.Thread(target=work)
        thread.start()
        begun.wait()
        found = torch.cat([torch.rand(10) for _ in range(100)])
        stop.set()
        thread.join()
    assert torch.equal(found, expected)


def test_opencv_gets_its_threads_back_from_the_last_of_several() -> None:
    library, before = Albumentations(), cv2.getNumThreads()
    try:
        cv2.setNumThreads(3)
        first, second = library.running(), library.running()
        with first:
            second.__enter__()
            assert cv2.getNumThreads() == 1
        assert cv2.getNumThreads() == 1
        second.__exit__(None, None, None)
        assert cv2.getNumThreads() == 3
    finally:
        cv2.setNumThreads(before)
