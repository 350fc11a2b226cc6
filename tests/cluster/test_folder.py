from __future__ import annotations

import threading
from pathlib import Path

import filelock
import pytest

from eyebright.cluster import folder as folders
from eyebright.cluster.folder import SharedFolder, marked, packed, unpack, wait_until_free
from eyebright.core.errors import ClusterError, StorageError


def test_a_marked_folder_is_known_and_another_of_its_name_is_not(tmp_path: Path) -> None:
    with marked(tmp_path / "runs") as folder:
        assert folder.seen
        assert folder.here("a") == tmp_path / "runs" / "a"
        seen = folder
        elsewhere = SharedFolder(folder.path, "another token")
        assert not elsewhere.seen
        assert elsewhere.here("a") == elsewhere.own / "a"
        assert elsewhere.own != folder.own
    assert not seen.seen
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="is a file"), marked(tmp_path / "file" / "runs"):
        pass


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_is_packed_arrives_whole_and_replaces_what_was_there(tmp_path: Path, kind: str) -> None:
    source, target = tmp_path / "source", tmp_path / "far" / "target"
    inner = Path("a", "b") if kind == "folder" else Path()
    (source / inner).parent.mkdir(parents=True, exist_ok=True)
    (source / inner).write_bytes(b"1")
    content = packed(source)
    unpack(content, target)
    assert (target / inner).read_bytes() == b"1"
    if kind == "folder":
        (target / "old").touch()
        unpack(content, target)
        assert sorted(path.name for path in target.iterdir()) == ["a"]
    assert [path.name for path in target.parent.iterdir()] == ["target"]


def test_a_process_that_still_trains_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wait_until_free(tmp_path / "not begun")
    lock = filelock.FileLock(tmp_path / ".lock", thread_local=False)
    lock.acquire()
    threading.Timer(0.1, lock.release).start()
    wait_until_free(tmp_path)
    assert not lock.is_locked
    monkeypatch.setattr(folders, "_LAST_BREATHS", 0)
    with filelock.FileLock(tmp_path / ".lock"), pytest.raises(ClusterError, match="does not end"):
        wait_until_free(tmp_path)
