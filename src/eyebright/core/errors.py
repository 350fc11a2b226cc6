"""The one tree of exceptions: each names the cause and the remedy.

Everything that Eyebright raises on purpose is an `EyebrightError`, so a caller needs one `except`
and the command line turns each into a message and exit code 2.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any


class EyebrightError(Exception):
    """Something the user can mend.

    Parameters
    ----------
    cause : what is wrong, naming the file or field.
    remedy : what to do about it, as an imperative sentence.
    """

    def __init__(self, cause: str, remedy: str = "") -> None:
        super().__init__(f"{cause}\n{remedy}" if remedy else cause)
        self.cause = cause
        self.remedy = remedy

    def __reduce__(self) -> tuple[Any, ...]:
        # By default it would be made anew from its message alone, which not every constructor takes.
        return _again, (type(self), self.cause, self.remedy)


def _again(kind: type[EyebrightError], cause: str, remedy: str) -> EyebrightError:
    """An error that came from another process."""
    error = kind.__new__(kind)
    EyebrightError.__init__(error, cause, remedy)
    return error


class RecipeError(EyebrightError):
    """A recipe, a field or a value that does not exist or does not fit."""


class DataError(EyebrightError):
    """A data set that cannot be used as it is."""


class BadImageError(DataError):
    """A file that should be an image and cannot be decoded."""


class TooManyPixelsError(BadImageError):
    """An image that is larger than the memory should bear; its header says so."""


class DownloadError(DataError):
    """A data set that could not be fetched; the remedy says where to place it by hand."""


class ModelError(EyebrightError):
    """A model that does not fit its input or its settings."""


class CheckpointError(EyebrightError):
    """A checkpoint that is damaged, or that belongs to another model."""


class RunError(EyebrightError):
    """A run folder that does not exist, is not one, or is in use."""


class DivergedError(EyebrightError):
    """Training whose loss is no longer finite."""


class StorageError(EyebrightError):
    """A disk that is full or cannot be written."""


class SweepError(EyebrightError):
    """A sweep that cannot be begun or continued, or none of whose trials can be chosen."""


class DeviceError(EyebrightError):
    """A device or precision that this machine does not have."""


class ProcessError(EyebrightError):
    """Processes that should train together and cannot."""


class ClusterError(EyebrightError):
    """A cluster that cannot be reached, has no room, or does not see the folders that it is to work in."""


class BundleError(EyebrightError):
    """A bundle that is missing, damaged, or not made for what is asked of it."""


class ExportError(EyebrightError):
    """A model that cannot be exported, or whose export does not answer as the model does."""


class TrackingError(EyebrightError):
    """A tracker that does not answer, or that refuses what it is given."""


class ServingError(EyebrightError):
    """A server that cannot start as it was told to."""


class MissingExtraError(EyebrightError):
    """An optional part that is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(
            f"this needs the package {package!r}, which is not installed.",
            f"Install it with: pip install 'eyebright[{extra}]'",
        )


def failure(error: Exception) -> str:
    """Kind and cause on one line, for a record of what failed."""
    return f"{type(error).__name__}: {error.cause if isinstance(error, EyebrightError) else error}"


def nearest(name: str, valid: Iterable[str]) -> str:
    """A sentence that helps after a misspelt name: the nearest valid one, else all of them."""
    names = sorted(valid)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if close:
        return f"Did you mean {close[0]!r}?"
    return f"Valid names: {', '.join(names)}." if names else ""
