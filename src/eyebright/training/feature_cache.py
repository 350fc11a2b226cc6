"""Features of a body that never learns: computed once, kept on the disk, and trained on as if they were computed anew.

The head sees what it would see otherwise, up to rounding: a frozen body is in evaluation mode, so the features of an
image depend on nothing but the image. That needs images that come back as they were. Without augmentation there is one
version of each; mirroring makes a second one; whatever draws from more versions needs the body in every epoch.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import logging
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import final

import numpy as np
import torch
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from eyebright.core.device import Plan
from eyebright.core.files import atomic_path, storage_errors
from eyebright.core.recipe import Recipe
from eyebright.core.settings.augment import AugmentSettings
from eyebright.data.batches import Batch, Batches
from eyebright.data.cache import RESERVE_BYTES, cache_folder
from eyebright.data.image_set import ImageSet
from eyebright.data.operations.geometry import mirrored
from eyebright.evaluation.predictions import Predictions
from eyebright.models.classifier import Classifier, evaluating
from eyebright.models.weights_file import contiguous, digest_of
from eyebright.training.interrupt import Interrupt

# Of all files of features together: CIFAR-10 in two versions, 2048 features each, takes 0.9 GB.
LIMIT_BYTES = 4 << 30
_PROBES = 4  # images whose features are computed to find out whether the body still says what it said
_ABANDONED_SECONDS = 86_400.0  # without a write
_REPORT_SECONDS = 30.0  # between two remarks on the progress

_logger = logging.getLogger("eyebright")


@final
@dataclasses.dataclass(frozen=True, eq=False)
class FeatureBatches:
    """The batches of `Batches` with the features of their images (B, F) float32 in place of the images.

    Attributes
    ----------
    batches : decides the order, and which images are mirrored.
    features : (V, N, F) of all images as they are and, where V is 2, mirrored.
    """

    batches: Batches
    features: NDArray[np.float32]

    @property
    def image_set(self) -> ImageSet:
        """What is cut into batches."""
        return self.batches.image_set

    def __len__(self) -> int:
        return len(self.batches)

    def bounds(self, number: int) -> tuple[int, int]:
        """As of `Batches`."""
        return self.batches.bounds(number)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of `epoch` from number `start` on."""
        images, flip = self.image_set, getattr(self.batches.augment, "flip", False)
        order = self.batches.order(epoch)
        for number in range(start, len(self)):
            positions = order[slice(*self.bounds(number))]
            rows = images.index[positions]
            version = mirrored(flip, rows, (self.batches.seed, epoch, number)).astype(np.int64)  # all 0 without flips
            features = torch.from_numpy(self.features[version, positions]).to(self.batches.device)  # (B, F)
            labels = torch.from_numpy(images.store.labels[rows]).to(self.batches.device)
            yield Batch(features, labels, labels, torch.from_numpy(rows))


@final
@dataclasses.dataclass(frozen=True, eq=False)
class CachedFeatures:
    """The features that a training needs.

    Attributes
    ----------
    train : batches of the training images.
    validation : (N, F) of the validation images.
    """

    train: FeatureBatches
    validation: NDArray[np.float32]

    def predict(self, model: Classifier, images: ImageSet, *, batch_size: int, plan: Plan) -> Predictions:
        """As `evaluation.predict` of the validation images."""
        logits = np.empty((len(images), len(images.classes)), dtype=np.float32)
        with evaluating(model), torch.inference_mode(), plan.autocast():
            for first in range(0, len(images), batch_size):
                features = torch.from_numpy(np.array(self.validation[first : first + batch_size])).to(plan.device)
                logits[first : first + batch_size] = model(features).cpu().numpy()
        return Predictions(logits, images.labels, images.index, images.classes, images.split, images.store.source)


def passes(recipe: Recipe) -> int:
    """How often a training sends each of its images through the body."""
    return _versions(recipe) if applies(recipe) else recipe.training.epochs


def applies(recipe: Recipe) -> bool:
    """Whether the features of the recipe's training can be computed once and for all."""
    settings = recipe.training
    return _frozen(recipe) and settings.cache_features and not settings.progressive and not _obstacle(recipe)


def prepare(
    model: Classifier, recipe: Recipe, batches: Batches, validation: ImageSet, plan: Plan, interrupt: Interrupt
) -> CachedFeatures | None:
    """The features that this training needs, from the disk or computed now; None: it has to compute them as it goes.

    Raises
    ------
    KeyboardInterrupt : the user stopped it.
    StorageError : they cannot be written.
    """
    if not applies(recipe) or batches.share[1] > 1:
        if _frozen(recipe) and recipe.training.cache_features and (obstacle := _obstacle(recipe)):
            _logger.info(
                "the body is frozen, but %s shows it new images in every epoch; augment=none would train much faster",
                obstacle,
            )
        return None
    work = _Work(model, plan, 2 * recipe.training.batch_size, interrupt)
    train = work.features(batches.image_set, _versions(recipe))
    judged = work.features(validation, 1)
    if train is None or judged is None:
        return None
    return CachedFeatures(FeatureBatches(batches, train), judged[0])


def _frozen(recipe: Recipe) -> bool:
    return recipe.training.unfreeze is not None and not recipe.training.unfreeze


def _versions(recipe: Recipe) -> int:
    return 2 if getattr(recipe.augment, "flip", False) else 1


def _obstacle(recipe: Recipe) -> str:
    """An operation of the augmentation that has too many outcomes; empty where there is none."""
    plain = AugmentSettings()
    changed = (
        field.name
        for field in dataclasses.fields(recipe.augment)
        if field.name != "flip" and getattr(recipe.augment, field.name) != getattr(plain, field.name, None)
    )
    return next((f"augment.{name}" for name in changed), "")


@final
@dataclasses.dataclass(frozen=True, eq=False)
class _Work:
    """Computes features, or finds those that were computed before.

    Attributes
    ----------
    model : its body is used, as it is on the device of `plan`.
    plan : the precision and layout of the training.
    batch_size : images at a time.
    interrupt : whether the user wants to stop.
    """

    model: Classifier
    plan: Plan
    batch_size: int
    interrupt: Interrupt

    def features(self, images: ImageSet, versions: int) -> NDArray[np.float32] | None:
        """(versions, N, F) of `images`, in a file; None where there is no room for it."""
        if not len(images):
            return np.empty((versions, 0, 0), dtype=np.float32)
        probe = next(self._computed(images.take(range(min(_PROBES, len(images)))), mirror=False))  # (B, F)
        shape = (versions, len(images), probe.shape[1])
        path = cache_folder() / "features" / f"{self._key(images, versions, probe)}.npy"
        found = _opened(path, shape)
        if found is not None:
            _logger.info("the body is frozen: the features of the %s images are known, see %s", images.split, path)
            return found
        if not _room(path.parent, 4 * int(np.prod(shape))):
            _logger.warning("the features of the %s images do not fit into %s", images.split, path.parent)
            return None
        with atomic_path(path) as temporary:
            kept = open_memmap(temporary, mode="w+", dtype=np.float32, shape=shape)
            self._fill(kept, images)
            kept.flush()
            del kept
        return _opened(path, shape)

    def _fill(self, kept: NDArray[np.float32], images: ImageSet) -> None:
        total, done, told = kept.shape[0] * kept.shape[1], 0, time.monotonic()
        _logger.info("the body is frozen: computing the features of %s %s images, once", f"{total:,}", images.split)
        for version, of_version in enumerate(kept):
            first = 0
            for features in self._computed(images, mirror=version == 1):
                of_version[first : first + len(features)] = features
                first, done = first + len(features), done + len(features)
                if self.interrupt.requested:
                    raise KeyboardInterrupt
                if time.monotonic() - told > _REPORT_SECONDS:
                    _logger.info("features of %s images: %.0f %%", images.split, 100 * done / total)
                    told = time.monotonic()

    def _computed(self, images: ImageSet, *, mirror: bool) -> Iterator[NDArray[np.float32]]:
        """Features (B, F) of batch after batch, as a training step would compute them."""
        batches = Batches(
            images, self.batch_size, device=self.plan.device, channels_last=self.plan.channels_last
        ).epoch(0)
        for batch in batches:
            pixels = batch.images.flip(3) if mirror else batch.images
            with evaluating(self.model), torch.inference_mode(), self.plan.autocast():
                features = self.model.features(pixels)
            yield features.float().cpu().numpy()

    def _key(self, images: ImageSet, versions: int, probe: NDArray[np.float32]) -> str:
        """A hash of all that the features depend on.

        The weights and the input say it, but code may have changed around them: so some features are part of it.
        """
        digest = hashlib.blake2b(probe.tobytes(), digest_size=16)
        weights = {name: contiguous(value) for name, value in self.model.body.state_dict().items()}
        about = (images.fingerprint, versions, digest_of(weights), self.model.spec.to_dict(), str(self.plan.dtype))
        digest.update(repr(about).encode())
        return digest.hexdigest()


def _opened(path: Path, shape: tuple[int, ...]) -> NDArray[np.float32] | None:
    """The features in a file; None where there is none, or one that is damaged."""
    try:
        found = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError):  # shorter than it says, or none of numpy's
        return None
    if found.shape != shape or found.dtype != np.float32:
        return None
    with contextlib.suppress(OSError):  # a cache that we may only read
        os.utime(path)  # the last used are kept longest
    return found  # type: ignore[no-any-return]  # the dtype was compared


def _room(folder: Path, needed: int) -> bool:
    """Remove the files that were used longest ago until so many bytes fit; False: they never will."""
    if needed > LIMIT_BYTES:
        return False
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(folder)
        files = _by_last_use(folder)
        used = sum(size for _, size, _ in files)
        for _, size, path in files:
            if used + needed <= LIMIT_BYTES:
                break
            path.unlink(missing_ok=True)
            used -= size
        return needed <= shutil.disk_usage(folder).free - RESERVE_BYTES


def _remove_abandoned(folder: Path) -> None:
    """Remove what killed processes left half written: nobody needs a day for one batch."""
    for path in folder.glob(".*.tmp"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > _ABANDONED_SECONDS:
                path.unlink()


def _by_last_use(folder: Path) -> list[tuple[float, int, Path]]:
    """Time of the last use, bytes and path of each file of features, the oldest first."""
    files = []
    for path in folder.glob("*.npy"):
        with contextlib.suppress(FileNotFoundError):  # another training has just removed it
            status = path.stat()
            files.append((status.st_mtime, status.st_size, path))
    return sorted(files)
