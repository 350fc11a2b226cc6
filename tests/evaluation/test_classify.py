"""Answers for loose files: which files, in which order, and what becomes of bad ones."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from eyebright.core.errors import BadImageError, DataError
from eyebright.core.input_spec import InputSpec
from eyebright.core.settings.model import MLPSettings
from eyebright.data.image_files import find_images
from eyebright.evaluation.classify import classify
from eyebright.models.classifier import Classifier
from eyebright.models.registry import build


@pytest.fixture(scope="module")
def model() -> Classifier:
    return build(MLPSettings(hidden=(4,)), InputSpec(8, 8, 3, (0.5,) * 3, (0.25,) * 3, ("cat", "dog", "owl")))


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """Three pictures at two depths."""
    for name in ("b.png", "a.jpg", "deep/down/c.webp"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (9, 7), (200, 10, 10)).save(tmp_path / name)
    return tmp_path


def test_a_folder_gives_its_images_sorted(album: Path) -> None:
    wanted = [album / "a.jpg", album / "b.png", album / "deep" / "down" / "c.webp"]
    assert list(find_images([album])) == wanted
    assert list(find_images([album / "b.png", album])) == [album / "b.png", *wanted]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_what_is_no_file_of_a_picture_is_left_out(album: Path) -> None:
    """Reading the pipe would wait for ever."""
    wanted = list(find_images([album]))
    os.mkfifo(album / "pipe.jpg")
    (album / "folder.jpg").mkdir()
    (album / "broken.jpg").symlink_to(album / "nowhere")
    (album / "._a.jpg").write_text("what macOS leaves behind")
    (album / "deep" / "loop").symlink_to(album)
    assert list(find_images([album])) == wanted


def test_one_path_needs_no_list(model: Classifier, album: Path) -> None:
    for path in (album / "a.jpg", str(album / "a.jpg")):
        (answer,) = classify(model, path, top=2)
        assert answer.name == str(album / "a.jpg")
        assert len(answer.classes) == len(answer.probabilities) == 2
        assert set(answer.classes) < {"cat", "dog", "owl"}


def test_answers_keep_the_order_and_the_most_probable_class_is_first(model: Classifier, album: Path) -> None:
    answers = list(classify(model, [album], top=99, batch_size=2))
    assert [answer.name for answer in answers] == [str(path) for path in find_images([album])]
    for answer in answers:
        assert list(answer.probabilities) == sorted(answer.probabilities, reverse=True)
        assert sum(answer.probabilities) == pytest.approx(1)


def test_a_bad_image_stops_or_is_an_answer_with_its_problem(model: Classifier, album: Path) -> None:
    (album / "aa.jpg").write_text("no image")
    with pytest.raises(BadImageError, match=r"aa\.jpg"):
        list(classify(model, album))
    answers = list(classify(model, album, on_bad_image="skip"))
    assert [bool(answer.problem) for answer in answers] == [False, True, False, False]
    assert "aa.jpg" in answers[1].problem
    assert not answers[1].classes
    assert not answers[1].probabilities


def test_paths_without_images_are_refused(album: Path) -> None:
    (album / "empty").mkdir()
    with pytest.raises(DataError, match="empty holds no images"):
        list(find_images([album / "empty"]))
    with pytest.raises(DataError, match=r"no file or folder .*nowhere"):
        list(find_images([album / "nowhere"]))
