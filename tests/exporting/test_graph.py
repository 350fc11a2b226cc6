"""An exported network by itself: what it takes, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from eyebright.core.errors import BundleError, ModelError
from eyebright.exporting.bundle import Bundle
from eyebright.exporting.graph import EMBEDDING, LOGITS, Graph


def test_many_images_are_computed_in_batches(bundle: Bundle) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (130, 8, 8, 3), dtype=np.uint8)
    logits, embedding = bundle.graph.run(pixels, [LOGITS, EMBEDDING])
    assert (logits.shape, embedding.shape) == ((130, 3), (130, 32))
    np.testing.assert_allclose(logits[128:], bundle.logits(pixels[128:]), atol=1e-5)


def test_no_images_give_no_answers(bundle: Bundle) -> None:
    assert bundle.logits(np.empty((0, 8, 8, 3), np.uint8)).shape == (0, 3)


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((1, 8, 8, 3), np.float32),
        np.zeros((8, 8, 3), np.uint8),
        np.zeros((1, 3, 8, 8), np.uint8),
        np.zeros((1, 8, 8, 1), np.uint8),
        np.zeros((1, 0, 8, 3), np.uint8),
    ],
    ids=lambda array: f"{array.shape} {array.dtype}",
)
def test_other_arrays_are_refused(bundle: Bundle, pixels: NDArray[Any]) -> None:
    with pytest.raises(ModelError, match=r"takes images \(N, H, W, 3\) uint8"):
        bundle.logits(pixels)


@pytest.mark.parametrize("content", [b"", b"no network", b"\x08\x08"], ids=["empty", "text", "cut off"])
def test_a_file_that_is_no_network_is_refused(content: bytes) -> None:
    with pytest.raises(BundleError, match=r"model\.onnx is not a network"):
        Graph.load(content, "model.onnx")
