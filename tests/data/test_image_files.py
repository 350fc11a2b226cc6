"""Which files count as images in a folder and in a zip, their bytes, and what their signature notices."""

from __future__ import annotations

import errno
import logging
import os
import pickle
import struct
import tempfile
import tracemalloc
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eyebright.core.errors import BadImageError, DataError
from eyebright.data import image_files as module
from eyebright.data.decode import Header
from eyebright.data.image_files import ImageFiles, open_files
from tests.data.pictures import picture, png, pngs, write_tree, write_zip

FILES: dict[str, bytes | None] = {
    **pngs("cat/b.png", "cat/a.JPG", "dog/deep/er/c.jfif", "dog/ü.webp", "dog/Z.tiff"),
    "empty/": None,
    "readme.txt": b"about",
    "cat/.hidden.png": b"x",
    "cat/Thumbs.db": b"x",
    "cat/._a.JPG": b"x",
    ".git/c.png": b"x",
    "__MACOSX/cat/._a.JPG": b"x",
    "notes/list.csv": b"x",
}
NAMES = ("cat/a.JPG", "cat/b.png", "dog/Z.tiff", "dog/deep/er/c.jfif", "dog/ü.webp")
EVERY = np.arange(len(NAMES))
FOLDERS = ("cat", "dog", "dog/deep", "dog/deep/er", "empty", "notes")


def as_folder(path: Path) -> Path:
    return write_tree(path / "photos", FILES)


def as_zip(path: Path) -> Path:
    return write_zip(path / "photos.zip", FILES)


@pytest.fixture(params=[as_folder, as_zip])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> ImageFiles:
    make: Callable[[Path], Path] = request.param
    return open_files(make(tmp_path))


def test_images_and_folders_are_listed_in_order(files: ImageFiles) -> None:
    assert tuple(files.names) == NAMES
    assert files.folders == FOLDERS


def test_what_is_left_out_is_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "eyebright"):
        open_files(as_folder(tmp_path))
    assert caplog.messages == [f"{tmp_path / 'photos'}: ignored 5 files that are hidden or no images"]


def test_content(files: ImageFiles) -> None:
    assert {name: files.read(name) for name in NAMES} == {name: FILES[name] for name in NAMES}


def test_a_part_is_read_by_itself(files: ImageFiles) -> None:
    part = files.part(range(1, 4))
    assert tuple(part.names) == NAMES[1:4]
    assert [part.read(name) for name in part.names] == [FILES[name] for name in NAMES[1:4]]
    assert part.signature(np.arange(3)) == files.signature(np.arange(1, 4))
    assert len(pickle.dumps(files.part(range(0)))) < len(pickle.dumps(part)) < len(pickle.dumps(files))


def test_header(files: ImageFiles) -> None:
    assert files.header("cat/b.png") == Header(6, 8, grey=False)


def test_many_threads_read_the_same_as_one(files: ImageFiles) -> None:
    wanted = list(NAMES) * 40
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(files.read, wanted)) == [FILES[name] for name in wanted]


def test_a_child_process_reads_too(tmp_path: Path) -> None:
    files = open_files(as_zip(tmp_path))
    child = os.fork()
    if child == 0:
        os._exit(0 if files.read("cat/b.png") == FILES["cat/b.png"] else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_a_missing_member_of_a_folder_is_a_bad_image(tmp_path: Path) -> None:
    files = open_files(as_folder(tmp_path))
    (tmp_path / "photos/cat/b.png").unlink()
    with pytest.raises(BadImageError, match=r"b.png cannot be read: No such file"):
        files.read("cat/b.png")


def test_a_path_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="photos does not exist"):
        open_files(tmp_path / "photos")


def test_the_folder_of_each_image_is_known(files: ImageFiles) -> None:
    assert [files.folders[parent] for parent in files.parents] == ["cat", "cat", "dog", "dog/deep/er", "dog"]


def test_an_image_right_in_the_root_lies_in_no_folder(tmp_path: Path) -> None:
    tree = pngs("b.png", "a/1.png")
    for path in (write_tree(tmp_path / "photos", tree), write_zip(tmp_path / "photos.zip", tree)):
        files = open_files(path)
        assert (list(files.names), files.parents.tolist()) == (["a/1.png", "b.png"], [0, -1])


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sets(st.lists(st.sampled_from(["a", "a-b", "a b", "b", "é"]), min_size=1, max_size=4).map(tuple), max_size=12)
)
def test_names_are_in_the_order_of_strings_however_folders_are_called(
    tmp_path: Path, places: set[tuple[str, ...]]
) -> None:
    expected = sorted("/".join(place) + f"{number}.png" for place in places for number in (1, 2))
    root = Path(tempfile.mkdtemp(dir=tmp_path))
    for name in expected:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    with zipfile.ZipFile(root / "all.zip", "w") as archive:
        for name in reversed(expected):
            archive.writestr(name, b"")
    for files in (open_files(root), open_files(root / "all.zip")):
        assert list(files.names) == expected
        for name, parent in zip(files.names, files.parents.tolist(), strict=True):
            assert name.rpartition("/")[0] == (files.folders[parent] if parent >= 0 else "")


def test_names_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    (Path(os.fsdecode(os.fsencode(tmp_path) + b"/cat/\xff.png"))).write_bytes(b"content")
    files = open_files(tmp_path)
    assert list(files.names) == ["cat/\udcff.png"]
    assert files.read(files.names[0]) == b"content"
    assert len(files.signature(np.array([0]))) == 32


def test_a_folder_that_cannot_be_listed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tree(tmp_path, pngs("cat/a.png", "dog/b.png"))
    listed = os.scandir

    def refuse(folder: Path) -> Any:
        if Path(folder).name == "dog":
            raise PermissionError(errno.EACCES, "Permission denied")
        return listed(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match=f"the folder {tmp_path / 'dog'} cannot be listed: Permission denied"):
        open_files(tmp_path)


def test_a_listed_file_costs_little_memory(tmp_path: Path) -> None:
    count = 1000
    for number in range(count):
        (tmp_path / f"image_{number:07d}.jpg").touch()
    tracemalloc.start()
    try:
        files = open_files(tmp_path)
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(files.names) == count
    # a name of 17 bytes and 12 for its place, 24 for the stamp, 4 for the folder; 100,000 bytes for all else
    assert kept < 60 * count + 100_000
    assert peak < 600 * count + 100_000  # this one folder unpacked


# ---- signature


def test_the_signature_notices_names_order_and_content(tmp_path: Path) -> None:
    files = open_files(as_folder(tmp_path))
    signature = files.signature(EVERY)
    assert files.signature(EVERY) == signature
    assert files.signature(EVERY[::-1]) != signature
    assert files.signature(EVERY[1:]) != signature
    os.utime(tmp_path / "photos/cat/b.png", ns=(10**18, 10**18 + 1))
    assert open_files(tmp_path / "photos").signature(EVERY) != signature


def test_the_signature_of_a_zip_is_that_of_its_content(tmp_path: Path) -> None:
    first = open_files(as_zip(tmp_path / "one"))
    again = open_files(write_zip(tmp_path / "two.zip", FILES, zipfile.ZIP_STORED))
    other = open_files(write_zip(tmp_path / "three.zip", {**FILES, "cat/b.png": png(picture(99))}))
    assert first.signature(EVERY) == again.signature(EVERY)
    assert first.signature(EVERY) != other.signature(EVERY)


# ---- links


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "photos", pngs("cat/a.png"))
    elsewhere = write_tree(tmp_path / "elsewhere", pngs("b.png"))
    (root / "dog").symlink_to(elsewhere)
    (root / "cat/up").symlink_to(root)
    (root / "cat/self").symlink_to(root / "cat/self")
    (root / "cat/broken.png").symlink_to(root / "nothing.png")
    (elsewhere / "cat").symlink_to(root / "cat")  # dog/cat/up is photos again
    files = open_files(root)
    assert tuple(files.names) == ("cat/a.png", "dog/b.png", "dog/cat/a.png")
    assert files.folders == ("cat", "dog", "dog/cat")


def test_a_pipe_is_no_image(tmp_path: Path) -> None:
    write_tree(tmp_path, pngs("cat/a.png"))
    os.mkfifo(tmp_path / "cat/pipe.png")
    assert tuple(open_files(tmp_path).names) == ("cat/a.png",)


# ---- bad zips


@pytest.mark.parametrize("keep", [0, 100, -10])
def test_a_truncated_zip(tmp_path: Path, keep: int) -> None:
    path = as_zip(tmp_path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"photos.zip is not a folder and not a whole zip"):
        open_files(path)


def test_a_text_called_zip(tmp_path: Path) -> None:
    (tmp_path / "photos.zip").write_text("no zip")
    with pytest.raises(DataError, match=r"photos.zip is not a folder and not a whole zip"):
        open_files(tmp_path / "photos.zip")


def with_directory_field(path: Path, field: str, offset: int, value: int) -> Path:
    """Set a field (a format of `struct`) of every entry of the central directory."""
    content = bytearray(path.read_bytes())
    start = content.find(b"PK\1\2")
    while start >= 0:
        struct.pack_into(field, content, start + offset, value)
        start = content.find(b"PK\1\2", start + 1)
    path.write_bytes(content)
    return path


def test_an_encrypted_zip(tmp_path: Path) -> None:
    path = with_directory_field(as_zip(tmp_path), "<H", offset=8, value=1)
    with pytest.raises(DataError, match=r"photos.zip is encrypted \(cat/b.png\)"):
        open_files(path)


def test_a_zip_of_another_compression(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="compressed by a method that is not read here"):
        open_files(write_zip(tmp_path / "photos.zip", FILES, zipfile.ZIP_BZIP2))


def test_a_member_that_unfolds_to_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_zip(tmp_path / "photos.zip", {"cat/a.png": bytes(1000)})
    monkeypatch.setattr(module, "MAX_FILE_BYTES", 999)
    with pytest.raises(DataError, match=r"too large for an image \(cat/a.png"):
        open_files(path)


def test_a_member_that_lies_about_its_size_is_not_unfolded(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "photos.zip", {"cat/a.png": bytes(16 << 20)})  # some 16 KiB in the zip
    files = open_files(with_directory_field(path, "<I", offset=24, value=1000))
    tracemalloc.start()
    try:
        with pytest.raises(BadImageError, match=r"photos.zip/cat/a.png is damaged in the zip"):
            files.read("cat/a.png")
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED])
def test_damaged_members_are_bad_images(tmp_path: Path, compression: int) -> None:
    path = write_zip(tmp_path / "photos.zip", pngs("cat/a.png", "cat/b.png"), compression)
    files = open_files(path)
    content = bytearray(path.read_bytes())
    content[60:80] = bytes(20)  # inside the first member
    path.write_bytes(content)
    with pytest.raises(BadImageError, match=r"photos.zip/cat/a.png .* the zip"):
        files.read("cat/a.png")
    assert files.read("cat/b.png") == png(picture(1))


@pytest.mark.parametrize("name", ["cat/aa.png", "", "zebra.png"])
def test_a_member_that_is_not_there_is_no_other_one(tmp_path: Path, name: str) -> None:
    with pytest.raises(KeyError, match=repr(name)):
        open_files(as_zip(tmp_path)).read(name)


def test_backslashes_of_old_windows_zips(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "photos.zip", pngs("cat/a.png"))
    path.write_bytes(path.read_bytes().replace(b"cat/a.png", b"cat\\a.png"))
    files = open_files(path)
    assert (tuple(files.names), files.folders) == (("cat/a.png",), ("cat",))
    assert files.read("cat/a.png") == png(picture(0))
