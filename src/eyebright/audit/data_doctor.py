"""The data doctor: what is wrong with images and labels, before or after a training on them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from eyebright.audit.doubtful_labels import DoubtfulLabels
from eyebright.core.errors import DataError
from eyebright.data.image_set import ImageSet, Splits
from eyebright.data.near_copies import Copies, Copy, find_copies
from eyebright.data.progress import Progress
from eyebright.data.sheet import Row, draw
from eyebright.evaluation.intervals import proportion
from eyebright.evaluation.score import Score

_PAIRS_A_ROW, _LABELS_A_ROW = 4, 8
_EDGE = 96  # pixels of a picture


@dataclasses.dataclass(frozen=True, eq=False)
class DataFindings:
    """What was found in images and labels.

    Attributes
    ----------
    splits : the images.
    copies : of the same picture, in all splits.
    doubtful : labels that models doubt; None where none were asked.
    """

    splits: Splits
    copies: Copies
    doubtful: DoubtfulLabels | None = None

    def shared(self, seen: str, split: str) -> Score:
        """The share of the images of `split` whose picture `seen` holds too.

        Raises
        ------
        DataError : `split` has no images.
        """
        found = self.copies.shared(seen, split)
        return proportion(int(found.sum()), len(found))

    def repeated(self, split: str) -> int:
        """How many images of `split` repeat an earlier one of it."""
        group = self.copies.groups[split]
        return len(group) - len(np.unique(group))

    @property
    def pictures(self) -> NDArray[np.int64]:
        """(N,) for the images of `learned_from(splits)`: the same number for copies of one picture."""
        parts = _of_one_source(self.splits)
        group = np.concatenate([self.copies.groups[part.split] for part in parts])
        return group[np.argsort(np.concatenate([part.index for part in parts]))]

    @property
    def counts(self) -> dict[str, int]:
        """Images of each class in all splits, the rarest first."""
        labels = np.concatenate([part.labels for part in self.splits])
        classes = self.splits.train.classes
        counts = np.bincount(labels, minlength=len(classes))
        return {classes[label]: int(counts[label]) for label in np.argsort(counts, kind="stable")}

    def telling_pairs(self, count: int) -> tuple[Copy, ...]:
        """The `count` pairs most worth a look: under two labels first, then in two splits, the least alike first."""
        pairs = sorted(
            self.copies.pairs, key=lambda pair: (not pair.relabelled, pair.split == pair.of_split, pair.likeness)
        )
        return tuple(pairs[:count])

    def doubting(self, doubtful: DoubtfulLabels) -> DataFindings:
        """These findings, and labels of `learned_from(splits)` that models doubt.

        Models give them by `eyebright.cross_fit` with `groups=self.pictures` and `eyebright.doubtful_labels`.
        """
        return dataclasses.replace(self, doubtful=doubtful)

    def to_dict(self) -> dict[str, Any]:
        """A dictionary that JSON can hold, with every image that was found."""
        stores = {id(part.store): part.store for part in self.splits}
        parts = [part for part in self.splits if len(part)]
        found: dict[str, Any] = {
            "source": self.splits.train.store.source,
            "images": {part.split: len(part) for part in self.splits},
            "classes": self.counts,
            "left_out": [dataclasses.asdict(bad) for store in stores.values() for bad in store.bad],
            "blank": [{"split": split, "row": row} for split, row in self.copies.blank],
            "near_copies_can_be_told": self.copies.tells_near,
            "repeated": {part.split: self.repeated(part.split) for part in parts},
            "shared": {
                f"{part.split} in {seen.split}": self.shared(seen.split, part.split).to_dict()
                for place, part in enumerate(parts)
                for seen in parts[:place]
            },
            "copies": [dataclasses.asdict(pair) for pair in self.copies.pairs],
        }
        if self.doubtful is not None:
            columns = zip(
                self.doubtful.index.tolist(),
                self.doubtful.given.tolist(),
                self.doubtful.likely.tolist(),
                self.doubtful.probability.tolist(),
                strict=True,
            )
            classes = self.doubtful.classes
            found["labels_checked"] = self.doubtful.checked
            found["doubtful_labels"] = [
                {"row": row, "given": classes[given], "likely": classes[likely], "probability": probability}
                for row, given, likely, probability in columns
            ]
        return found

    def copies_sheet(self, count: int = 48) -> Image.Image:
        """Pairs of copies side by side, those of `telling_pairs`.

        Raises
        ------
        DataError : there are none.
        """
        pairs = self.telling_pairs(count)
        if not pairs:
            raise DataError("there are no copies to draw.", "Ask for a sheet only where copies were found.")
        parts = {part.split: part for part in self.splits}
        rows = [_pairs_row(pairs[first : first + _PAIRS_A_ROW], parts) for first in range(0, len(pairs), _PAIRS_A_ROW)]
        of = f"{len(pairs)} of {len(self.copies)}"
        return draw(f"{self.splits.train.store.source}: {of} pairs of copies, the least alike first", rows, _EDGE)

    def labels_sheet(self, count: int = 64) -> Image.Image:
        """The images with the most doubtful labels: given -> likely.

        Raises
        ------
        DataError : there are none.
        """
        if not self.doubtful:
            raise DataError("there are no doubtful labels to draw.", "Ask for a sheet only where some were found.")
        shown = self.doubtful.take(count)
        images = learned_from(self.splits)[shown.index]
        captions = [
            f"{shown.classes[given]}\n-> {shown.classes[likely]}\nrow {row}"
            for given, likely, row in zip(shown.given, shown.likely, shown.index, strict=True)
        ]
        starts = range(0, len(shown), _LABELS_A_ROW)
        pixels = images.images
        rows = [Row(pixels[at : at + _LABELS_A_ROW], captions[at : at + _LABELS_A_ROW]) for at in starts]
        title = f"{images.store.source}: {len(shown)} of {len(self.doubtful)} doubtful labels"
        return draw(title, rows, _EDGE)


def examine_data(splits: Splits, *, progress: Progress | None = None) -> DataFindings:
    """Look for copies and blank images in all splits.

    Parameters
    ----------
    splits : the images.
    progress : of the search for copies.
    """
    return DataFindings(splits, find_copies(splits, progress=progress))


def learned_from(splits: Splits) -> ImageSet:
    """The images whose labels can be checked by cross-fitting: training, and what comes from the same source."""
    index = np.concatenate([part.index for part in _of_one_source(splits)])
    return dataclasses.replace(splits.train, index=np.sort(index))


def _of_one_source(splits: Splits) -> list[ImageSet]:
    return [part for part in splits if part.store is splits.train.store]


def _pairs_row(pairs: Sequence[Copy], parts: dict[str, ImageSet]) -> Row:
    images, captions = [], []
    for pair in pairs:
        for split, row, label in (
            (pair.of_split, pair.of_row, pair.of_label),
            (pair.split, pair.row, pair.label),
        ):
            images.append(parts[split][[row]].images[0])
            captions.append(f"{label}\n{split}\nrow {row}")
        captions[-1] += (
            "\nthe same pixels" if pair.identical else f"\n{pair.likeness:.2f}" + " mirrored" * pair.mirrored
        )
    return Row(np.stack(images), captions)
