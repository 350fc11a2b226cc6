from __future__ import annotations

import contextlib
import gzip
import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from eyebright.core.errors import DataError
from eyebright.core.settings.data import DataSettings
from eyebright.data.image_set import ImageSet
from eyebright.data.sources.mnist import FashionMnistSource, MnistSource, read_idx
from tests.data.sources.tiny import idx, write_idx_set

IMAGES = "train-images-idx3-ubyte.gz"
LABELS = "train-labels-idx1-ubyte.gz"


def read(root: Path) -> dict[str, ImageSet]:
    return MnistSource().read(DataSettings(source="mnist", download=False), root, None)


def test_an_idx_file_by_hand() -> None:
    content = bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6])
    assert read_idx(io.BytesIO(content), 3).tolist() == [[[1, 2, 3]], [[4, 5, 6]]]
    assert read_idx(io.BytesIO(bytes([0, 0, 8, 1, 0, 0, 0, 2, 7, 9])), 1).tolist() == [7, 9]


@given(arrays(np.uint8, array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=5)))
def test_idx_round_trip(array: NDArray[np.uint8]) -> None:
    assert np.array_equal(read_idx(io.BytesIO(idx(array)), array.ndim), array)


@given(arrays(np.uint8, array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=4)), st.data())
def test_any_truncation_and_any_addition_is_refused(array: NDArray[np.uint8], data: st.DataObject) -> None:
    content = idx(array)
    with pytest.raises(ValueError, match=r"begins|ends|fewer"):
        read_idx(io.BytesIO(content[: data.draw(st.integers(0, len(content) - 1))]), 3)
    with pytest.raises(ValueError, match="but it has more"):
        read_idx(io.BytesIO(content + b"\0"), 3)


@given(st.binary(max_size=40), st.sampled_from([1, 3]))
def test_random_bytes_are_refused_or_an_array(content: bytes, dimensions: int) -> None:
    with contextlib.suppress(ValueError):
        assert idx(read_idx(io.BytesIO(content), dimensions)) == content


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        pytest.param(idx(np.zeros(3, np.uint8)), "begins with 00 00 08 01 where 00 00 08 03", id="labels"),
        pytest.param(b"\0\0\x0d\3" + bytes(16), "begins with 00 00 0d 03", id="floats"),
        pytest.param(b"", "begins with nothing", id="empty"),
        pytest.param(b"\0\0\x08\3\0\0", "ends inside its header", id="header"),
        pytest.param(b"\0\0\x08\3" + b"\xff" * 12, "promises the shape (4294967295, 4294967295", id="huge"),
        pytest.param(b"\0\0\x08\3" + bytes(12), "promises the shape (0, 0, 0)", id="none"),
    ],
)
def test_what_is_no_file_of_images(content: bytes, cause: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the text is compared below
        read_idx(io.BytesIO(content), 3)
    assert cause in str(caught.value)


@pytest.mark.parametrize("source", [MnistSource(), FashionMnistSource()])
def test_reads_four_files(tmp_path: Path, source: MnistSource | FashionMnistSource) -> None:
    write_idx_set(tmp_path, source.name)
    parts = source.read(DataSettings(source=source.name, download=False), tmp_path, None)
    expected = np.random.default_rng(20).integers(0, 256, (20, 28, 28), dtype=np.uint8)
    assert np.array_equal(parts["train"].images[..., 0], expected)
    assert parts["test"].labels.tolist() == list(range(10))
    assert parts["test"].names[9] == "test/00009"
    assert parts["train"].classes[9] == ("9" if source.name == "mnist" else "Ankle boot")


def test_reads_unpacked_files(tmp_path: Path) -> None:
    write_idx_set(tmp_path, "mnist")
    packed = read(tmp_path)
    for path in (tmp_path / "mnist").glob("*.gz"):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    assert read(tmp_path)["train"].fingerprint == packed["train"].fingerprint


def images(count: int, edge: int = 28) -> bytes:
    return idx(np.zeros((count, edge, edge), np.uint8))


@pytest.mark.parametrize(
    ("name", "content", "cause"),
    [
        pytest.param(IMAGES, gzip.compress(images(20))[:-20], "is no whole file of images", id="truncated gzip"),
        pytest.param(IMAGES, gzip.compress(images(20)[:-1]), "but it has fewer", id="truncated inside"),
        pytest.param(IMAGES, gzip.compress(images(20))[:-8] + bytes(8), "CRC check failed", id="checksum"),
        pytest.param(IMAGES, images(20), "Not a gzipped file", id="not gzipped"),
        pytest.param(IMAGES, b"<html>", "Not a gzipped file", id="page"),
        pytest.param(IMAGES, gzip.compress(images(20, edge=32)), "images of 32x32, not 28x28", id="size"),
        pytest.param(IMAGES, gzip.compress(images(19)), "has 19 images, but", id="count"),
        pytest.param(LABELS, gzip.compress(idx(np.full(20, 10, np.uint8))), "has the label 10", id="label"),
        pytest.param(LABELS, gzip.compress(images(20)), "is no whole file of labels", id="images for labels"),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, name: str, content: bytes, cause: str) -> None:
    write_idx_set(tmp_path, "mnist")
    (tmp_path / "mnist" / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        read(tmp_path)
    assert str(tmp_path / "mnist" / name) in caught.value.cause
    assert cause in caught.value.cause
    assert "run again" in caught.value.remedy
