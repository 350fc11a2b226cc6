"""Transforms of Albumentations 2.0.8 (Buslaev et al. 2020); the only module that imports it."""

from __future__ import annotations

import contextlib
import os
import threading
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, final

from numpy.typing import NDArray

from eyebright.core.errors import MissingExtraError
from eyebright.data.transforms.library import Draws, Library, Transform

# Where this variable is not set, importing Albumentations asks a server for its newest version.
_SILENCER = "NO_ALBUMENTATIONS_UPDATE"


@final
class Albumentations(Library):
    """Albumentations: numpy and OpenCV."""

    namespace = "albumentations"
    endings = frozenset({"Normalize", "ToFloat", "ToTensorV2"})

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running = 0
        self._threads = 0

    def classes(self) -> Mapping[str, type]:
        module = _albumentations()
        kinds = (module.BasicTransform, module.BaseCompose)
        return {name: each for name, each in vars(module).items() if isinstance(each, type) and issubclass(each, kinds)}

    def build(self, chosen: type, arguments: Mapping[str, Any]) -> Transform:
        with warnings.catch_warnings():
            # It only warns of arguments that it does not know or cannot check, and takes its defaults.
            warnings.filterwarnings("error", r"Argument\(s\) ", UserWarning)
            warnings.filterwarnings("error", category=UserWarning, module=r"albumentations\.core\.validation")
            return chosen(**arguments)

    def apply(self, transform: Transform, image: NDArray[Any], draws: Draws) -> Any:
        # Not set_random_seed: it gives every transform within the same numbers, so that all that have the same p
        # would be applied to the same images.
        transform.set_random_state(draws.numpy, draws.python)
        return transform(image=image)["image"]

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """OpenCV computes in the calling thread alone: batches are what is prepared in parallel."""
        import cv2

        with self._lock:  # several threads may be here at once; the last one gives back
            if not self._running:
                self._threads = cv2.getNumThreads()
                cv2.setNumThreads(0)
            self._running += 1
        try:
            yield
        finally:
            with self._lock:
                self._running -= 1
                if not self._running:
                    cv2.setNumThreads(self._threads)


def _albumentations() -> Any:
    before = os.environ.get(_SILENCER)
    os.environ[_SILENCER] = "1"
    try:
        import albumentations
    except ImportError as error:
        raise MissingExtraError("albumentations", "albumentations") from error
    finally:
        if before is None:
            del os.environ[_SILENCER]
        else:
            os.environ[_SILENCER] = before
    return albumentations
