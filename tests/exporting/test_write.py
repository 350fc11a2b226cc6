"""From a run to a bundle: what is written, what is refused, and that nothing is left of what failed."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import eyebright as eb
from eyebright.core.errors import DataError, ExportError
from eyebright.data.image_set import Splits
from eyebright.exporting import certify, write
from eyebright.exporting.bundle import Bundle
from eyebright.training.run import Run


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_holds_all_that_a_bundle_is(bundle: Bundle) -> None:
    assert left_in(bundle.path) == [
        "MODEL_CARD.md",
        "bundle.json",
        "certificate.json",
        "examples",
        "known.npz",
        "model.onnx",
    ]
    assert left_in(bundle.path.parent) == ["shades"]
    assert bundle.certificate.passed
    assert bundle.certificate.flips == 0
    assert bundle.certificate.resizing is not None
    assert bundle.certificate.resizing.max_difference < 1e-4
    assert bundle.certificate.bytes == (bundle.path / "model.onnx").stat().st_size


def test_the_name_of_the_package_is_the_function(run: Run, splits: Splits, traced: bytes, tmp_path: Path) -> None:
    made = eb.export(run, tmp_path / "model.onnx", check=splits.validation, name="Shades", licence="CC0")
    assert made.name == "Shades"
    assert "CC0" in made.card
    assert made.certificate.split == "validation"
    assert "label flips    0" in repr(made.certificate)
    import eyebright.exporting.bundle as module

    assert module.Bundle is eb.Bundle


@pytest.mark.parametrize("out", ["model.onnx", "folder"])
def test_over_tolerance_nothing_is_written(run: Run, splits: Splits, traced: bytes, tmp_path: Path, out: str) -> None:
    with pytest.raises(ExportError, match=r"largest difference of a logit .*, over the tolerance of 1e-12"):
        write.export(run, tmp_path / out, check=splits.test, tolerance=1e-12)
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("precision", ["int8", "fp16"])
def test_fewer_bits_are_measured_by_accuracy(
    run: Run, splits: Splits, traced: bytes, tmp_path: Path, precision: write.Precision
) -> None:
    made = write.export(
        run, tmp_path / "small.onnx", check=splits.test, calibrate=splits.validation, precision=precision
    )
    assert made.manifest.precision == made.certificate.precision == precision
    assert made.certificate.measure == "accuracy"
    assert made.certificate.bytes < len(traced)
    assert made.certificate.max_difference > 0


def test_a_bundle_is_replaced_and_nothing_else(run: Run, splits: Splits, traced: bytes, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    write.export(run, folder, check=splits.test, examples=splits.test)
    assert (folder / "examples").is_dir()
    write.export(run, folder, check=splits.test, images=20)
    assert not (folder / "examples").exists()
    assert eb.open_bundle(folder).certificate.images == 20
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "a.jpg").write_text("precious")
    with pytest.raises(ExportError, match="exists and is no bundle"):
        write.export(run, photos, check=splits.test)
    with pytest.raises(ExportError, match="exists and is no bundle"):
        write.export(run, photos / "a.jpg", check=splits.test)
    assert left_in(tmp_path) == ["bundle", "photos"]


def test_a_crash_while_writing_leaves_the_old_bundle(
    run: Run, splits: Splits, traced: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "bundle"
    before = write.export(run, folder, check=splits.test).manifest

    def crash(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(write, "_describe", crash)
    with pytest.raises(KeyboardInterrupt):
        write.export(run, folder, check=splits.test)
    assert left_in(tmp_path) == ["bundle"]
    assert eb.open_bundle(folder).manifest == before


def test_one_file_carries_no_images(run: Run, splits: Splits, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="carries no images"):
        write.export(run, tmp_path / "model.onnx", check=splits.test, known=splits.train)


def test_no_images_to_check_with(run: Run, splits: Splits, tmp_path: Path) -> None:
    empty = dataclasses.replace(splits.test, index=np.empty(0, np.int64))
    with pytest.raises(DataError, match="is empty"):
        write.export(run, tmp_path / "model.onnx", check=empty)


def test_the_version_is_that_of_the_weights(bundle: Bundle, run: Run) -> None:
    from eyebright.models import weights

    assert weights.read_header(run.best_checkpoint).digest.startswith(bundle.version)


def test_the_card_says_what_is_known(bundle: Bundle, run: Run) -> None:
    accuracy = run.scores["test"].accuracy
    assert f"| accuracy | {accuracy.value:.3f} [{accuracy.low:.3f}, {accuracy.high:.3f}] |" in bundle.card
    for wanted in ("dark, grey, light", "not stated", "| test | 45 |", "label flips    0", "name: test/shades"):
        assert wanted in bundle.card
    assert str(run.path) not in bundle.card


def test_timing_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certify, "_TIMED_SECONDS", 0.5)
    clock = iter(np.arange(0, 1000, 0.2).tolist())
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    calls: list[int] = []
    assert certify._seconds(lambda: calls.append(1)) == pytest.approx(0.2)
    assert len(calls) == 4  # one to warm up, three until half a second has passed
