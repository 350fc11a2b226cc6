from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from eyebright.core.errors import DataError
from eyebright.core.settings.data import DataSettings
from eyebright.data.download import RemoteFile
from eyebright.data.sources import archive
from eyebright.data.sources.archive import Packed

SETTINGS = DataSettings(source="any", download=False)
PACKED = Packed(RemoteFile("set.tar.gz", ("http://127.0.0.1/set.tar.gz",), "md5:0"), "set")


def write(root: Path, *members: tuple[tarfile.TarInfo, bytes]) -> None:
    with tarfile.open(root / "set.tar.gz", "w:gz") as packed:
        for member, content in members:
            member.size = len(content)
            packed.addfile(member, io.BytesIO(content))


def link(name: str, target: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = tarfile.SYMTYPE, target
    return member


def test_reads_members_and_names_their_place(tmp_path: Path) -> None:
    write(tmp_path, (tarfile.TarInfo("./set/a"), b"one"), (tarfile.TarInfo("set/b"), b"two"))
    files = PACKED.read(["b", "a"], SETTINGS, tmp_path, None)
    assert {name: file.content for name, file in files.items()} == {"a": b"one", "b": b"two"}
    assert files["b"].place == f"{tmp_path}/set.tar.gz/set/b"


def test_nothing_leaves_the_archive(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "secret").write_bytes(b"secret")
    write(
        root,
        (tarfile.TarInfo("../escaped"), b"x"),
        (tarfile.TarInfo(str(tmp_path / "absolute")), b"x"),
        (tarfile.TarInfo("set/../../escaped"), b"x"),
        (tarfile.TarInfo("set/b"), b"two"),
        (link("set/a", "../../secret"), b""),
    )
    assert PACKED.read(["b"], SETTINGS, root, None)["b"].content == b"two"
    with pytest.raises(DataError, match="does not contain set/a"):
        PACKED.read(["a"], SETTINGS, root, None)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["root", "secret", "set.tar.gz"]


def test_a_file_too_large_for_the_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "_LARGEST_BYTES", 10)
    write(tmp_path, (tarfile.TarInfo("set/a"), bytes(11)))
    with pytest.raises(DataError, match="set/a is too large"):
        PACKED.read(["a"], SETTINGS, tmp_path, None)
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "a").write_bytes(bytes(11))
    with pytest.raises(DataError, match="is too large"):
        PACKED.read(["a"], SETTINGS, tmp_path, None)


def test_reading_may_stop_at_the_last_wanted_file(tmp_path: Path) -> None:
    write(tmp_path, (tarfile.TarInfo("set/a"), b"one"), (tarfile.TarInfo("set/rest"), bytes(10_000_000)))
    content = (tmp_path / "set.tar.gz").read_bytes()
    (tmp_path / "set.tar.gz").write_bytes(content[: len(content) // 2])
    stopping = Packed(PACKED.remote, PACKED.folder, read_to_end=False)
    assert stopping.read(["a"], SETTINGS, tmp_path, None)["a"].content == b"one"
    with pytest.raises(DataError, match="truncated"):
        PACKED.read(["a"], SETTINGS, tmp_path, None)


def test_an_unreadable_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "a").write_bytes(b"one")

    def refuse(_path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(DataError, match="cannot be read: Permission denied"):
        PACKED.read(["a"], SETTINGS, tmp_path, None)
