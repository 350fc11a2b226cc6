"""`overlay`: a map of heat laid over an image. No torch: the server shows maps too."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eyebright.core.errors import DataError

# viridis (van der Walt and Smith 2015, CC0) at five places: told apart by every kind of eye, and in grey.
_COLOURS = np.array([(68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37)], dtype=np.float64)
_HEAT = 0.6  # share of the colour in an overlay; the rest is the image in grey
_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601, as Pillow has it


def overlay(images: NDArray[np.uint8], maps: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Heat over the grey of each image: (N, H, W, 3) uint8, from dark violet (0) over green to yellow (1).

    Parameters
    ----------
    images : (N, H, W, C) uint8, C is 1 or 3.
    maps : (N, H, W) in 0..1.

    Raises
    ------
    DataError : they do not fit each other, or a map leaves 0..1.
    """
    if images.shape[:3] != maps.shape or not np.all((maps >= 0) & (maps <= 1)):
        raise DataError(
            f"maps {maps.shape} do not lie over images {images.shape}, or are not within 0..1.",
            "Pass images (N, H, W, C) and the maps (N, H, W) that were made of them.",
        )
    grey = images @ _LUMA if images.shape[3] == 3 else images[..., 0]  # (N, H, W)
    places = np.linspace(0, 1, len(_COLOURS))
    heat = np.stack([np.interp(maps, places, colour) for colour in _COLOURS.T], axis=-1)  # (N, H, W, 3)
    mixed: NDArray[np.uint8] = ((1 - _HEAT) * grey[..., None] + _HEAT * heat).round().astype(np.uint8)
    return mixed
