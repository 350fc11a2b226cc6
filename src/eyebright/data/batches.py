"""`Batches`: an `ImageSet` cut into batches, shuffled and augmented.

What a batch holds is a pure function of (seed, epoch, batch number). So an epoch can begin at any batch, and
any number of threads may prepare batches ahead without changing a single pixel; and several processes may divide each
batch, since together they hold the same pixels.
"""

from __future__ import annotations

import dataclasses
import functools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eyebright.core.errors import DataError
from eyebright.core.randomness import stream
from eyebright.core.settings.augment import AugmentSettings
from eyebright.data.augment import augment, portion
from eyebright.data.image_set import ImageSet
from eyebright.data.operations.portion import Portion
from eyebright.data.transforms.pipeline import pipeline

# Share of the GPU's free memory that the pixels may take; the rest is for the model and its activations.
_RESIDENT_SHARE = 0.5

# Batches that may be ready or in the making, per worker: one being made, one waiting.
_AHEAD_PER_WORKER = 2

# Threads for pixels that are not in memory: one reads while the other waits for the disk.
_READERS = 2

# The fewest images of a share: batch normalisation has nothing to normalise in one.
_SMALLEST_SHARE = 2

Item = TypeVar("Item")
Made = TypeVar("Made")


@final
@dataclasses.dataclass(frozen=True, eq=False)
class Batch:
    """What a model sees at one step.

    Attributes
    ----------
    images : (B, C, H, W) uint8, or float32 in 0..255 after mixup; the model normalises.
    labels : (B,) int64, the classes given by the source.
    targets : (B,) int64, the same as `labels`; or (B, K) float32 with rows that sum to 1 after mixup or cutmix.
    index : (B,) int64, rows of the source; always on the CPU, for it serves to trace images.
    spare : whether the images are another process's, and stand in for an empty share: they are not to count.
    """

    images: Tensor
    labels: Tensor
    targets: Tensor
    index: Tensor
    spare: bool = False

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def counted(self) -> int:
        """How many of the images count."""
        return 0 if self.spare else len(self)


@final
@dataclasses.dataclass(frozen=True, eq=False)
class Batches:
    """The batches of an `ImageSet`, epoch by epoch.

    Attributes
    ----------
    image_set : what to cut. Pixels in memory are gathered, others are read a batch at a time.
    batch_size : B; the last batch of an epoch may be smaller, see `bounds`.
    seed : decides order and augmentation.
    shuffle : a new order each epoch, or the order of `image_set`.
    augment : what happens to the images; None is nothing.
    workers : threads that prepare batches ahead; default: none for pixels in memory, which cost less than handing
        them over, and 2 for pixels that are read or decoded on demand, or that go through `augment.pipeline`.
    device : where images, labels and targets go. On CUDA, pixels in memory are kept on the GPU if they fit.
    channels_last : store images as (B, H, W, C), which convolutions on CPU and CUDA prefer.
    share : (k, n) cuts each batch into n shares and gives the k-th (from 0), to the k-th of n processes.
    """

    image_set: ImageSet
    batch_size: int
    _: dataclasses.KW_ONLY
    seed: int = 0
    shuffle: bool = False
    augment: AugmentSettings | None = None
    workers: int | None = None
    device: torch.device | str = "cpu"
    channels_last: bool = False
    share: tuple[int, int] = (0, 1)

    def __len__(self) -> int:
        """Batches in an epoch."""
        whole, rest = divmod(len(self.image_set), self.batch_size)
        return whole + (rest > 1 or (rest == 1 and whole == 0))

    def bounds(self, number: int) -> tuple[int, int]:
        """First position of batch `number` in the order of an epoch, and one past its last.

        The last batch may be smaller. A single image that would be left over joins the batch before it:
        batch normalisation has nothing to normalise in a batch of one.
        """
        last = number == len(self) - 1
        return number * self.batch_size, len(self.image_set) if last else (number + 1) * self.batch_size

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of `epoch` from number `start` on: what an uninterrupted epoch yields from there.

        Raises
        ------
        DataError : the epoch has no batch `start`.
        MissingExtraError, RecipeError : see `eyebright.data.transforms.pipeline.pipeline`.
        """
        if not 0 <= start <= len(self):
            raise DataError(
                f"batch {start} does not exist: an epoch of {self.image_set} has {len(self)} of {self.batch_size}.",
                "Resume with the data and the batch size that the run was begun with.",
            )
        order = self.order(epoch)
        # Made here, in one thread; the workers only read it.
        resident = self._resident
        if self._piped:
            pipeline(self._settings.pipeline, self.image_set.shape)

        def make(number: int) -> Batch:
            positions = order[slice(*self.bounds(number))]
            return self._batch(positions, (self.seed, epoch, number), resident)

        numbers = range(start, len(self))
        suitable = 0 if self.image_set.store.in_memory and not self._piped else _READERS
        workers = suitable if self.workers is None else self.workers
        return _ahead(make, numbers, workers) if workers else map(make, numbers)

    def order(self, epoch: int) -> NDArray[np.int64]:
        """(N,) int64: the positions in `image_set` in the order in which `epoch` shows them."""
        positions = np.arange(len(self.image_set))
        return stream("shuffle", self.seed, epoch).permutation(positions) if self.shuffle else positions

    def _batch(self, positions: NDArray[np.int64], place: tuple[int, int, int], resident: Tensor | None) -> Batch:
        settings = self._settings
        part, spare = Portion(), False
        if self.share[1] > 1:
            first, last, spare = share_of(len(positions), *self.share)
            part = portion(settings, place, len(positions), first, last)
            positions = positions[part.positions]
        rows = self.image_set.index[positions]
        pixels = self._read(rows) if resident is None else resident[torch.from_numpy(positions).to(self.device)]
        images = pixels.permute(0, 3, 1, 2)  # (B, H, W, C) -> (B, C, H, W): already channels_last, nothing moves
        labels = torch.from_numpy(self.image_set.store.labels[rows]).to(self.device)
        part = dataclasses.replace(part, rows=rows)
        images, targets = augment(
            images, labels, settings, classes=len(self.image_set.classes), place=place, portion=part
        )
        if part.own is not None:
            labels, rows = labels[: part.own], rows[: part.own]
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        return Batch(images.contiguous(memory_format=layout), labels, targets, torch.from_numpy(rows), spare)

    @property
    def _settings(self) -> AugmentSettings:
        return self.augment or AugmentSettings()

    @property
    def _piped(self) -> bool:
        return bool(self._settings.pipeline)

    def _read(self, rows: NDArray[np.int64]) -> Tensor:
        """Pixels (B, H, W, C) uint8 of rows of the source, on the device; for a pipeline, on the CPU."""
        # A source may hand out a view or a read-only array, which torch refuses to share.
        pixels = torch.from_numpy(np.require(self.image_set.store.pixels[rows], requirements=["C", "W"]))
        if self._piped:
            return pixels
        if torch.device(self.device).type == "cuda":
            with torch.cuda.device(self.device):  # a worker thread would pin for the first GPU, and take memory of it
                return pixels.pin_memory().to(self.device, non_blocking=True)
        return pixels.to(self.device)

    @functools.cached_property
    def _resident(self) -> Tensor | None:
        """All pixels (N, H, W, C) on the GPU, where there is one, they fit, and no pipeline wants them elsewhere."""
        if torch.device(self.device).type != "cuda" or not self.image_set.store.in_memory or self._piped:
            return None
        free, _ = torch.cuda.mem_get_info(self.device)
        if len(self.image_set) * np.prod(self.image_set.shape) > _RESIDENT_SHARE * free:
            return None
        return torch.from_numpy(self.image_set.images).to(self.device)


def share_of(images: int, number: int, shares: int) -> tuple[int, int, bool]:
    """First image of share `number` of a batch, one past its last, and whether it is spare.

    Shares differ by one image at most, and hold two at least, for the sake of batch normalisation. Where a batch has
    too few images for that, the first shares have them all, and the others are given the first two images as spare.
    """
    filled = min(shares, max(1, images // _SMALLEST_SHARE))
    if number >= filled:
        return 0, min(_SMALLEST_SHARE, images), True
    return number * images // filled, (number + 1) * images // filled, False


def _ahead(make: Callable[[Item], Made], items: Iterable[Item], workers: int) -> Iterator[Made]:
    """`map(make, items)`, prepared ahead by threads: in order, a bounded number at a time.

    What `make` raises comes out here, in its turn. However the loop over it ends, the threads end with it.
    """
    with ThreadPoolExecutor(workers, thread_name_prefix="eyebright-batches") as pool:
        pending: deque[Future[Made]] = deque()
        try:
            for item in items:
                pending.append(pool.submit(make, item))
                if len(pending) > _AHEAD_PER_WORKER * workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
