"""Decoding with threads keeps the order, the pixels and the memory in bounds."""

from __future__ import annotations

import pickle
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eyebright.core.errors import BadImageError
from eyebright.core.input_spec import InputSpec
from eyebright.data import streaming as module
from eyebright.data.decode import load_image
from eyebright.data.image_files import open_files
from eyebright.data.names import Names
from eyebright.data.streaming import Decoding, StreamedPixels, decode_in_order
from tests.data.pictures import picture, pngs, write_tree

SAME = Decoding(6, 8, 3, "crop", "bilinear")  # the pictures have this shape
NAMES = tuple(f"cat/{number:03d}.png" for number in range(200))


def test_decoding_says_how_much_it_makes() -> None:
    assert SAME.shape == (6, 8, 3)
    assert SAME.image_bytes == 144


def test_all_images_in_their_order(tmp_path: Path) -> None:
    files = open_files(write_tree(tmp_path, pngs(*NAMES)))
    images = list(decode_in_order(files, files.names, SAME))
    assert np.array_equal(np.stack(images), np.stack([picture(seed) for seed in range(200)]))  # type: ignore[arg-type]  # none is an error


def test_a_bad_one_stands_in_its_place(tmp_path: Path) -> None:
    files = open_files(write_tree(tmp_path, {**pngs(*NAMES[:5]), NAMES[2]: b"text"}))
    kinds = [isinstance(image, BadImageError) for image in decode_in_order(files, files.names, SAME)]
    assert kinds == [False, False, True, False, False]


def test_no_files_give_no_images(tmp_path: Path) -> None:
    files = open_files(write_tree(tmp_path, pngs("cat/a.png")))
    assert list(decode_in_order(files, Names.of(()), SAME)) == []


def test_only_a_few_are_under_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TASK_IMAGES", 3)
    monkeypatch.setattr(module, "_threads", lambda: 2)
    files = open_files(write_tree(tmp_path, pngs(*NAMES)))
    begun = 0
    count = threading.Lock()

    def counted(self: Decoding, files: object, name: str) -> np.ndarray:
        nonlocal begun
        with count:
            begun += 1
        return picture(0)

    monkeypatch.setattr(Decoding, "pixels", counted)
    images = decode_in_order(files, files.names, SAME)
    for received, _ in enumerate(images):
        assert begun <= 3 * (received // 3) + 2 * 2 * 3  # two tasks a thread
    assert begun == 200


def test_large_images_make_small_tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TASK_BYTES", 1)
    files = open_files(write_tree(tmp_path, pngs(*NAMES[:3])))
    assert len(list(decode_in_order(files, files.names, SAME))) == 3


@pytest.mark.parametrize("size", [64, 800])
def test_training_and_prediction_see_the_same_bits(tmp_path: Path, size: int) -> None:
    (tmp_path / "cat").mkdir()
    Image.fromarray(picture(1, size, size)).save(tmp_path / "cat/a.jpg")
    spec = InputSpec(40, 30, 3, (0.5,) * 3, (0.5,) * 3, ("a", "b"), "pad", "bicubic")
    decoding = Decoding(spec.height, spec.width, spec.channels, spec.resize, spec.interpolation)
    predicted = load_image(tmp_path / "cat/a.jpg", spec)
    assert np.array_equal(decoding.pixels(open_files(tmp_path), "cat/a.jpg"), predicted)


def test_streamed_pixels_are_read_by_row(tmp_path: Path) -> None:
    files = open_files(write_tree(tmp_path, pngs(*NAMES[:6])))
    pixels = StreamedPixels(files, files.names, SAME)
    assert pixels.shape == (6, 6, 8, 3)
    assert np.array_equal(pixels[np.array([5, 0, 5])], np.stack([picture(5), picture(0), picture(5)]))
    assert pixels[np.array([], np.int64)].shape == (0, 6, 8, 3)


def test_streamed_pixels_can_be_sent_to_workers(tmp_path: Path) -> None:
    files = open_files(write_tree(tmp_path, pngs(*NAMES[:2])))
    sent = pickle.loads(pickle.dumps(StreamedPixels(files, files.names, SAME)))
    assert np.array_equal(sent[np.array([1])], picture(1)[np.newaxis])


def test_a_file_that_has_gone_is_named(tmp_path: Path) -> None:
    files = open_files(write_tree(tmp_path, pngs(*NAMES[:2])))
    (tmp_path / NAMES[1]).unlink()
    with pytest.raises(BadImageError, match=r"cat/001.png cannot be read"):
        StreamedPixels(files, files.names, SAME)[np.array([0, 1])]
