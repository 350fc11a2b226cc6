"""The names of many files in a few arrays: a million cost some 40 MB, where a million `str` cost more than 100."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import final, overload

import numpy as np
from numpy.typing import NDArray

# A name may hold bytes that are no UTF-8, which Python gives as lone surrogates: they must come back as they were.
_ERRORS = "surrogatepass"
_CHUNK = 65_536  # names that are unpacked at a time


@final
@dataclasses.dataclass(frozen=True, eq=False)
class Names(Sequence[str]):
    """An immutable sequence of `str`. Slices and selections share the text.

    Attributes
    ----------
    text : UTF-8 of all names.
    starts : (M,) int64, where each name begins in `text`.
    lengths : (M,) int32, in bytes.
    """

    text: bytes
    starts: NDArray[np.int64]
    lengths: NDArray[np.int32]

    @classmethod
    def of(cls, names: Iterable[str]) -> Names:
        """Pack names; an iterator is consumed one name at a time."""
        text = bytearray()
        lengths: list[NDArray[np.int32]] = []
        unpacked = iter(names)
        while chunk := [name.encode(errors=_ERRORS) for name in itertools.islice(unpacked, _CHUNK)]:
            lengths.append(np.fromiter(map(len, chunk), np.int32, len(chunk)))
            text += b"".join(chunk)
        return cls._packed(bytes(text), np.concatenate(lengths or [np.empty(0, np.int32)]))

    @classmethod
    def join(cls, parts: Sequence[Names]) -> Names:
        """All names of all parts, in their order."""
        lengths = [part.lengths for part in parts]
        return cls._packed(b"".join(map(Names.packed, parts)), np.concatenate(lengths or [np.empty(0, np.int32)]))

    @classmethod
    def _packed(cls, text: bytes, lengths: NDArray[np.int32]) -> Names:
        ends = np.cumsum(lengths, dtype=np.int64)
        return cls(text, ends - lengths, lengths)

    def __len__(self) -> int:
        return len(self.lengths)

    @overload
    def __getitem__(self, position: int | np.integer, /) -> str: ...
    @overload
    def __getitem__(self, position: slice, /) -> Names: ...
    def __getitem__(self, position: int | np.integer | slice, /) -> str | Names:
        if isinstance(position, slice):
            return Names(self.text, self.starts[position], self.lengths[position])
        start = int(self.starts[position])
        return self.text[start : start + int(self.lengths[position])].decode(errors=_ERRORS)

    def __iter__(self) -> Iterator[str]:
        for first in range(0, len(self), _CHUNK):
            for name in self[first : first + _CHUNK]._encoded():
                yield name.decode(errors=_ERRORS)

    def take(self, positions: NDArray[np.int64]) -> Names:
        """The names at `positions`, in that order."""
        return Names(self.text, self.starts[positions], self.lengths[positions])

    def packed(self) -> bytes:
        """The names one after the other, without anything between them."""
        return b"".join(self._encoded())

    def _encoded(self) -> list[bytes]:
        ends = self.starts + self.lengths
        return [self.text[start:end] for start, end in zip(self.starts.tolist(), ends.tolist(), strict=True)]
