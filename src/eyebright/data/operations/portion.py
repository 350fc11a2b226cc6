"""`Portion`: which images of a batch are at hand; and what every operation needs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# Images (B, C, H, W) uint8, the value of the field, the operation's own generator, which images of the batch they are
# -> images, same shape. The value is Any because each field has its own type (bool, int or float).
Operation = Callable[[Tensor, Any, np.random.Generator, "Portion"], Tensor]

# The same, but returns (images, partner, kept) of the portion's own images: image i keeps the share kept[i] (B,)
# float32 of itself and takes the rest from image partner[i] (B,) int64 of those that were given.
Blend = Callable[[Tensor, float, np.random.Generator, "Portion"], tuple[Tensor, Tensor, Tensor]]


@dataclasses.dataclass(frozen=True, eq=False)
class Portion:
    """Which images of a batch are at hand, where several processes divide it; by default all.

    Attributes
    ----------
    batch : images of the whole batch; None: as many as are at hand.
    positions : (P,) int64, those at hand in the batch; None: all, in order.
    own : the first so many of them are wanted, the others only take part in these; None: all.
    rows : (P,) int64 of the source, which decide with the seed on which side alternating flips begin; None: 0 .. P - 1.
    """

    batch: int | None = None
    positions: NDArray[np.int64] | None = None
    own: int | None = None
    rows: NDArray[np.int64] | None = None

    def size(self, images: Tensor) -> int:
        """Images of the batch that `images` are a portion of."""
        return len(images) if self.batch is None else self.batch

    def of(self, drawn: NDArray[Any], axis: int = -1) -> NDArray[Any]:
        """What was drawn for each image of the batch, for those at hand."""
        return drawn if self.positions is None else drawn.take(self.positions, axis)

    def find(self, partner: NDArray[np.int64]) -> NDArray[np.int64]:
        """(own,) where among the images at hand the partners of the own ones are; `partner` (batch,) is of all."""
        if self.positions is None:
            return partner
        places = np.zeros(len(partner), dtype=np.int64)
        places[self.positions] = np.arange(len(self.positions))
        return places[partner[self.positions[: self.own]]]


WHOLE = Portion()


def pixels_of(images: Tensor) -> NDArray[np.uint8]:
    """Images on the CPU as (B, H, W, C) for numpy: a batch is so small that waking torch's threads costs more."""
    pixels: NDArray[np.uint8] = images.permute(0, 2, 3, 1).contiguous().numpy()
    return pixels


def sides_of(images: Tensor) -> NDArray[np.int64]:
    """(2, 1): height and width."""
    return np.array(images.shape[2:])[:, None]


def per_image(values: NDArray[Any], images: Tensor) -> Tensor:
    """Values (B,), bool or float, as (B, 1, 1, 1) on the images' device; float32 where they are float."""
    tensor = torch.from_numpy(values)
    # float32 before it moves: Apple's GPUs have no float64
    return (tensor.float() if tensor.is_floating_point() else tensor).to(images.device).view(-1, 1, 1, 1)


def rounded(images: Tensor) -> Tensor:
    """To the nearest uint8; overwrites `images`."""
    return images.round_().clamp_(0, 255).to(torch.uint8)
