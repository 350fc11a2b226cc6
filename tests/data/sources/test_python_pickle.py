"""Pickles of strangers: read if they are data, refused if they ask for more, never run."""

from __future__ import annotations

import contextlib
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eyebright.core.errors import DataError
from eyebright.data.sources.archive import RawFile
from eyebright.data.sources.python_pickle import PickledArray, load_dictionary, texts
from tests.data.sources.tiny import cifar10_files, python2_pickle

BATCH = cifar10_files()["data_batch_1"]
SMALL = python2_pickle({b"data": np.arange(6, dtype=np.uint8).reshape(2, 3), b"labels": [1, 2], b"names": [b"a"]})


def load(content: bytes) -> dict[str, Any]:
    return load_dictionary(RawFile("place/batch", content), "Fetch it again.")


def test_the_pickle_made_by_hand_is_one() -> None:
    value = pickle.loads(python2_pickle(BATCH), encoding="bytes")
    assert value[b"labels"] == BATCH[b"labels"]
    assert np.array_equal(value[b"data"], BATCH[b"data"])


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(python2_pickle(BATCH), id="python 2"),
        pytest.param(pickle.dumps(BATCH, protocol=3), id="this numpy"),
        pytest.param(pickle.dumps(BATCH, protocol=3).replace(b"numpy._core", b"numpy.core"), id="numpy.core"),
        pytest.param(pickle.dumps(BATCH, protocol=3).replace(b"numpy.core", b"numpy._core"), id="numpy._core"),
        pytest.param(pickle.dumps({key.decode(): value for key, value in BATCH.items()}, protocol=4), id="text keys"),
    ],
)
def test_reads_what_any_python_wrote(content: bytes) -> None:
    batch = load(content)
    assert np.array_equal(batch["data"].pixels(), BATCH[b"data"])
    assert batch["labels"] == BATCH[b"labels"]
    assert texts(batch["filenames"])[0] == "photo_s_000000.png"


def test_reads_columns_first() -> None:
    array = np.asfortranarray(np.arange(6, dtype=np.uint8).reshape(2, 3))
    assert np.array_equal(load(pickle.dumps({"data": array}, protocol=3))["data"].pixels(), array)


class Touch:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_nothing_is_run(tmp_path: Path) -> None:
    mark = tmp_path / "run"
    content = pickle.dumps({"data": Touch(mark)})
    with pytest.raises(DataError, match="place/batch is refused: it asks for") as caught:
        load(content)
    assert caught.value.remedy == "Fetch it again."
    assert not mark.exists()
    pickle.loads(content)
    assert mark.exists()  # it would have been made


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"cbuiltins\neval\n(V1\ntR.", id="eval"),
        pytest.param(b"cos\nsystem\n(Vtrue\ntR.", id="system"),
        pytest.param(b"cnumpy\nload\n(Vx\ntR.", id="another of numpy"),
        pytest.param(b"cnumpy.core.multiarray\nfromfile\n(Vx\ntR.", id="another of multiarray"),
        pytest.param(b"\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93.", id="attribute by a dot"),
        pytest.param(b"Phttp://x\n.", id="outside object"),
    ],
)
def test_foreign_names_are_refused(content: bytes) -> None:
    with pytest.raises(DataError, match="is refused: it asks for"):
        load(content)


@pytest.mark.parametrize("content", [b"", b"<html>", b"\x80\x02K\x01.", SMALL[:-1]])
def test_what_is_no_dictionary_is_refused(content: bytes) -> None:
    with pytest.raises(DataError, match="place/batch"):
        load(content)


@given(st.integers(0, len(SMALL) - 1))
def test_a_truncated_pickle_is_refused(length: int) -> None:
    with pytest.raises(DataError, match="truncated, damaged or no pickle"):
        load(SMALL[:length])


@given(st.binary(max_size=200))
def test_random_bytes_give_a_data_error_or_a_dictionary(content: bytes) -> None:
    with contextlib.suppress(DataError):
        assert isinstance(load(content), dict)


@given(st.integers(0, len(SMALL) - 1), st.integers(0, 255))
def test_a_damaged_byte_gives_a_data_error_or_a_dictionary(place: int, byte: int) -> None:
    with contextlib.suppress(DataError, ValueError):
        value = load(SMALL[:place] + bytes([byte]) + SMALL[place + 1 :]).get("data")
        if isinstance(value, PickledArray):
            assert value.pixels().dtype == np.uint8


@pytest.mark.parametrize(
    "array", [np.arange(3), np.arange(3, dtype=np.float32), np.array([None]), np.array(["a"]), np.array([True])]
)
def test_only_bytes_are_pixels(array: np.ndarray[Any, Any]) -> None:
    value = load(pickle.dumps({"data": array}, protocol=3))["data"]
    with pytest.raises(ValueError, match="not of bytes"):
        value.pixels()


@pytest.mark.parametrize("shape", [(2, 4), (7,), ()])
def test_the_shape_must_fit_the_bytes(shape: tuple[int, ...]) -> None:
    array = PickledArray()
    kind = load(SMALL)["data"]._state[2]
    array.__setstate__((1, shape, kind, False, b"123456"))
    with pytest.raises(ValueError, match="has 6 bytes"):
        array.pixels()


def test_texts_are_a_list_of_text() -> None:
    assert texts([b"cat", "d\xf6g", b"d\xf6g"]) == ["cat", "dög", "dög"]
    for wrong in (None, b"cat", [1], ["a", None]):
        with pytest.raises(ValueError, match="names"):
            texts(wrong)
