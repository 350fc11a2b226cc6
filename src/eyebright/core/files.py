"""Writing files so that a reader sees the old content or the new, never half of either."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from eyebright.core.errors import StorageError

# What the operating system says when the disk, the quota, a read-only mount or the path itself refuses a write.
_REFUSALS = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the disk quota is used up"}
_REFUSALS |= {errno.EROFS: "the file system is read-only", errno.EACCES: "permission denied"}
_REFUSALS |= {errno.EPERM: "it is not permitted", errno.EIO: "the disk fails", errno.EFBIG: "the file is too large"}
_REFUSALS |= {errno.EISDIR: "it is a folder", errno.ENOTDIR: "a folder of its path is a file"}
_REFUSALS |= {errno.EEXIST: "a file is where a folder is needed", errno.ENAMETOOLONG: "the name is too long"}

SQLITE = "sqlite:///"  # what the URL of an SQLite file begins with; its path follows


@contextlib.contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn the operating system's refusal to write `path` into a `StorageError`."""
    try:
        yield
    except OSError as error:
        reason = _REFUSALS.get(error.errno or 0)
        if reason is None:
            raise
        raise StorageError(
            f"cannot write {path}: {reason}.",
            "Free some space or choose another folder; what was written before is intact.",
        ) from error


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success it replaces `path`, on failure it is removed.

    The content is flushed to the disk before the swap, so a power cut leaves a whole file too.
    """
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        os.close(descriptor)
        temporary = Path(name)
        try:
            yield temporary
            with temporary.open("rb+") as written:
                os.fsync(written.fileno())
            temporary.chmod(0o644)  # mkstemp makes files private; a result is for the whole team
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def fixed_database(url: str) -> str:
    """A database URL that means the same in every folder: the path of an SQLite file becomes absolute."""
    if not url.startswith(SQLITE):
        return url
    return f"{SQLITE}{Path(url.removeprefix(SQLITE)).absolute().as_posix()}"


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Write `text` (UTF-8) to `path` atomically; bytes of file names that are no UTF-8 become escapes."""
    write_bytes(path, text.encode(errors="backslashreplace"))


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON to `path` atomically."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")
