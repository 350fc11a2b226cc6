"""Reading the pickles of old data sets without running what a stranger may have put into one."""

from __future__ import annotations

import io
import math
import pickle
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from eyebright.core.errors import DataError
from eyebright.data.sources.archive import RawFile


class PickledArray:
    """Stands in for numpy's array while a pickle is read: remembers the state, computes nothing."""

    def __init__(self, *arguments: Any) -> None:
        del arguments  # (type, empty shape, type code), the same in every pickle
        self._state: Any = None

    def __setstate__(self, state: Any) -> None:
        self._state = state

    def pixels(self) -> NDArray[np.uint8]:
        """The array, if it is one of uint8.

        Raises
        ------
        ValueError : it is not, or its shape does not fit its bytes.
        """
        match self._state:
            case (_, tuple(shape), PickledType(code="u1"), fortran, bytes(content)) if all(
                isinstance(length, int) and length >= 0 for length in shape
            ):
                if math.prod(shape) != len(content):
                    raise ValueError(f"an array of shape {shape} has {len(content)} bytes")
                return np.frombuffer(content, np.uint8).reshape(shape, order="F" if fortran else "C")
        raise ValueError("an array is not of bytes")


class PickledType:
    """Stands in for numpy's dtype while a pickle is read."""

    def __init__(self, code: Any, *flags: Any) -> None:
        del flags  # (align, copy)
        self.code = _text(code)

    def __setstate__(self, state: Any) -> None:
        """Byte order and field names, which bytes do not have."""


# All that the files name. numpy.core became numpy._core in numpy 2.
_STAND_INS = {
    ("numpy.core.multiarray", "_reconstruct"): PickledArray,
    ("numpy._core.multiarray", "_reconstruct"): PickledArray,
    ("numpy", "ndarray"): PickledArray,
    ("numpy", "dtype"): PickledType,
}


class _ForeignNameError(pickle.UnpicklingError):
    """A pickle asks for a name that no data set needs."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> type:
        try:
            return _STAND_INS[module, name]
        except KeyError:
            raise _ForeignNameError(f"{module}.{name}") from None

    def persistent_load(self, pid: Any) -> NoReturn:
        raise _ForeignNameError(f"the object {pid!r} outside the file")


def load_dictionary(file: RawFile, remedy: str) -> dict[str, Any]:
    """The dictionary in `file`, its keys as text; byte strings stay bytes, arrays are `PickledArray`.

    Raises
    ------
    DataError : the file is truncated, no pickle, holds something else, or asks to run code.
    """
    try:
        value = _Unpickler(io.BytesIO(file.content), encoding="bytes").load()
    except _ForeignNameError as error:
        raise DataError(f"{file.place} is refused: it asks for {error}, which no data set needs.", remedy) from error
    except Exception as error:
        raise DataError(f"{file.place} is truncated, damaged or no pickle: {error}", remedy) from error
    if not isinstance(value, dict):
        raise DataError(f"{file.place} holds no dictionary but {type(value).__name__}.", remedy)
    return {_text(key): item for key, item in value.items()}


def texts(values: Any) -> list[str]:
    """A list of names as text.

    Raises
    ------
    ValueError : it is no such list.
    """
    if not isinstance(values, list) or not all(isinstance(value, bytes | str) for value in values):
        raise ValueError("a list of names is something else")
    return [_text(value) for value in values]


def _text(value: Any) -> str:
    """Python 2 wrote text as bytes; the names in these files are ASCII."""
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)
