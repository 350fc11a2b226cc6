"""`ClassMap`: which class of a model is which class of other data."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from eyebright.core.errors import DataError, nearest
from eyebright.evaluation.predictions import Predictions


@dataclasses.dataclass(frozen=True)
class ClassMap:
    """Pairs of classes that mean the same.

    Attributes
    ----------
    model, data : class names of both.
    to : for each class of the model the position of its class in `data`; None where there is none. Several classes of
        the model may be one class of the data.
    """

    model: tuple[str, ...]
    data: tuple[str, ...]
    to: tuple[int | None, ...]

    @classmethod
    def of(cls, model: Sequence[str], data: Sequence[str], named: Mapping[str, str]) -> ClassMap:
        """The map by names, in which case, spaces, dashes and underscores do not count; `named` goes first.

        Parameters
        ----------
        model, data : class names.
        named : class of the model to class of the data, where the names differ.

        Raises
        ------
        DataError : `named` names a class that is not there.
        """
        for name, other in named.items():
            if name not in model:
                raise DataError(f"the model has no class {name!r}.", nearest(name, model))
            if other not in data:
                raise DataError(f"the data has no class {other!r}.", nearest(other, data))
        positions = {_plain(name): position for position, name in enumerate(data)}
        found = (
            data.index(named[name]) if name in named else positions.get(_plain(name))  # each class by itself
            for name in model
        )
        return cls(tuple(model), tuple(data), tuple(found))

    @property
    def shared(self) -> tuple[int, ...]:
        """Positions of the classes of the data that the model knows."""
        return tuple(sorted({position for position in self.to if position is not None}))

    @property
    def pairs(self) -> dict[str, str]:
        """Class of the model to class of the data."""
        return {
            name: self.data[position]
            for name, position in zip(self.model, self.to, strict=True)
            if position is not None
        }

    def translated(self, predictions: Predictions, labels: NDArray[np.int64], *, only_shared: bool) -> Predictions:
        """What the model said, in classes of the data.

        Parameters
        ----------
        predictions : of the model, in its own classes.
        labels : (N,) positions in `data`, all of them shared classes.
        only_shared : whether the model is told that no other class can occur; else each of its other classes stays an
            answer, a wrong one.

        Returns
        -------
        Predictions whose classes are the shared ones, then the model's others. A class of the data that is several of
        the model's has the sum of their probabilities.
        """
        groups = [[row for row, to in enumerate(self.to) if to == position] for position in self.shared]
        names = [self.data[position] for position in self.shared]
        if not only_shared:
            others = [row for row, to in enumerate(self.to) if to is None]
            groups += [[row] for row in others]
            names += [f"{self.model[row]} (not in the data)" for row in others]
        logits = np.stack([logsumexp(predictions.logits[:, group], axis=1) for group in groups], axis=1)  # (N, groups)
        own = np.searchsorted(self.shared, labels)
        return dataclasses.replace(
            predictions, logits=logits.astype(np.float32), labels=own.astype(np.int64), classes=tuple(names)
        )


def _plain(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())
