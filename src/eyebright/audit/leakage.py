"""Which images a model is judged on although it has seen them: the same pixels in two splits.

Barz and Denzler, "Do We Train on Test Data? Purging CIFAR of Near-Duplicates" (2020), found 3 % of CIFAR-10's test
images in its training set after small changes. Only unchanged pixels are looked for here, which leaves no doubt.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from eyebright.data.copies import digests
from eyebright.data.image_set import ImageSet, Splits


@dataclasses.dataclass(frozen=True, eq=False)
class Leak:
    """Images of one split that an earlier one holds too.

    Attributes
    ----------
    seen, split : the earlier split ("train") and the later one ("test").
    index : (n,) int64, rows of the images in the source of the later split.
    twin : (n,) int64, for each the row of the first such image in the source of the earlier split.
    relabelled : (n,) whether no image of the same pixels in the earlier split has the same label.
    share : n / images of the later split.
    """

    seen: str
    split: str
    index: NDArray[np.int64]
    twin: NDArray[np.int64]
    relabelled: NDArray[np.bool_]
    share: float

    def __len__(self) -> int:
        return len(self.index)

    def __repr__(self) -> str:
        return f"Leak({len(self)} images of {self.split} are in {self.seen} too, {self.share:.1%})"


def leaks(splits: Splits) -> tuple[Leak, ...]:
    """Every pair of splits that share images, train and validation first; empty where none do."""
    hashes = [digests(part) for part in splits]
    parts = tuple(splits)
    found = [
        _leak((parts[earlier], hashes[earlier]), (parts[later], hashes[later]))
        for earlier, later in ((0, 1), (0, 2), (1, 2))
    ]
    return tuple(leak for leak in found if len(leak))


def _leak(earlier: tuple[ImageSet, NDArray[np.void]], later: tuple[ImageSet, NDArray[np.void]]) -> Leak:
    seen, known = earlier
    part, asked = later
    rows: dict[bytes, list[int]] = {}
    wanted = set(asked.tolist())
    for position, digest in enumerate(known.tolist()):
        if digest in wanted:
            rows.setdefault(digest, []).append(position)
    hits = [(position, rows[digest]) for position, digest in enumerate(asked.tolist()) if digest in rows]
    seen_labels, labels = seen.labels, part.labels
    return Leak(
        seen=seen.split,
        split=part.split,
        index=part.index[[position for position, _ in hits]],
        twin=seen.index[[twins[0] for _, twins in hits]],
        relabelled=np.array([labels[position] not in seen_labels[twins] for position, twins in hits], dtype=bool),
        share=len(hits) / len(part) if len(part) else 0.0,
    )
