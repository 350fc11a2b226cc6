"""Batches: what they hold is decided by (seed, epoch, batch number) and by nothing else."""

from __future__ import annotations

import dataclasses
import os
import signal
import threading
import traceback
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from eyebright.core.errors import BadImageError, DataError
from eyebright.core.settings.augment import AugmentSettings
from eyebright.data.batches import Batch, Batches, share_of
from eyebright.data.image_set import ImageSet, ImageStore, Pixels

EVERYTHING = AugmentSettings(flip=True, crop=1, brightness=0.3, cutout=2, erasing=0.5, mixup=0.4, cutmix=1.0)
FIELDS = ("images", "labels", "targets", "index")


class Streamed:
    """Pixels decoded on demand: image i is all i; a list of rows is broken."""

    def __init__(self, number: int, broken: tuple[int, ...] = ()) -> None:
        self.shape = (number, 4, 5, 3)
        self.broken = broken

    def __getitem__(self, rows: NDArray[np.int64], /) -> NDArray[np.uint8]:
        for row in rows:
            if row in self.broken:
                raise BadImageError(f"image {row} cannot be decoded.", "Replace the file.")
        pixels = np.broadcast_to(rows.astype(np.uint8)[:, None, None, None], (len(rows), *self.shape[1:]))
        assert not pixels.flags.writeable  # a read-only view, as a source may hand out
        return pixels


def image_set(number: int = 23, *, pixels: Pixels | None = None, skip: int = 0, channels: int = 3) -> ImageSet:
    """The rows `skip` .. of a source of `number` images."""
    if pixels is None:
        pixels = np.random.default_rng(0).integers(0, 256, (number, 4, 5, channels), dtype=np.uint8)
    labels = np.arange(number) % 3
    store = ImageStore(pixels, labels, [f"{row}.png" for row in range(number)], ("a", "b", "c"), "made up")
    return ImageSet(store, np.arange(skip, number), "train")


def equal(first: list[Batch], second: list[Batch]) -> bool:
    if len(first) != len(second):
        return False
    pairs = [(getattr(a, field), getattr(b, field)) for a, b in zip(first, second, strict=True) for field in FIELDS]
    return all(a.dtype == b.dtype and torch.equal(a, b) for a, b in pairs)


def worker_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("eyebright-batches")]


def test_in_order_the_batches_are_the_image_set() -> None:
    images = image_set(skip=3)
    batches = list(Batches(images, 6).epoch(0))
    assert [len(batch) for batch in batches] == [6, 6, 6, 2]
    assert torch.cat([batch.index for batch in batches]).tolist() == list(range(3, 23))
    assert torch.cat([batch.labels for batch in batches]).tolist() == images.labels.tolist()
    pixels = torch.cat([batch.images for batch in batches])  # (N, C, H, W)
    assert np.array_equal(pixels.permute(0, 2, 3, 1).numpy(), images.images)
    assert all(batch.targets is batch.labels for batch in batches)
    assert batches[0].images.dtype == torch.uint8
    assert batches[0].labels.dtype == batches[0].index.dtype == torch.int64


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("augment", [None, AugmentSettings(flip=True, crop=1, rotate=5, saturation=0.1, mixup=1.0)])
@pytest.mark.parametrize("channels_last", [True, False])
def test_images_have_the_memory_layout_asked_for(
    channels: int, augment: AugmentSettings | None, channels_last: bool
) -> None:
    layout = torch.channels_last if channels_last else torch.contiguous_format
    chosen = Batches(image_set(channels=channels), 6, augment=augment, channels_last=channels_last)
    for batch in chosen.epoch(0):
        assert batch.images.shape[1:] == (channels, 4, 5)
        assert batch.images.is_contiguous(memory_format=layout)


def test_batches_do_not_share_memory_with_the_source() -> None:
    images = image_set()
    before = images.images.copy()
    for batch in Batches(images, 23, channels_last=True).epoch(0):
        batch.images.zero_()
        batch.labels.zero_()
        batch.index.zero_()
    assert np.array_equal(images.images, before)
    assert images.labels.any()
    assert images.index.any()


@settings(max_examples=40, deadline=None)
@given(number=st.integers(0, 40), batch_size=st.integers(1, 12), seed=st.integers(0, 2**40), epoch=st.integers(0, 1000))
def test_every_image_comes_exactly_once_an_epoch(number: int, batch_size: int, seed: int, epoch: int) -> None:
    images = image_set(number)
    batches = Batches(images, batch_size, seed=seed, shuffle=True)
    seen = list(batches.epoch(epoch))
    assert len(seen) == len(batches)
    index = [row for batch in seen for row in batch.index.tolist()]
    assert sorted(index) == list(range(number))
    for batch in seen:  # each image keeps its own label and pixels
        assert batch.labels.tolist() == images.store.labels[batch.index.numpy()].tolist()
        assert np.array_equal(batch.images.permute(0, 2, 3, 1).numpy(), images.store.pixels[batch.index.numpy()])


def test_order_depends_on_seed_and_epoch_only() -> None:
    def order(seed: int, epoch: int, batch_size: int = 7) -> list[int]:
        chosen = Batches(image_set(), batch_size, seed=seed, shuffle=True)
        return torch.cat([batch.index for batch in chosen.epoch(epoch)]).tolist()

    assert order(0, 0) == order(0, 0) == order(0, 0, batch_size=4)
    assert len({tuple(order(seed, epoch)) for seed in range(3) for epoch in range(3)}) == 9
    assert order(0, 0) != sorted(order(0, 0))


def test_orders_are_uniform() -> None:
    chosen = Batches(image_set(3), 3, shuffle=True)
    orders = [tuple(chosen.order(epoch)) for epoch in range(1200)]
    assert len(set(orders)) == 6
    assert all(140 < orders.count(order) < 260 for order in set(orders))  # 200 expected, deviation 13


def test_global_random_states_are_neither_read_nor_touched() -> None:
    chosen = Batches(image_set(), 5, shuffle=True, augment=EVERYTHING)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = list(chosen.epoch(0))
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert equal(first, list(chosen.epoch(0)))


@pytest.mark.parametrize("workers", [0, 1, 4])
@pytest.mark.parametrize("start", [0, 1, 3, 4, 5])
def test_a_start_inside_an_epoch_gives_its_tail(workers: int, start: int) -> None:
    chosen = Batches(image_set(), 5, seed=3, shuffle=True, augment=EVERYTHING, workers=workers)
    whole = list(Batches(image_set(), 5, seed=3, shuffle=True, augment=EVERYTHING).epoch(2))
    assert len(whole) == 5
    assert equal(list(chosen.epoch(2, start=start)), whole[start:])


@pytest.mark.parametrize("start", [-1, 6])
def test_a_start_outside_the_epoch_is_refused(start: int) -> None:
    with pytest.raises(DataError, match=f"batch {start} does not exist"):
        Batches(image_set(), 5).epoch(0, start=start)


@pytest.mark.parametrize("streamed", [True, False])
def test_workers_change_nothing(streamed: bool) -> None:
    images = image_set(200, pixels=Streamed(200) if streamed else None)

    def run(workers: int) -> list[Batch]:
        return list(Batches(images, 6, shuffle=True, augment=EVERYTHING, workers=workers).epoch(1))

    alone = run(0)
    assert len(alone) == 34
    assert equal(alone, run(1))
    assert equal(alone, run(4))
    assert not worker_threads()


def test_augmentation_differs_between_epochs_and_batches() -> None:
    pixels = np.broadcast_to(np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8), (20, 4, 5, 3))
    chosen = Batches(image_set(20, pixels=pixels), 10, augment=AugmentSettings(brightness=1.0))
    drawn = [batch.images for epoch in (0, 1) for batch in chosen.epoch(epoch)]
    assert not any(torch.equal(drawn[i], drawn[j]) for i in range(4) for j in range(i))


@pytest.mark.parametrize(
    ("n", "size", "sizes"),
    [
        (23, 5, [5, 5, 5, 5, 3]),
        (20, 5, [5, 5, 5, 5]),
        (21, 5, [5, 5, 5, 6]),
        (1, 5, [1]),
        (3, 1, [1, 1, 1]),
        (3, 2, [3]),
    ],
)
def test_a_last_batch_may_be_short_but_not_of_one(n: int, size: int, sizes: list[int]) -> None:
    chosen = Batches(image_set(n), size)
    assert [len(batch) for batch in chosen.epoch(0)] == sizes
    assert len(chosen) == len(sizes)
    assert torch.cat([batch.index for batch in chosen.epoch(0)]).tolist() == image_set(n).index.tolist()


@settings(max_examples=60, deadline=None)
@given(
    number=st.integers(1, 30),
    batch_size=st.integers(1, 12),
    shares=st.integers(1, 5),
    changes=st.sampled_from(
        [None, {"flip": "alternating", "crop": 1}, {"erasing": 0.5, "mixup": 0.5}, {"cutmix": 1.0, "cutout": 2}]
    ),
)
def test_shares_together_are_the_whole_batches(
    number: int, batch_size: int, shares: int, changes: dict[str, Any] | None
) -> None:
    chosen = AugmentSettings(**changes) if changes is not None else None
    whole = Batches(image_set(number), batch_size, seed=3, shuffle=True, augment=chosen)
    parts = [dataclasses.replace(whole, share=(share, shares)).epoch(2) for share in range(shares)]
    for batch, *divided in zip(whole.epoch(2), *parts, strict=True):
        counted = [part for part in divided if not part.spare]
        sizes = [len(part) for part in counted]
        assert max(sizes) - min(sizes) <= 1
        assert all(len(part) >= min(2, len(batch)) for part in divided)
        joined: Any = {field: torch.cat([getattr(part, field) for part in counted]) for field in FIELDS}
        assert equal([Batch(**joined)], [batch])


@pytest.mark.parametrize(
    ("images", "shares", "expected"),
    [
        (8, 2, [(0, 4, False), (4, 8, False)]),
        (7, 3, [(0, 2, False), (2, 4, False), (4, 7, False)]),
        (5, 4, [(0, 2, False), (2, 5, False), (0, 2, True), (0, 2, True)]),
        (3, 2, [(0, 3, False), (0, 2, True)]),
        (1, 2, [(0, 1, False), (0, 1, True)]),
    ],
)
def test_a_share_has_two_images_or_is_spare(images: int, shares: int, expected: list[tuple[int, int, bool]]) -> None:
    assert [share_of(images, number, shares) for number in range(shares)] == expected


def test_an_empty_image_set_has_no_batches() -> None:
    empty = Batches(image_set().take([]), 5, shuffle=True, workers=2)
    assert len(empty) == 0
    assert list(empty.epoch(0)) == []


def test_pixels_may_be_decoded_on_demand() -> None:
    batches = list(Batches(image_set(23, pixels=Streamed(23), skip=2), 6).epoch(0))
    assert batches[0].images[:, 0, 0, 0].tolist() == [2, 3, 4, 5, 6, 7]
    assert batches[0].images.is_contiguous()


def test_pixels_may_be_memory_mapped(tmp_path: Path) -> None:
    images = image_set()
    np.save(tmp_path / "pixels.npy", images.images)
    mapped = image_set(pixels=np.load(tmp_path / "pixels.npy", mmap_mode="r"))
    assert equal(list(Batches(mapped, 5, workers=2).epoch(0)), list(Batches(images, 5).epoch(0)))


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_comes_out_in_its_turn_with_its_own_traceback(workers: int) -> None:
    iterator = Batches(image_set(40, pixels=Streamed(40, broken=(13,))), 5, workers=workers).epoch(0)
    assert next(iterator).index.tolist() == [0, 1, 2, 3, 4]
    assert next(iterator).index.tolist() == [5, 6, 7, 8, 9]
    with pytest.raises(BadImageError, match="image 13 cannot be decoded") as caught:
        next(iterator)
    assert any(frame.name == "__getitem__" for frame in traceback.extract_tb(caught.value.__traceback__))
    assert not worker_threads()


def test_leaving_early_stops_the_threads() -> None:
    iterator = Batches(image_set(200), 2, workers=3, augment=EVERYTHING).epoch(0)
    next(iterator)
    assert worker_threads()
    del iterator  # what leaving a for loop does
    assert not worker_threads()


def test_ctrl_c_while_waiting_for_a_batch_stops_the_threads() -> None:
    class Interrupted(Streamed):
        def __getitem__(self, rows: NDArray[np.int64], /) -> NDArray[np.uint8]:
            if 13 in rows:
                os.kill(os.getpid(), signal.SIGINT)
            return super().__getitem__(rows)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            list(Batches(image_set(200, pixels=Interrupted(200)), 2, workers=2).epoch(0))
    finally:
        signal.signal(signal.SIGINT, before)
    assert not worker_threads()


def test_an_interrupt_in_the_loop_stops_the_threads() -> None:
    def train() -> None:
        for number, _ in enumerate(Batches(image_set(200), 2, workers=3).epoch(0)):
            if number == 3:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train()
    assert not worker_threads()


def test_batches_are_prepared_a_bounded_number_ahead() -> None:
    read: list[int] = []

    class Counted(Streamed):
        def __getitem__(self, rows: NDArray[np.int64], /) -> NDArray[np.uint8]:
            read.append(len(rows))
            return super().__getitem__(rows)

    iterator = Batches(image_set(200, pixels=Counted(200)), 1, workers=2).epoch(0)
    assert read == []  # nothing before the first is asked for
    next(iterator)
    next(iterator)
    del iterator  # waits for what is in the making
    assert 2 <= len(read) <= 6  # two taken, four ahead


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("streamed", [True, False])
def test_cuda_gives_the_same_batches(streamed: bool) -> None:
    images = image_set(23, pixels=Streamed(23) if streamed else None, skip=2)
    arguments: dict[str, Any] = {"shuffle": True, "augment": AugmentSettings(flip=True, crop=1, cutout=2, cutmix=1.0)}
    here = list(Batches(images, 5, **arguments).epoch(0))
    there = list(Batches(images, 5, **arguments, device="cuda").epoch(0))
    assert there[0].images.device.type == there[0].targets.device.type == "cuda"
    moved = [Batch(batch.images.cpu(), batch.labels.cpu(), batch.targets.cpu(), batch.index) for batch in there]
    assert equal(here, moved)


PIPED = AugmentSettings(
    pipeline=(
        {"_target_": "albumentations.HorizontalFlip", "p": 0.5},
        {"_target_": "albumentations.CoarseDropout", "fill": "random", "p": 0.9},
        {"_target_": "torchvision.transforms.v2.ColorJitter", "brightness": 0.5},
    ),
    crop=1,
    mixup=1.0,
)


@pytest.mark.parametrize("in_memory", [True, False])
def test_a_pipeline_makes_the_same_pixels_on_any_number_of_threads(in_memory: bool) -> None:
    images = image_set(pixels=None if in_memory else Streamed(23))
    alone = Batches(images, 6, seed=2, shuffle=True, augment=PIPED, workers=0)
    expected = list(alone.epoch(1))
    for workers in (1, 3, None):
        batches = dataclasses.replace(alone, workers=workers)
        assert equal(list(batches.epoch(1)), expected)
        assert equal(list(batches.epoch(1, start=2)), expected[2:])
    assert not equal(list(alone.epoch(2)), expected)
    assert not equal(list(dataclasses.replace(alone, seed=3).epoch(1)), expected)


def test_processes_that_divide_a_batch_draw_its_pipeline_alike() -> None:
    whole = Batches(image_set(), 6, augment=PIPED, workers=0)
    shares = [list(dataclasses.replace(whole, share=(k, 2)).epoch(0)) for k in range(2)]
    for batch, *parts in zip(whole.epoch(0), *shares, strict=True):
        assert torch.equal(torch.cat([part.images for part in parts]), batch.images)
        assert torch.equal(torch.cat([part.targets for part in parts]), batch.targets)


def test_a_pipeline_is_made_by_workers_unless_none_are_wanted() -> None:
    batches = Batches(image_set(), 6, augment=PIPED)
    assert worker_threads() == []
    epoch = batches.epoch(0)
    next(epoch)
    assert worker_threads()
    assert len(list(epoch)) == 3
    assert worker_threads() == []
