"""`SharedFolder`: a folder that other machines may see, or not: then they work elsewhere and send what they made."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import secrets
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import final

import filelock

from eyebright.core.errors import ClusterError
from eyebright.core.files import storage_errors

# Seconds that a process whose machine has lost the cluster may go on: so long it keeps the lock of its run.
_LAST_BREATHS = 120


@final
@dataclasses.dataclass(frozen=True)
class SharedFolder:
    """A folder that holds runs; from `marked`.

    Attributes
    ----------
    path : of the folder, absolute.
    token : tells it from a folder of the same name on another machine.
    """

    path: str
    token: str

    @property
    def marker(self) -> Path:
        """The file by which another machine knows the folder."""
        return Path(self.path) / f".{self.token}"

    @property
    def seen(self) -> bool:
        """Whether this process sees the folder."""
        return self.marker.is_file()

    @property
    def own(self) -> Path:
        """A folder of this machine for what others need not see."""
        return Path(tempfile.gettempdir()) / f"eyebright-{self.token}"

    def here(self, name: str) -> Path:
        """Where this process has the run `name`: in the folder, else in one of this machine's own."""
        return (Path(self.path) if self.seen else self.own) / name


@contextlib.contextmanager
def marked(path: Path) -> Iterator[SharedFolder]:
    """Make a folder where there is none, and let others recognise it for a while."""
    folder = SharedFolder(str(path.absolute()), f"seen-{secrets.token_hex(8)}")
    with storage_errors(path):
        path.mkdir(parents=True, exist_ok=True)
        folder.marker.touch()
    try:
        yield folder
    finally:
        folder.marker.unlink(missing_ok=True)


def seen_by_all(folder: SharedFolder) -> bool:
    """Whether each machine of the cluster sees a folder."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    look = ray.remote(num_cpus=0)(_sees)
    there = [NodeAffinitySchedulingStrategy(node["NodeID"], soft=False) for node in ray.nodes() if node["Alive"]]
    return all(ray.get([look.options(scheduling_strategy=strategy).remote(folder) for strategy in there]))


def _sees(folder: SharedFolder) -> bool:
    return folder.seen


def wait_until_free(run: Path) -> None:
    """Wait until no other process trains in a run's folder: the one before may have lost the cluster and not its life.

    Raises
    ------
    ClusterError : it does not end.
    """
    if not run.is_dir():
        return
    try:
        with storage_errors(run), filelock.FileLock(run / ".lock", timeout=_LAST_BREATHS):
            return
    except filelock.Timeout:
        raise ClusterError(f"another process trains in {run} and does not end.", "Stop it, then resume.") from None


def packed(path: Path) -> bytes:
    """A file, or a folder with all that is in it."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        archive.add(path, arcname=path.name)
    return content.getvalue()


def unpack(content: bytes, target: Path) -> None:
    """Put what `packed` has packed at `target`, whole or not at all; what is there already is replaced."""
    with storage_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as folder:
            with tarfile.open(fileobj=io.BytesIO(content)) as archive:
                archive.extractall(folder, filter="data")
            (arrived,) = Path(folder).iterdir()
            if target.exists():
                shutil.rmtree(target)
            arrived.replace(target)
