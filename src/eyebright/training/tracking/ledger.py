"""`tracking.json`: what a folder has already given to which tracker, so that each thing is given once."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import filelock

from eyebright.core.errors import TrackingError
from eyebright.core.files import storage_errors, write_json

FILE = "tracking.json"

# Seconds to wait for another process, or a thread of this one, that is copying the same folder.
_LOCK_SECONDS = 60.0


@dataclasses.dataclass
class Copied:
    """What one tracker has.

    Attributes
    ----------
    run : what the tracker calls the folder; None before it knows it.
    described : whether it has parameters, tags and images.
    parent : whether it shows the run below its sweep.
    readings, system : how many.
    status : the last one given.
    scores : digest of the scores.
    files : digest of each file.
    model : digest of the weights.
    """

    run: str | None = None
    described: bool = False
    parent: bool = False
    readings: int = 0
    system: int = 0
    status: str = ""
    scores: str = ""
    files: dict[str, str] = dataclasses.field(default_factory=dict)
    model: str = ""


class Ledger:
    """The content of `tracking.json`; `save` after each thing that was given.

    Attributes
    ----------
    id : 32 hex digits by which trackers find the folder; made before the first of them is asked.
    trackers : by their address.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        content: dict[str, Any] = {}
        if self._path.is_file():
            try:
                content = json.loads(self._path.read_text(encoding="utf-8"))
                self.trackers = {uri: Copied(**copied) for uri, copied in content["trackers"].items()}
                self.id: str = content["id"]
            except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
                raise TrackingError(
                    f"{self._path} is damaged: {error!r}.",
                    "Remove it; then the whole run is copied anew, as another entry of the tracker.",
                ) from error
        else:
            self.trackers = {}
            self.id = uuid.uuid4().hex
            self.save()

    def copied(self, uri: str) -> Copied:
        """What the tracker at `uri` has; to be changed in place."""
        return self.trackers.setdefault(uri, Copied())

    def save(self) -> None:
        """Remember, atomically."""
        trackers = {uri: dataclasses.asdict(copied) for uri, copied in self.trackers.items()}
        write_json(self._path, {"id": self.id, "trackers": trackers})


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[Ledger]:
    """The ledger of a folder, while nobody else copies it.

    Raises
    ------
    TrackingError : somebody else does, or the ledger is damaged.
    StorageError : the folder cannot be written.
    """
    lock = filelock.FileLock(folder / ".tracking.lock", timeout=_LOCK_SECONDS)
    try:
        with storage_errors(folder):
            lock.acquire()
    except filelock.Timeout:
        raise TrackingError(f"{folder} is being copied by another process.", "Try again later.") from None
    try:
        yield Ledger(folder)
    finally:
        lock.release()
