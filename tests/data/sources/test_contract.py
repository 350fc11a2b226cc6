"""What every registered source must do, shown on a tiny data set in its own format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from eyebright.core.errors import DataError, DownloadError
from eyebright.core.settings.data import DataSettings
from eyebright.data.image_set import ImageSet
from eyebright.data.sources.base import SOURCES, Source, find
from tests.data.sources.tiny import WRITERS


def read(name: str, root: Path, **settings: object) -> dict[str, ImageSet]:
    choice = DataSettings(source=name, download=False, **settings)  # type: ignore[arg-type]
    return find(name).read(choice, root, None)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoded images go to a folder of the test."""
    monkeypatch.setenv("EYEBRIGHT_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(params=SOURCES)
def name(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    WRITERS[request.param](tmp_path)
    return str(request.param)


@pytest.mark.parametrize("name", SOURCES)
def test_every_source_has_a_tiny_data_set_here_and_says_what_it_is(name: str) -> None:
    assert name in WRITERS
    source = find(name)
    assert isinstance(source, Source)
    assert source.name == name
    assert source.title
    assert "\n" not in source.description


def test_parts_are_whole_and_consistent(name: str, tmp_path: Path) -> None:
    parts = read(name, tmp_path)
    assert set(parts) in ({"all"}, {"train", "test"}, {"train", "validation", "test"})
    for split, part in parts.items():
        assert part.split == split
        assert part.store.source == name
        assert part.images.dtype == np.uint8
        assert part.images.shape == (len(part), *part.shape)
        assert part.labels.dtype == np.int64
        assert len(part.names) == len(set(part.names)) == len(part)
        assert len(np.unique(part.index)) == len(part)
        # every class is there, and no label is beyond them
        assert np.array_equal(np.unique(part.labels), np.arange(len(part.classes)))
    assert len({part.classes for part in parts.values()}) == 1
    assert len({part.shape for part in parts.values()}) == 1


def test_reading_twice_gives_the_same(name: str, tmp_path: Path) -> None:
    first, second = read(name, tmp_path), read(name, tmp_path)
    assert {split: part.fingerprint for split, part in first.items()} == {
        split: part.fingerprint for split, part in second.items()
    }


@pytest.mark.parametrize("channels", [1, 3])
def test_size_and_channels_are_as_wanted(name: str, tmp_path: Path, channels: int) -> None:
    for part in read(name, tmp_path, size=12, channels=channels, resize="squash", interpolation="nearest").values():
        assert part.shape == (12, 12, channels)
        assert part.images.shape == (len(part), 12, 12, channels)
        assert (part.store.resize, part.store.interpolation) == ("squash", "nearest")


@pytest.mark.parametrize("name", sorted(set(SOURCES) - {"digits"}))  # digits come with scikit-learn
def test_missing_files_are_asked_for_by_path(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        find(name).read(DataSettings(source=name, download=False), tmp_path, None)
    assert isinstance(caught.value, DownloadError) or name == "emotions"  # which nobody may redistribute
    assert str(tmp_path) in str(caught.value)
    assert caught.value.remedy


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(DataError, match="no data set named 'cifar-10'") as caught:
        find("cifar-10")
    assert caught.value.remedy == "Did you mean 'cifar10'?"
