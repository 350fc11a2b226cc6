"""The comparison, with files that are wrong by known amounts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from eyebright.core.settings.data import DataSettings
from eyebright.data.image_set import Splits
from eyebright.data.load import load
from eyebright.exporting.certificate import Certificate
from eyebright.exporting.certify import Runner, certify, sampled
from eyebright.models.classifier import Classifier
from eyebright.training.run import Run


def through_torch(model: Classifier) -> Runner:
    def run(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        fitted = images if images.shape[1:3] == (8, 8) else images[:, :8, :8]
        with torch.inference_mode():
            logits: NDArray[np.float32] = model(torch.from_numpy(fitted.copy()).permute(0, 3, 1, 2)).numpy()
            return logits

    return run


def certified(model: Classifier, runner: Runner, splits: Splits, **changes: Any) -> Certificate:
    facts: dict[str, Any] = {"measure": "difference", "tolerance": 1e-3, "any_size": False, "packages": ()}
    facts |= {"format": "onnx", "precision": "fp32", "size": 12}
    return certify(model, runner, splits.test, **facts | changes)


def test_the_model_equals_itself(run: Run, splits: Splits) -> None:
    model = run.model
    certificate = certified(model, through_torch(model), splits)
    assert (certificate.max_difference, certificate.flips, certificate.passed) == (0, 0, True)
    assert certificate.model_accuracy == certificate.file_accuracy == run.scores["test"].accuracy
    assert certificate.images == 45
    assert certificate.fingerprint == splits.test.fingerprint
    assert certificate.single_milliseconds > 0
    assert certificate.images_per_second > 0


def test_each_difference_is_counted(run: Run, splits: Splits) -> None:
    model = run.model
    exact = through_torch(model)

    def wrong(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        logits = exact(images)
        logits[:, 0] += 100
        return logits

    certificate = certified(model, wrong, splits)
    assert certificate.max_difference == pytest.approx(100, rel=1e-5)
    assert certificate.mean_difference == pytest.approx(100 / 3, rel=1e-5)
    assert certificate.flips == int((exact(splits.test.images).argmax(axis=1) != 0).sum())
    assert certificate.file_accuracy.value == pytest.approx(1 / 3)
    assert not certificate.passed
    assert certified(model, wrong, splits, measure="accuracy", tolerance=1.0).passed


def test_other_sizes_are_compared_too(run: Run, splits: Splits) -> None:
    model = run.model  # whose stand-in cuts images of other sizes instead of resizing them
    resizing = certified(model, through_torch(model), splits, any_size=True).resizing
    assert resizing is not None
    assert resizing.images == 16
    assert resizing.max_difference > 1e-3


def test_raw_files_are_used_where_there_are(run: Run, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("raw")
    for label, level in (("dark", 20), ("grey", 120), ("light", 220)):
        (folder / label).mkdir()
        for number in range(6):
            Image.new("RGB", (30 + number, 20), (level + number,) * 3).save(folder / label / f"{number}.png")
    splits = load(DataSettings(source=str(folder), size=8, validation=0, test=0.4))
    seen = []
    model = run.model
    exact = through_torch(model)

    def watched(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        seen.append(images.shape[1:3])
        return exact(images)

    certified(model, watched, splits, any_size=True)
    assert any(height == 20 and width >= 30 for height, width in seen)


def test_averaged_views_are_noted(run: Run, splits: Splits) -> None:
    model = run.model
    (note,) = certified(model, through_torch(model), splits, views="mirror").notes
    assert "'mirror'" in note


def test_a_sample_is_always_the_same(splits: Splits) -> None:
    few = sampled(splits.test, 10)
    assert len(few) == 10
    assert few.index.tolist() == sampled(splits.test, 10).index.tolist() == sorted(few.index)
    assert sampled(splits.test, 1000) is splits.test
