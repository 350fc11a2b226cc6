from __future__ import annotations

import numpy as np
from PIL import Image

from eyebright.core.settings.data import DataSettings
from eyebright.data.sources.arrays import array_set, with_channels


def test_grey_is_the_luma_of_each_pixel() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 4, 3, 3), dtype=np.uint8)  # (N, H, W, C)
    grey = with_channels(pixels, 1)
    assert grey.shape == (5, 4, 3, 1)
    expected = [np.asarray(Image.fromarray(image).convert("L")) for image in pixels]  # one at a time
    assert np.array_equal(grey[..., 0], expected)
    # ITU-R 601: 0.299 R + 0.587 G + 0.114 B, within the rounding
    assert np.abs(pixels @ np.array([0.299, 0.587, 0.114]) - grey[..., 0]).max() <= 1


def test_grey_becomes_three_equal_channels() -> None:
    pixels = np.arange(12, dtype=np.uint8).reshape(1, 3, 4, 1)
    colour = with_channels(pixels, 3)
    assert colour.shape == (1, 3, 4, 3)
    assert (colour == pixels).all()
    assert with_channels(pixels, 1) is pixels


def test_images_are_resized_one_by_one_and_progress_is_told() -> None:
    # Each image is one grey value, which stays the same at any size.
    values = np.arange(1200, dtype=np.int64) % 251
    pixels = np.broadcast_to(values.astype(np.uint8)[:, None, None, None], (1200, 4, 4, 1))
    calls: list[tuple[str, int, int]] = []
    resized = array_set(
        pixels,
        values % 2,
        [str(row) for row in range(1200)],
        ("even", "odd"),
        source="steps",
        split="train",
        settings=DataSettings(source="steps", size=7),
        progress=lambda *call: calls.append(call),
    )
    assert resized.shape == (7, 7, 1)
    assert (resized.images == values[:, None, None, None]).all()
    assert calls == [("resize steps train", 1000, 1200), ("resize steps train", 1200, 1200)]


def test_the_same_size_is_not_touched() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    labels = np.array([0, 1])
    settings = DataSettings(source="noise", size=8, channels=3)
    kept = array_set(pixels, labels, ["a", "b"], ("x", "y"), source="noise", split="all", settings=settings)
    assert np.array_equal(kept.images, pixels)
