from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import platformdirs
import pytest
from PIL import Image

from eyebright.core.errors import DataError
from eyebright.core.settings.data import DataSettings
from eyebright.data.load import data_root, load, located, resolve
from eyebright.data.sources.digits import DigitsSource
from eyebright.data.sources.folder import FolderSource
from tests.data.sources.tiny import write_folder


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the user's is read or written."""
    monkeypatch.setenv("EYEBRIGHT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("EYEBRIGHT_DATA", raising=False)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


def write_photos(folder: Path) -> Path:
    """Ten images of 8x8 in each of two classes."""
    for number, name in enumerate(("cat", "dog")):
        (folder / name).mkdir(parents=True)
        for copy in range(10):
            Image.new("RGB", (8, 8), (100 * number + copy, 0, 0)).save(folder / name / f"{copy}.png")
    return folder


def test_loads_digits_as_three_splits() -> None:
    splits = load(DataSettings(source="digits"))
    assert [len(part) for part in splits] == [1293, 144, 360]  # 1797 - 360 (20 %) = 1437, of which 144 are 10 %
    assert [part.split for part in splits] == ["train", "validation", "test"]
    assert len(np.unique(np.concatenate([part.index for part in splits]))) == 1797


def test_loads_a_folder_and_a_zip_of_it(tmp_path: Path) -> None:
    folder = write_photos(tmp_path / "photos")
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as packed:
        for path in sorted(folder.rglob("*.png")):
            packed.write(path, path.relative_to(tmp_path))
    for source in (folder, tmp_path / "photos.zip"):
        splits = load(DataSettings(source=str(source), validation=0.25, test=0.2))
        assert [len(part) for part in splits] == [12, 4, 4]
        assert splits.train.classes == ("cat", "dog")
        # red is 100 times the label, plus the number of the copy
        assert all((part.images[:, 0, 0, 0] // 100 == part.labels).all() for part in splits)


def test_reads_from_the_chosen_root_and_tells_progress(tmp_path: Path) -> None:
    folder = tmp_path / "sets" / "stl10_binary"
    folder.mkdir(parents=True)
    with pytest.raises(DataError, match=r"train_X\.bin is missing"):
        load(DataSettings(source="stl10", root=str(tmp_path / "sets")))
    files: dict[str, bytes] = {}
    for split in ("train", "test"):
        files |= {f"{split}_X.bin": bytes(27_648 * 20), f"{split}_y.bin": bytes(range(1, 11)) * 2}
    write_folder(tmp_path / "sets", "stl10_binary", files)
    calls: list[tuple[str, int, int]] = []
    settings = DataSettings(source="stl10", root=str(tmp_path / "sets"), size=8, validation=0.5)
    splits = load(settings, progress=lambda *call: calls.append(call))
    assert [len(part) for part in splits] == [10, 10, 20]
    assert calls == [("resize stl10 train", 20, 20), ("resize stl10 test", 20, 20)]


def test_a_known_name_wins_and_a_path_reaches_the_folder(tmp_path: Path) -> None:
    write_photos(Path("digits"))
    assert isinstance(resolve("digits"), DigitsSource)
    assert isinstance(resolve("./digits"), FolderSource)
    assert load(DataSettings(source="./digits")).train.classes == ("cat", "dog")


def test_what_is_neither_name_nor_path_is_told_both() -> None:
    with pytest.raises(DataError) as caught:
        load(DataSettings(source="cifar_10"))
    assert "neither the name of a data set nor the path of an existing image folder or zip" in caught.value.cause
    assert "'cifar_10'" in caught.value.cause
    assert caught.value.remedy.startswith("Did you mean 'cifar10'?")
    assert str(Path.cwd()) in caught.value.remedy


def test_the_data_root_is_the_argument_else_the_environment_else_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert data_root() == platformdirs.user_cache_path("eyebright") / "data"
    monkeypatch.setenv("EYEBRIGHT_DATA", str(tmp_path / "environment"))
    assert data_root() == tmp_path / "environment"
    assert data_root(str(tmp_path / "argument")) == tmp_path / "argument"
    monkeypatch.setenv("EYEBRIGHT_DATA", "")
    assert data_root() == platformdirs.user_cache_path("eyebright") / "data"
    assert data_root("~/sets") == Path.home() / "sets"


def test_a_data_root_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="is not a folder"):
        data_root(str(tmp_path / "file"))


def test_a_located_choice_means_the_same_from_every_folder(tmp_path: Path) -> None:
    (Path.cwd() / "photos").mkdir()
    chosen = located(DataSettings(source="photos", root="root"))
    assert (chosen.source, chosen.root) == (str(tmp_path / "work" / "photos"), str(tmp_path / "work" / "root"))
    for settings in (DataSettings(source="digits"), DataSettings(source="no-such-folder")):
        assert located(settings) == settings
