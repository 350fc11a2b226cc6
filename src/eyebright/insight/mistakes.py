"""What a model gets wrong, and how sure it was: the lists that one looks at first.

Everything but the pictures comes from `Predictions` alone, without the model.

    wrong = eb.mistakes(test).most_confident(16)
    wrong.files(splits.test)                                       their files
    alike = eb.look_alikes(run.model, splits.test[wrong.index], splits.train)
    wrong.show(splits.test, alike)                                 "wrong because it looks like these three"
"""

from __future__ import annotations

import base64
import dataclasses
import io
from collections.abc import Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.special import log_softmax

from eyebright.core.errors import DataError, nearest
from eyebright.data.image_set import ImageSet
from eyebright.evaluation.confidence import confidence
from eyebright.evaluation.intervals import proportion
from eyebright.evaluation.predictions import Predictions
from eyebright.evaluation.score import Score

if TYPE_CHECKING:
    from eyebright.insight.neighbours import LookAlikes

_SHOWN = 20  # rows of a printed table
_NAME_WIDTH = 20  # characters of a class name in it
_COUNT = 16  # examples of a list: what one sheet shows at a glance
_EDGE, _SMALL_EDGE = 112, 36  # pixels of a picture in a notebook, and of its look-alikes: three fit below it
_HEADINGS = ("given", "predicted", "confidence", "loss")


@dataclasses.dataclass(frozen=True)
class Example:
    """One image and what the model said of it.

    Attributes
    ----------
    index : row of the source.
    position : in the predictions.
    given, predicted : class names.
    confidence : probability of the predicted class.
    loss : -log(probability of the given class), in nats.
    """

    index: int
    position: int
    given: str
    predicted: str
    confidence: float
    loss: float


@dataclasses.dataclass(frozen=True, eq=False)
class Examples:
    """A list of images, the most telling first. `examples[0]` is one of them, `examples[:4]` a shorter list.

    Attributes
    ----------
    title : what the list holds.
    index : (n,) int64, rows of the source, as `ImageSet` takes them: `splits.test[examples.index]`.
    position : (n,) int64, in the predictions.
    labels, predicted : (n,) int64, the given and the predicted classes.
    confidence : (n,) float64, probability of the predicted class.
    loss : (n,) float64, -log(probability of the given class), in nats.
    classes : K class names.
    split, source : of the predictions.
    """

    title: str
    index: NDArray[np.int64]
    position: NDArray[np.int64]
    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    confidence: NDArray[np.float64]
    loss: NDArray[np.float64]
    classes: tuple[str, ...]
    split: str
    source: str

    def __len__(self) -> int:
        return len(self.index)

    @overload
    def __getitem__(self, which: int) -> Example: ...
    @overload
    def __getitem__(self, which: slice | Sequence[int] | NDArray[np.int64] | NDArray[np.bool_]) -> Examples: ...
    def __getitem__(
        self, which: int | slice | Sequence[int] | NDArray[np.int64] | NDArray[np.bool_]
    ) -> Example | Examples:
        """One example by its place in the list; or those of a slice, of places or of a mask (n,)."""
        if not isinstance(which, int | np.integer):
            rows = np.arange(len(self))[which]
            columns = ("index", "position", "labels", "predicted", "confidence", "loss")
            return dataclasses.replace(self, **{name: getattr(self, name)[rows] for name in columns})
        return Example(
            index=int(self.index[which]),
            position=int(self.position[which]),
            given=self.classes[self.labels[which]],
            predicted=self.classes[self.predicted[which]],
            confidence=float(self.confidence[which]),
            loss=float(self.loss[which]),
        )

    def __iter__(self) -> Iterator[Example]:
        return (self[place] for place in range(len(self)))

    def __repr__(self) -> str:
        rows = [(f"{example.index}", *_cells(example)) for example in self[:_SHOWN]]
        return _table(self, ("row", *_HEADINGS), rows)

    def among(self, images: ImageSet) -> ImageSet:
        """These images, in this order, from the set that the predictions were made on.

        Raises
        ------
        DataError : `images` are another set, or their labels have changed since.
        """
        found = (images.store.source, images.split, images.classes)
        if found != (self.source, self.split, self.classes):
            raise DataError(
                f"the predictions are of the {self.split} split of {self.source}, and not of {images}.",
                "Give the set that eyebright.predict was given.",
            )
        chosen = images[self.index]
        if not np.array_equal(chosen.labels, self.labels):
            row = int(self.index[chosen.labels != self.labels][0])
            raise DataError(
                f"image {row} of {self.source} has another label than when it was predicted.",
                "Predict again, on the images as they are now.",
            )
        return chosen

    def files(self, images: ImageSet) -> list[str]:
        """Where each image came from: a path, or a path inside an archive. Errors are those of `among`."""
        return self.among(images).names

    def show(self, images: ImageSet, alike: LookAlikes | None = None) -> Gallery:
        """The images themselves: a grid in a notebook, a table with files in print, a PNG by `.sheet()`.

        Parameters
        ----------
        images : the set that the predictions were made on.
        alike : `eyebright.look_alikes` of these images, to be shown beside them.

        Raises
        ------
        DataError : `images` are another set, or `alike` is of other images.
        """
        chosen = self.among(images)
        if alike is not None and not np.array_equal(alike.images.index, self.index):
            raise DataError(
                f"the look-alikes are of other images than these {len(self)}.",
                "Make them with: look_alikes(model, splits.test[examples.index], splits.train)",
            )
        return Gallery(self, chosen, alike)


@dataclasses.dataclass(frozen=True, eq=False)
class ConfusedPair:
    """Two classes that are taken for each other.

    Attributes
    ----------
    first, second : class names; of the two directions, first taken for second is the more frequent.
    there : images of `first` taken for `second`, the most confident first.
    back : images of `second` taken for `first`, the most confident first.
    there_share, back_share : their share of all images of their class; None where the class has none.
    """

    first: str
    second: str
    there: Examples
    back: Examples
    there_share: Score | None
    back_share: Score | None

    @property
    def count(self) -> int:
        """Mistakes in both directions."""
        return len(self.there) + len(self.back)

    def __repr__(self) -> str:
        return (
            f"{self.first} taken for {self.second}: {len(self.there)} ({_share(self.there_share)}); "
            f"{self.second} for {self.first}: {len(self.back)} ({_share(self.back_share)})"
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Mistakes:
    """All mistakes of some predictions, to be listed from several sides. Equals are listed in their order.

    Attributes
    ----------
    predictions : what the model said.
    confidence : (N,) float64, probability of the predicted class.
    loss : (N,) float64, -log(probability of the given class), in nats.
    """

    predictions: Predictions
    confidence: NDArray[np.float64]
    loss: NDArray[np.float64]

    def __len__(self) -> int:
        return int((~self.predictions.correct).sum())

    def __repr__(self) -> str:
        made = self.predictions
        return f"Mistakes({made.source} {made.split}: {len(self)} of {len(made)} images)"

    def most_confident(self, count: int | None = _COUNT) -> Examples:
        """The mistakes that the model was surest of; all of them, surest first, where `count` is None."""
        return self._surest("most confident mistakes", ~self.predictions.correct, count)

    def top_losses(self, count: int | None = _COUNT) -> Examples:
        """The images of the largest loss. With more than two classes a right answer can be among them."""
        return self._list("largest losses", np.argsort(-self.loss, kind="stable"), count)

    def least_certain_correct(self, count: int | None = _COUNT) -> Examples:
        """The right answers that the model was least sure of: those that it may lose next."""
        positions = np.flatnonzero(self.predictions.correct)
        order = np.argsort(self.confidence[positions], kind="stable")
        return self._list("least certain right answers", positions[order], count)

    def of_class(self, name: str, count: int | None = None) -> Examples:
        """Images of the class `name` that were taken for another, the most confident first.

        Raises
        ------
        DataError : there is no such class.
        """
        missed = (self.predictions.labels == self._label(name)) & ~self.predictions.correct
        return self._surest(f"{name} taken for others", missed, count)

    def taken_for(self, name: str, count: int | None = None) -> Examples:
        """Images of other classes that were taken for the class `name`, the most confident first.

        Raises
        ------
        DataError : there is no such class.
        """
        intruders = (self.predictions.predicted == self._label(name)) & ~self.predictions.correct
        return self._surest(f"others taken for {name}", intruders, count)

    def pair(self, given: str, predicted: str, count: int | None = None) -> Examples:
        """Images of the class `given` that were taken for `predicted`, the most confident first.

        Raises
        ------
        DataError : there is no such class, or both are the same.
        """
        row, column = self._label(given), self._label(predicted)
        if row == column:
            raise DataError(f"{given} taken for {given} is no mistake.", "Name two classes.")
        chosen = (self.predictions.labels == row) & (self.predictions.predicted == column)
        return self._surest(f"{given} taken for {predicted}", chosen, count)

    def pairs(self, count: int | None = 10) -> tuple[ConfusedPair, ...]:
        """The classes that are most often taken for each other, counting both directions."""
        classes, k = self.predictions.classes, len(self.predictions.classes)
        cells = self.predictions.labels * k + self.predictions.predicted
        times = np.bincount(cells, minlength=k * k).reshape(k, k)  # rows: given; columns: predicted
        support = times.sum(axis=1)  # (K,)
        rows, columns = np.triu_indices(k, 1)
        both = times[rows, columns] + times[columns, rows]  # (K (K - 1) / 2,)
        order = np.argsort(-both, kind="stable")
        found = []
        for place in order[both[order] > 0][: _limit(count)]:
            a, b = int(rows[place]), int(columns[place])
            first, second = (a, b) if times[a, b] >= times[b, a] else (b, a)
            shares = [
                proportion(int(times[one, other]), int(support[one])) if support[one] else None
                for one, other in ((first, second), (second, first))
            ]
            names = classes[first], classes[second]
            found.append(ConfusedPair(*names, self.pair(*names), self.pair(*names[::-1]), *shares))
        return tuple(found)

    def _label(self, name: str) -> int:
        classes = self.predictions.classes
        if name not in classes:
            raise DataError(f"{self.predictions.source} has no class {name!r}.", nearest(name, classes))
        return classes.index(name)

    def _surest(self, title: str, chosen: NDArray[np.bool_], count: int | None) -> Examples:
        positions = np.flatnonzero(chosen)
        return self._list(title, positions[np.argsort(-self.confidence[positions], kind="stable")], count)

    def _list(self, title: str, positions: NDArray[np.int64], count: int | None) -> Examples:
        rows, made = positions[: _limit(count)], self.predictions
        return Examples(
            title=title,
            index=made.index[rows],
            position=rows,
            labels=made.labels[rows],
            predicted=made.predicted[rows],
            confidence=self.confidence[rows],
            loss=self.loss[rows],
            classes=made.classes,
            split=made.split,
            source=made.source,
        )


def mistakes(predictions: Predictions) -> Mistakes:
    """List the mistakes of predictions, each list with the rows of the source that lead back to the files.

    Raises
    ------
    DataError : logits are not finite.
    """
    predictions.check_finite()
    # In float64: in float32 the surest mistakes all have the confidence 1, and no order.
    log_probabilities = log_softmax(predictions.logits.astype(np.float64), axis=1)  # (N, K)
    every = np.arange(len(predictions))
    return Mistakes(
        predictions,
        confidence=confidence(predictions),
        # Not -0.0 where the model is certain.
        loss=np.maximum(-log_probabilities[every, predictions.labels], 0.0),
    )


@dataclasses.dataclass(frozen=True, eq=False)
class Gallery:
    """Examples with their pictures.

    Attributes
    ----------
    examples : what to show.
    images : their images, in the same order.
    alike : the images that each looks like; None where they were not asked for.
    """

    examples: Examples
    images: ImageSet
    alike: LookAlikes | None = None

    def __repr__(self) -> str:
        rows = [
            (name, *_cells(example))
            for name, example in zip(self.images.names[:_SHOWN], self.examples[:_SHOWN], strict=True)
        ]
        if self.alike is None:
            return _table(self.examples, ("file", *_HEADINGS), rows)
        looks = [(*row, ", ".join(self.alike.captions(place))) for place, row in enumerate(rows)]
        return _table(self.examples, ("file", *_HEADINGS, "looks like"), looks)

    def sheet(self, *, columns: int = 8, edge: int = 96) -> Image.Image:
        """One picture of all: a grid, or a row an example followed by its look-alikes.

        Parameters
        ----------
        columns : pictures in a row of the grid.
        edge : longest side of a picture in pixels.

        Raises
        ------
        DataError : there is no image to draw.
        """
        from eyebright.data import sheet as sheets

        if not len(self.examples):
            raise DataError(f"there is no image to draw: {_title(self.examples)}.", "Choose another list.")
        pictures, captions = self.images.images, [self._caption(place) for place in range(len(self.examples))]
        if self.alike is None:
            starts = range(0, len(pictures), columns)
            rows = [sheets.Row(pictures[a : a + columns], captions[a : a + columns]) for a in starts]
        else:
            rows = [
                sheets.Row(
                    np.concatenate([pictures[place : place + 1], self.alike.of(place).images]),
                    [captions[place], *self.alike.captions(place)],
                )
                for place in range(len(pictures))
            ]
        return sheets.draw(_title(self.examples), rows, edge)

    def _repr_html_(self) -> str:
        figures = "".join(self._figure(place) for place in range(len(self.examples)))
        return (
            f'<div style="font:12px/1.4 system-ui,sans-serif"><p>{escape(_title(self.examples))}</p>'
            f'<div style="display:flex;flex-wrap:wrap;gap:14px">{figures}</div></div>'
        )

    def _figure(self, place: int) -> str:
        """One example as HTML: the picture, what was said, what it looks like, its file as a tooltip."""
        example, image = self.examples[place], self.images.take([place])
        parts = [
            _img(image.images[0], _EDGE, image.names[0]),
            f"<figcaption><b>{escape(example.predicted)}</b> {_percent(example.confidence)}<br>"
            f"is {escape(example.given)}</figcaption>",
        ]
        if self.alike is not None:
            similar = self.alike.of(place)
            looks = zip(similar.images, similar.names, self.alike.captions(place), strict=True)
            small = "".join(_img(picture, _SMALL_EDGE, f"{caption}: {name}") for picture, name, caption in looks)
            parts.append(f'<div style="display:flex;flex-wrap:wrap;gap:2px">{small}</div>')
        return f'<figure style="margin:0;width:{_EDGE}px">{"".join(parts)}</figure>'

    def _caption(self, place: int) -> str:
        example = self.examples[place]
        file = self.images.take([place]).names[0].rsplit("/", 1)[-1]
        return f"{example.predicted} {_percent(example.confidence)}\nis {example.given}\n{file}"


def _img(image: NDArray[np.uint8], edge: int, tooltip: str) -> str:
    """An image (H, W, C) as HTML that needs no file; small ones are enlarged pixel by pixel."""
    picture = Image.fromarray(image if image.shape[2] == 3 else image[..., 0])
    picture.thumbnail((edge, edge))  # only ever shrinks
    content = io.BytesIO()
    picture.save(content, "PNG")
    data = base64.b64encode(content.getvalue()).decode()
    style = f"width:{edge}px;height:{edge}px;object-fit:contain;image-rendering:pixelated;margin:0"
    text = escape(tooltip)
    return f'<img src="data:image/png;base64,{data}" alt="{text}" title="{text}" style="{style}">'


def _cells(example: Example) -> tuple[str, ...]:
    """What a table says of an example under `_HEADINGS`."""
    names = (name[:_NAME_WIDTH] for name in (example.given, example.predicted))
    return (*names, f"{example.confidence:.3f}", f"{example.loss:.2f}")


def _table(examples: Examples, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    lines = [
        "  " + "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (headings, *rows)
    ]
    more = [f"  ... and {len(examples) - len(rows)} more"] if len(examples) > len(rows) else []
    return "\n".join([_title(examples), *(lines if rows else []), *more])


def _title(examples: Examples) -> str:
    number = len(examples)
    return f"{examples.source} {examples.split}, {examples.title}: {number} image{'' if number == 1 else 's'}"


def _share(share: Score | None) -> str:
    return "no images" if share is None else f"{share.value:.1%} [{share.low:.1%}, {share.high:.1%}] of {share.n}"


def _percent(confidence: float) -> str:
    return f"{confidence:.1%}"


def _limit(count: int | None) -> int | None:
    if count is not None and count < 0:
        raise DataError(f"a list of {count} examples does not exist.", "Give a number from 0, or None for all.")
    return count
