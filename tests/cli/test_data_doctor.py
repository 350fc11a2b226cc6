"""`eyebright data doctor`: what it prints, and the files that it leaves."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eyebright.audit.data_doctor import DataFindings, examine_data, learned_from
from eyebright.core.errors import DataError
from eyebright.data.image_set import ImageSet, Splits
from eyebright.data.label_patch import LabelPatch
from eyebright.data.load import load
from eyebright.training.run import Run
from tests.cli.conftest import Command
from tests.data.test_near_copies import image_set, picture, recompressed


def photos(folder: Path) -> Path:
    """Red and blue photos; one red one is among the blue ones, two are copies, one is blank."""
    random = np.random.default_rng(0)
    for label, colour in enumerate(("blue", "red")):
        (folder / "photos" / colour).mkdir(parents=True)
        for number in range(40 + 60 * label):
            wrong = colour == "blue" and number == 3
            pixels = np.asarray(picture(100 * label + number)).astype(np.int64) // 2
            pixels[..., 0 if (colour == "red") != wrong else 2] += 110
            noisy = np.clip(pixels + random.normal(0, 2, pixels.shape), 0, 255).astype(np.uint8)
            Image.fromarray(noisy).save(folder / "photos" / colour / f"{number:02d}.png")
    red = folder / "photos" / "red"
    recompressed(Image.open(red / "07.png")).save(folder / "photos" / "blue" / "copy.png")
    (red / "same.png").write_bytes((red / "08.png").read_bytes())
    Image.new("RGB", (48, 48), "red").save(red / "blank.png")
    return folder / "photos"


def test_copies_and_blank_images(command: Command, tmp_path: Path) -> None:
    photos(tmp_path)
    ran = command("data", "doctor", "photos", "validation=0", "test=0")
    assert ran.code == 0
    assert ran.out.splitlines() == [
        "images: 143 train",
        "classes: 41 of blue to 102 of red",
        "blank: 1 of one colour: train 141",
        "copies: 2 images of train repeat another one of it",
        "copies: 1 pair has two labels: one is wrong, or they are no copies",
        f"written: {Path('data-doctor') / 'copies.png'}",
        f"written: {Path('data-doctor') / 'report.html'}",
    ]
    with Image.open(tmp_path / "data-doctor" / "copies.png") as sheet:
        assert sheet.width > 400
    found = json.loads(command("data", "doctor", "photos", "validation=0", "test=0", "--json").out)
    copies = {(pair["of_row"], pair["row"]): pair["likeness"] for pair in found["copies"]}
    assert copies.keys() == {(40, 48), (49, 142)}  # blue/copy.png and red/07.png, red/08.png and red/same.png
    assert 0.75 <= copies[40, 48] < copies[49, 142] == 1
    assert found["repeated"] == {"train": 2}
    assert found["classes"] == {"blue": 41, "red": 102}


def test_leaks_are_counted_and_the_remedy_named(command: Command, tmp_path: Path) -> None:
    folder = photos(tmp_path)
    for split, last in (("train", "1"), ("test", "2")):
        for colour in ("red", "blue"):
            (tmp_path / "divided" / split / colour).mkdir(parents=True)
            for path in (folder / colour).glob(f"*{last}.png"):
                path.rename(tmp_path / "divided" / split / colour / path.name)
    recompressed(Image.open(tmp_path / "divided/train/red/01.png")).save(tmp_path / "divided/test/red/copy.png")
    ran = command("data", "doctor", "divided", "validation=0")
    assert ran.code == 0, ran.err
    (line,) = (line for line in ran.out.splitlines() if "show a picture" in line)
    assert line == "copies: 6.7% [1.2%, 29.8%] of test (1 image) show a picture of train"
    assert "Leave them out of training: data.leave_out_copies=near" in ran.out
    cleaned = command("data", "doctor", "divided", "validation=0", "leave_out_copies=near")
    assert "copies: none" in cleaned.out


def test_doubtful_labels_and_their_patch(command: Command, tmp_path: Path) -> None:
    photos(tmp_path)
    arguments = ["test=0", "epochs=20", "batch_size=16", "--recipe", "digits/mlp", "--folds", "2"]
    ran = command("data", "doctor", "photos", *arguments)
    assert ran.code == 0, ran.err
    assert "of 143 are doubtful; the first:" in ran.out
    assert (tmp_path / "data-doctor" / "labels.png").is_file()
    patch = LabelPatch.read(tmp_path / "data-doctor" / "labels.json")
    assert "blue/03.png" in {change.file for change in patch.changes}
    page = (tmp_path / "data-doctor" / "report.html").read_text(encoding="utf-8")
    assert "blue/03.png" in page  # among the pictures
    assert "eyebright data fix photos labels.json" in page
    assert "eyebright data fix photos data-doctor/labels.json" in ran.err
    # Copies, changed ones too, are asked about together, whatever their splits.
    asked = Run.open(tmp_path / "data-doctor" / "runs" / "fold-1").predictions("test")
    assert asked is not None
    assert [int(np.isin(pair, asked.index).sum()) for pair in ([40, 48], [49, 142])] in ([0, 0], [2, 2], [0, 2], [2, 0])
    # A second call trains nothing, and says the same.
    assert command("data", "doctor", "photos", *arguments).out == ran.out
    assert command("data", "fix", "photos", "data-doctor/labels.json").code == 0
    assert (tmp_path / "photos" / "red" / "03.png").is_file()


def test_pictures_are_numbered_in_the_order_of_the_rows() -> None:
    images = [picture(seed) for seed in range(12)]
    whole = image_set([*images, images[3], recompressed(images[0])], "train")
    found = examine_data(Splits(whole.take([13, 2, 3, 5]), whole.take([12, 1, 4, 6, 7, 8]), whole.take([0, 9, 10, 11])))
    pictures = found.pictures
    assert len(pictures) == len(learned_from(found.splits)) == 14
    assert pictures[12] == pictures[3]
    assert pictures[13] == pictures[0]
    assert len(set(pictures.tolist())) == 12


def test_bad_input_is_explained(command: Command, tmp_path: Path) -> None:
    photos(tmp_path)
    assert command("data", "doctor", "nowhere").code == 2
    unknown = command("data", "doctor", "photos", "--recipe", "folder/smal")
    assert unknown.code == 2
    assert "folder/small" in unknown.err
    (tmp_path / "file").write_text("")
    blocked = command("data", "doctor", "photos", "--out", "file/folder")
    assert blocked.code == 2
    assert "file" in blocked.err


def test_what_is_gone_is_no_longer_shown(command: Command, tmp_path: Path) -> None:
    folder = photos(tmp_path)
    command("data", "doctor", "photos", "validation=0", "test=0")
    for name in ("blue/copy.png", "red/same.png"):
        (folder / name).unlink()
    ran = command("data", "doctor", "photos", "validation=0", "test=0")
    assert "copies: none" in ran.out
    assert not (tmp_path / "data-doctor" / "copies.png").exists()


def test_nothing_to_draw_is_refused() -> None:
    train = image_set([picture(seed) for seed in range(8)], "train")
    found = examine_data(Splits(train, train.take([]), train.take([])))
    assert isinstance(found, DataFindings)
    with pytest.raises(DataError, match="no copies to draw"):
        found.copies_sheet()
    with pytest.raises(DataError, match="no doubtful labels"):
        found.labels_sheet()


def test_real_faces_hold_copies_across_splits(emotions_zip: Path) -> None:
    """The published archive: its splits share pictures, by the same pixels and by changed ones."""
    splits = load(str(emotions_zip))

    def some(part: ImageSet) -> ImageSet:
        return part.take(np.arange(0, len(part), 4))

    found = examine_data(Splits(*(some(part) for part in splits)))
    assert found.copies.tells_near
    assert 0.03 < found.shared("train", "test").value < 0.2
    assert any(pair.relabelled and not pair.identical for pair in found.copies.pairs)
