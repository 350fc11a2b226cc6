"""The page of the data doctor: what it says, and that its pictures are those of its pairs and labels."""

from __future__ import annotations

import base64
import dataclasses
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from eyebright.audit.data_doctor import DataFindings, examine_data, learned_from
from eyebright.audit.doubtful_labels import doubtful_labels
from eyebright.data.image_set import BadImage, ImageSet, ImageStore, Splits
from eyebright.evaluation.predictions import Predictions
from eyebright.reporting import data_content, data_report
from eyebright.reporting.data_report import DataReport
from tests.data.test_near_copies import image_set, picture, recompressed

from .conftest import Reader, read


def made_findings() -> DataFindings:
    """Twelve pictures: 12 repeats 3 under the other label, 13 of the test is a recompressed 0, 14 is blank."""
    images = [picture(seed) for seed in range(12)]
    blank = Image.new("RGB", images[0].size, "red")
    whole = image_set([*images, images[3], recompressed(images[0]), blank], "train")
    labels = whole.store.labels.copy()
    labels[[12, 13]] = [1 - labels[3], labels[0]]
    store = dataclasses.replace(whole.store, labels=labels)
    whole = dataclasses.replace(whole, store=store)
    return examine_data(
        Splits(whole.take([0, 2, 3, 5, 14]), whole.take([1, 4, 6, 12]), whole.take([7, 8, 9, 10, 11, 13]))
    )


def doubted(found: DataFindings) -> DataFindings:
    """Models that call row 5 and, less surely, row 12 something else than their labels."""
    asked = learned_from(found.splits)
    logits = np.zeros((len(asked), 2), np.float32)
    logits[np.arange(len(asked)), asked.labels] = 3
    for row, logit in ((5, 6), (12, 5)):
        logits[row, 1 - asked.labels[row]] = logit
    return found.doubting(
        doubtful_labels(Predictions(logits, asked.labels, asked.index, asked.classes, "train", asked.store.source))
    )


def text_of(reader: Reader) -> str:
    return " ".join(text for _, text in reader.texts).replace("\u202f", " ")


def tiles(laid: dict[str, Any]) -> list[NDArray[np.uint8]]:
    """The pictures of a sprite in their order."""
    found = []
    for sheet in laid["sheets"]:
        with Image.open(io.BytesIO(base64.b64decode(sheet.partition(",")[2]))) as opened:
            paper = np.asarray(opened.convert("RGB"))
        height, width = laid["height"], laid["width"]
        found += [
            paper[top : top + height, left : left + width]
            for top in range(0, len(paper), height)
            for left in range(0, paper.shape[1], width)
        ]
    return found


def test_what_was_found_is_said() -> None:
    found = doubted(made_findings())
    report = data_report.data_report(found)
    page = report.html()
    reader = read(page)
    text = text_of(reader)
    assert repr(report).startswith("DataReport(pictures: Copies(15 images, 13 pictures")
    assert "15 images: 5 training, 4 validation, 6 test. Nothing was changed." in text
    assert "2 pairs, 1 of them under two labels" in text
    assert "Test images seen in training 16.7 %" in text
    assert "Validation images seen in training 25.0 %" in text
    assert "Test images seen in validation" not in text
    assert "data.leave_out_copies=near" in text
    assert "Doubtful labels 2 of 15" in text
    assert "1 image is of one colour" in text
    assert "eyebright data fix pictures labels.json" in text
    assert "://" not in page
    assert "were left out" not in text


def test_nothing_found_is_said_too() -> None:
    train = image_set([picture(seed) for seed in range(8)], "train")
    found = examine_data(Splits(train, train.take([]), train.take([])))
    report = data_report.data_report(found)
    text = text_of(read(report.html()))
    assert "No image shows the picture of another one." in text
    assert "leave_out_copies" not in text
    assert "Labels that models doubt" not in text
    assert data_content.script_data(report) == {}
    doubtful = doubted(made_findings()).doubtful
    assert doubtful is not None
    nobody = found.doubting(dataclasses.replace(doubtful, predictions=doubtful.predictions.take([])))
    text = text_of(read(data_report.data_report(nobody).html()))
    assert "They doubt none." in text


def test_pictures_are_those_of_the_pairs() -> None:
    found = made_findings()
    shown = data_content.script_data(data_report.data_report(found))["copies"]
    first, second = shown["pairs"]
    assert (first["kind"], first["rows"], first["splits"]) == ("relabelled", [3, 12], ["Training", "Validation"])
    assert first["likeness"] == "the same pixels"
    assert (second["kind"], second["rows"], second["splits"]) == ("across", [0, 13], ["Training", "Test"])
    assert second["likeness"].startswith("likeness 0.")
    pictures, pixels = tiles(shown["sprite"]), np.asarray(found.splits.train.store.pixels)
    for pair in shown["pairs"]:
        for tile, row in zip(pair["tiles"], pair["rows"], strict=True):
            assert (pictures[tile] == pixels[row]).all()
            assert shown["names"][tile] == str(row)


def test_pictures_are_those_of_the_labels() -> None:
    found = doubted(made_findings())
    shown = data_content.script_data(data_report.data_report(found))
    images, (answer,) = shown["images"], shown["answers"]
    assert images["index"] == [5, 12]
    assert (images["split"], images["source"], images["files"]) == ("train", "pictures", False)
    labels = found.splits.train.store.labels
    assert images["given"] == labels[[5, 12]].tolist()
    assert answer["predicted"] == (1 - labels[[5, 12]]).tolist()
    assert answer["given_share"] == pytest.approx([10_000 / (1 + np.exp(3)), 10_000 / (1 + np.exp(2))], abs=1)
    assert shown["fingerprint"] == learned_from(found.splits).fingerprint
    for tile, row in zip(tiles(images["sprite"]), (5, 12), strict=False):
        assert (tile == np.asarray(found.splits.train.store.pixels)[row]).all()


def test_many_findings_are_cut_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_report, "_PAIRS", 1)
    monkeypatch.setattr(data_report, "_LABELS", 1)
    report = data_report.data_report(doubted(made_findings()))
    text = text_of(read(report.html()))
    assert "These are 1 of the 2 pairs" in text
    assert "These are the 1 most doubtful of 2" in text
    assert data_content.script_data(report)["images"]["index"] == [5]


def test_files_that_were_left_out_and_hostile_names() -> None:
    found = made_findings()
    hostile = "</script><img src=x onerror=alert(1)>"

    def renamed(part: ImageSet, store: ImageStore) -> ImageSet:
        return dataclasses.replace(part, store=store)

    before = found.splits.train.store
    store = dataclasses.replace(
        before,
        classes=("a", hostile),
        names=[hostile] * len(before.names),
        bad=(BadImage("b/broken.png", "truncated"),),
    )
    splits = Splits(*(renamed(part, store) for part in found.splits))
    report = data_report.data_report(doubted(examine_data(splits)))
    page = report.html()
    reader = read(page)
    assert "1 file was left out" in text_of(reader)
    assert reader.of("img") == []
    assert page.count("<script") == 2


def test_written_whole(tmp_path: Path) -> None:
    report = data_report.data_report(made_findings())
    assert isinstance(report, DataReport)
    assert report.write(tmp_path / "page.html").read_text(encoding="utf-8") == report.html()
