"""Writing: the old content or the new, never half of either."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from eyebright.core.errors import StorageError
from eyebright.core.files import atomic_path, fixed_database, write_bytes, write_json, write_text


def test_content_arrives_in_new_folders(tmp_path: Path) -> None:
    write_text(tmp_path / "a" / "text", "é")
    write_json(tmp_path / "a" / "json", {"n": 1})
    assert (tmp_path / "a" / "text").read_bytes() == "é".encode()
    assert json.loads((tmp_path / "a" / "json").read_text()) == {"n": 1}


def test_a_failure_leaves_the_old_content_and_no_litter(tmp_path: Path) -> None:
    def fail() -> None:
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            raise ZeroDivisionError

    path = tmp_path / "file"
    write_text(path, "old")
    with pytest.raises(ZeroDivisionError):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("code", "reason"), [(errno.ENOSPC, "disk is full"), (errno.EROFS, "read-only")])
def test_a_refusal_of_the_system_names_file_and_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, reason: str
) -> None:
    def refuse(_descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    path = tmp_path / "file"
    write_text(path, "old")
    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(StorageError, match=reason) as caught:
        write_bytes(path, b"new")
    assert str(path) in caught.value.cause
    assert caught.value.remedy
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_for_real(tmp_path: Path) -> None:
    def fill() -> None:
        with atomic_path(tmp_path / "file") as temporary:
            temporary.unlink()
            temporary.symlink_to("/dev/full")
            temporary.write_bytes(b"x")

    with pytest.raises(StorageError, match="disk is full"):
        fill()
    assert list(tmp_path.iterdir()) == []


def test_a_path_that_can_be_no_file_is_refused_without_litter(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("old")
    for path, reason in (
        (tmp_path / "folder", "it is a folder"),
        (tmp_path / "file" / "x", "a file is where a folder is needed"),
        (tmp_path / "file" / "x" / "y", "a folder of its path is a file"),
        (tmp_path / ("n" * 300), "the name is too long"),
    ):
        with pytest.raises(StorageError, match=reason):
            write_text(path, "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_a_file_name_that_is_no_text_comes_back_from_json(tmp_path: Path) -> None:
    name = os.fsdecode(b"b\xff.jpg")  # as Linux allows it
    write_json(tmp_path / "json", [name, "\u65e5"])
    assert json.loads((tmp_path / "json").read_text(encoding="utf-8")) == [name, "\u65e5"]


def test_an_sqlite_file_means_the_same_in_every_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert fixed_database("sqlite:///a/b.db") == f"sqlite:///{tmp_path}/a/b.db"
    assert fixed_database("sqlite:////a/b.db") == "sqlite:////a/b.db"
    assert fixed_database("postgresql://host/x") == "postgresql://host/x"
