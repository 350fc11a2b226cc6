"""The same picture twice: images that repeat another one, pixel by pixel or after small changes.

Copies in the test images of what was trained on make a score too good, and copies under two labels cannot both be
right. Barz and Denzler, "Do We Train on Test Data? Purging CIFAR of Near-Duplicates", Journal of Imaging 2020, found
3.25 % of CIFAR-10's test images in its training images after small changes, by a network's features and many looks.
Here it is a measure of the pixels alone, in two steps:

1. Candidates look alike from afar: 8x8 colours, less their mean and fading out to the borders, with a cosine above
   0.85; mirror images too. For each image the few most similar ones are looked at.
2. Copies agree in what is fine: of 32x32 grey values the local mean is taken away, and what remains is correlated, the
   best shift of up to four of these pixels taken. That of a recompressed, shifted, recoloured or captioned copy stays
   above 0.75. Unrelated pictures of the same sky do not: of a thousand pairs of CIFAR-10 one reaches 0.49, of
   faces 0.57.

Where the images of a set resemble one another too much for that, only those of the same pixels are told: where a tenth
of all pairs reaches 0.45. It is 0.28 for CIFAR-10, 0.35 for faces, 0.59 for digits in the middle of black squares.

The first step compares every image with every other one, so its time grows with the square of their number;
docs/measured.md has that of CIFAR-10. Photos that show the same object from two sides are no copies here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from eyebright.core.randomness import stream
from eyebright.data.copies import digests
from eyebright.data.image_set import ImageSet, Splits
from eyebright.data.progress import Progress

_FAR, _NEAR = 8, 32  # pixels of a side, in the two steps
_ALIKE = 0.85  # cosine of candidates
_SAME = 0.75  # correlation of copies; below it the pairs of CIFAR-10 and Emotions are more and more often others
_LESS_THAN_THE_SAME = 0.9999
_CANDIDATES = 4  # for each image, upright and mirrored; those of one picture are joined by what they share
_SHIFT = 4  # of `_NEAR` pixels, in both directions
_BLUR = 5  # pixels of the side of the local mean
_FLAT = 1.0  # grey levels: norm of an image's differences from its mean, below which it shows nothing
# Pairs that are drawn, and the correlation that nine tenths of them must stay below. A smaller part than a tenth would
# be the copies themselves, in small sets and in those where every picture comes many times.
_DRAWN, _UNRELATED, _RESEMBLING = 5_000, 0.9, 0.45
_COMPARED = 64 << 20  # pairs of images that are compared at a time: 256 MB
_CHUNK_BYTES = 64 << 20  # of pixels


@dataclasses.dataclass(frozen=True)
class Copy:
    """An image, and another one that shows the same picture.

    Attributes
    ----------
    split, row : of the image; the row is of the source, as in `ImageSet.index`.
    label : its class.
    of_split, of_row, of_label : of the image that it repeats: in an earlier split, or before it in the same one.
    likeness : correlation of the fine structure, 0.75 to 1; 1 where the pixels are the same.
    mirrored : whether it is the mirror image.
    """

    split: str
    row: int
    label: str
    of_split: str
    of_row: int
    of_label: str
    likeness: float
    mirrored: bool = False

    @property
    def identical(self) -> bool:
        """Whether the pixels are the same."""
        return self.likeness == 1.0

    @property
    def relabelled(self) -> bool:
        """Whether the two have different labels."""
        return self.label != self.of_label


@dataclasses.dataclass(frozen=True, eq=False)
class Copies:
    """Images that show the same picture.

    Attributes
    ----------
    pairs : the most similar first; an image can be in several, or be joined with another by a third.
    groups : for each split (N,) int64, one number a picture: images of the same number are copies of each other.
    blank : (split, row) of images of one colour, which copy nothing but the same colour.
    unrelated : correlation that a tenth of the pairs drawn at random reaches.
    """

    pairs: tuple[Copy, ...]
    groups: Mapping[str, NDArray[np.int64]]
    blank: tuple[tuple[str, int], ...]
    unrelated: float

    def __len__(self) -> int:
        return len(self.pairs)

    def __repr__(self) -> str:
        images = sum(len(group) for group in self.groups.values())
        pictures = len(set[int]().union(*(group.tolist() for group in self.groups.values())))
        near = "" if self.tells_near else "; near ones cannot be told"
        return f"Copies({images} images, {pictures} pictures{near}; {len(self.blank)} blank)"

    @property
    def tells_near(self) -> bool:
        """Whether unrelated images differ enough for near copies to be told from them."""
        return self.unrelated < _RESEMBLING

    def shared(self, seen: str, split: str) -> NDArray[np.bool_]:
        """(N,) which images of `split` show a picture that the split `seen` holds too."""
        return np.isin(self.groups[split], self.groups[seen])


def find_copies(splits: Splits, *, progress: Progress | None = None) -> Copies:
    """Images of all splits that repeat another one.

    Parameters
    ----------
    splits : the images; of any size, for the comparison brings them to one.
    progress : called as `progress("compare", done, total)` in images.
    """
    parts = [part for part in splits if len(part)]
    _, same = np.unique(np.concatenate([digests(part) for part in parts]), return_inverse=True)  # (N,)
    far, fine = (torch.cat(seen) for seen in zip(*(_seen(part) for part in parts), strict=True))
    flat = far.flatten(1).norm(dim=1) < _FLAT  # (N,)
    unrelated = _unrelated(fine)
    found = dict.fromkeys(_identical(same), (1.0, False))
    if unrelated < _RESEMBLING:
        for first, second, mirrored in _candidates(far, flat, progress):
            likeness = _correlation(fine, first, second, mirrored=mirrored)
            for place in np.flatnonzero((likeness >= _SAME) & (same[first] != same[second])):
                pair = int(first[place]), int(second[place])
                # Rounding can bring a copy to 1, which says that the pixels are the same.
                value = min(float(likeness[place]), _LESS_THAN_THE_SAME)
                found[pair] = max(found.get(pair, (0.0, False)), (value, mirrored))
    group, places = _joined(found, len(same)), _Places(parts)
    most_similar_first = sorted(found.items(), key=lambda item: (-item[1][0], item[0]))
    empty = {part.split: np.empty(0, np.int64) for part in splits}
    return Copies(
        pairs=tuple(
            Copy(*places.named(second), *places.named(first), *likeness)
            for (first, second), likeness in most_similar_first
        ),
        groups=empty | {part.split: group[first:last] for part, first, last in places.bounds},
        blank=tuple(places.named(place)[:2] for place in np.flatnonzero(flat.numpy()).tolist()),
        unrelated=unrelated,
    )


class _Places:
    """Which image a position in all parts, one after the other, is."""

    def __init__(self, parts: Sequence[ImageSet]) -> None:
        ends = np.cumsum([0, *map(len, parts)]).tolist()
        self.bounds = list(zip(parts, ends[:-1], ends[1:], strict=True))

    def named(self, place: int) -> tuple[str, int, str]:
        """Its split, its row of the source and its class."""
        part, first, _ = next(bound for bound in self.bounds if place < bound[2])
        row = int(part.index[place - first])
        return part.split, row, part.classes[part.store.labels[row]]


def _joined(pairs: Iterable[tuple[int, int]], images: int) -> NDArray[np.int64]:
    """(N,) int64, a number for each picture: what is joined by pairs, through others too, has the same one."""
    ends = np.array(list(pairs), np.int64).reshape(-1, 2)
    graph = coo_array((np.ones(len(ends), np.int8), ends.T), shape=(images, images))
    group: NDArray[np.int64] = connected_components(graph, directed=False)[1].astype(np.int64)
    return group


def _seen(images: ImageSet) -> tuple[Tensor, Tensor]:
    """What is compared: from afar (N, C, 8, 8) float32, grey levels around 0; and what is fine, see `_fine`."""
    height, width, channels = images.shape
    chunk = max(1, _CHUNK_BYTES // (height * width * channels))
    fading = _fading(_FAR)
    far = torch.empty(len(images), channels, _FAR, _FAR)
    fine = torch.empty(len(images), _NEAR, _NEAR, dtype=torch.float16)  # half the memory, and far more than enough
    for first in range(0, len(images), chunk):
        pixels = images.store.pixels[images.index[first : first + chunk]]  # (B, H, W, C)
        batch = torch.tensor(pixels).permute(0, 3, 1, 2).float()  # (B, C, H, W)
        near = F.adaptive_avg_pool2d(batch, _NEAR)  # (B, C, 32, 32)
        colours = F.adaptive_avg_pool2d(near, _FAR)  # (B, C, 8, 8)
        mean = (colours * fading).sum(dim=(2, 3), keepdim=True) / fading.sum()
        far[first : first + chunk] = (colours - mean) * fading
        fine[first : first + chunk] = _fine(near)
    return far, fine


def _fine(images: Tensor) -> Tensor:
    """(N, 32, 32) float32: grey values less their local mean, fading out to the borders, of norm 1."""
    grey = images.mean(dim=1, keepdim=True)  # (N, 1, 32, 32)
    mean = F.avg_pool2d(F.pad(grey, (_BLUR // 2,) * 4, mode="reflect"), _BLUR, stride=1)
    fine = (grey - mean)[:, 0] * _fading(_NEAR)
    return fine.div_(fine.flatten(1).norm(dim=1).clamp(min=_FLAT)[:, None, None])


def _fading(side: int) -> Tensor:
    """(side, side) weights, least at the borders, where captions are and shifts bring in what is new."""
    window = torch.hann_window(side + 2, periodic=False)[1:-1]
    weights: Tensor = window[:, None] * window
    return weights


def _identical(group: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Each image that repeats the pixels of an earlier one, with the first of these."""
    first: dict[int, int] = {}
    for place, number in enumerate(group.tolist()):
        if first.setdefault(number, place) != place:
            yield first[number], place


def _candidates(
    far: Tensor, flat: Tensor, progress: Progress | None
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], bool]]:
    """Positions (n,) and (n,) of pairs that look alike from afar, the earlier image first; and whether mirrored."""
    norm = far.flatten(1).norm(dim=1, keepdim=True).clamp(min=_FLAT)  # (N, 1)
    upright = far.flatten(1) / norm  # (N, 8 * 8 * C)
    upright[flat] = 0
    mirrored = far.flip(3).flatten(1) / norm
    mirrored[flat] = 0
    number = len(far)
    at_once = max(1, _COMPARED // number)
    for start in range(0, number, at_once):
        if progress:
            progress("compare", start, number)
        rows = upright[start : start + at_once]
        for others in (upright, mirrored):
            # A pair is looked at once, from its earlier image.
            later = (rows @ others[start:].T).triu_(diagonal=1)  # (B, N - start)
            best, which = later.topk(min(_CANDIDATES, later.shape[1]), dim=1)
            first, place = torch.where(best > _ALIKE)
            yield (first + start).numpy(), (which[first, place] + start).numpy(), others is mirrored
    if progress:
        progress("compare", number, number)


def _correlation(
    fine: Tensor, first: NDArray[np.int64], second: NDArray[np.int64], *, mirrored: bool
) -> NDArray[np.float32]:
    """(n,) the largest correlation of pairs over small shifts."""
    if not len(first):
        return np.empty(0, np.float32)
    one, other = (fine[torch.from_numpy(end)].float() for end in (first, second))  # (n, 32, 32)
    if mirrored:
        other = other.flip(2)
    double = (2 * _NEAR, 2 * _NEAR)  # room for the shifts, which would come in again at the other side
    product = torch.fft.rfft2(one, s=double).conj() * torch.fft.rfft2(other, s=double)
    shifts = torch.arange(-_SHIFT, _SHIFT + 1)
    best: NDArray[np.float32] = (
        torch.fft.irfft2(product, s=double)[:, shifts][:, :, shifts].flatten(1).amax(dim=1).numpy()
    )
    return best


def _unrelated(fine: Tensor) -> float:
    """Correlation that a tenth of the pairs of different images reaches."""
    if len(fine) < 2:
        return 0.0
    draw = stream("unrelated pairs", 0)
    first = draw.integers(0, len(fine), _DRAWN)
    second = (first + draw.integers(1, len(fine), _DRAWN)) % len(fine)
    reached = [
        _correlation(fine, *ends, mirrored=False)
        for ends in zip(np.array_split(first, 10), np.array_split(second, 10), strict=True)
    ]
    return float(np.quantile(np.concatenate(reached), _UNRELATED))
