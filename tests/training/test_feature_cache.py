from __future__ import annotations

import logging
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from eyebright.core.recipe import Recipe
from eyebright.data.cache import cache_folder
from eyebright.data.image_set import ImageSet, Splits
from eyebright.models.classifier import Classifier
from eyebright.training import feature_cache
from eyebright.training.fit import fit
from eyebright.training.run import Run
from tests.models.timm_files import save_timm


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EYEBRIGHT_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "resnet.pth"
    save_timm("test_resnet", path)
    return path


def recipe(file: Path, *, augment: dict[str, Any] | None = None, **training: Any) -> Recipe:
    return Recipe.from_dict(
        {
            "data": {"source": "shades"},
            "model": {"name": "pretrained", "body": "test_resnet", "weights": str(file), "size": 32, "dropout": 0.2},
            "augment": augment or {},
            "optimizer": {"name": "adam", "lr": 0.001},
            "training": {"epochs": 2, "batch_size": 32, "unfreeze": [], "threads": 1, "device": "cpu"} | training,
        }
    )


def files() -> list[Path]:
    return sorted((cache_folder() / "features").glob("*.npy"))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images the body has seen."""
    counts: list[int] = []
    original = Classifier.normalise

    def normalise(self: Classifier, images: torch.Tensor, **options: Any) -> torch.Tensor:
        counts.append(len(images))
        return original(self, images, **options)

    monkeypatch.setattr(Classifier, "normalise", normalise)
    return counts


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("flip", [False, True, "alternating"])
def test_the_head_becomes_what_it_becomes_the_slow_way(
    flip: Any, precision: str, file: Path, shades: Splits, tmp_path: Path, asked: list[int]
) -> None:
    runs: dict[bool, Run] = {}
    seen: dict[bool, int] = {}
    for cached in (False, True):
        chosen = recipe(file, augment={"flip": flip}, cache_features=cached, precision=precision)
        asked.clear()
        runs[cached] = fit(chosen, shades, folder=tmp_path / str(cached), callbacks=[])
        seen[cached] = sum(asked)
    slow, fast = (runs[cached].model.state_dict() for cached in (False, True))
    assert slow.keys() == fast.keys()
    # bf16 rounds a feature to 8 bits, and the size of a batch may decide which way.
    tolerance = 1e-5 if precision == "fp32" else 0.02
    for name, value in slow.items():
        torch.testing.assert_close(fast[name], value, rtol=tolerance, atol=tolerance)
    for one, other in zip(runs[False].history, runs[True].history, strict=True):
        for key in ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "lr"):
            assert other[key] == pytest.approx(one[key], abs=10 * tolerance)
    probes = 4 + 4
    assert seen == {False: 2 * (130 + 30), True: 130 * (2 if flip else 1) + 30 + probes}


def test_features_that_are_known_are_not_computed_again(
    file: Path, shades: Splits, tmp_path: Path, asked: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "eyebright")
    first = fit(recipe(file), shades, folder=tmp_path / "first", callbacks=[])
    assert "computing the features of 130 train images, once" in caplog.text
    asked.clear()
    second = fit(recipe(file), shades, folder=tmp_path / "second", callbacks=[])
    assert "the features of the train images are known" in caplog.text
    assert sum(asked) == 4 + 4
    assert first.best_checkpoint.read_bytes() == second.best_checkpoint.read_bytes()
    assert len(files()) == 2


@pytest.mark.parametrize("change", ["weights", "pixels", "precision", "normalisation"])
def test_other_features_have_a_file_of_their_own(change: str, file: Path, shades: Splits, tmp_path: Path) -> None:
    fit(recipe(file), shades, folder=tmp_path / "first", callbacks=[])
    before = set(files())
    chosen = recipe(file)
    if change == "weights":
        save_timm("test_resnet", tmp_path / "other.pth", seed=1)
        chosen = recipe(tmp_path / "other.pth")
    elif change == "pixels":
        shades = Splits(shades.train.take(range(120)), shades.validation.take(range(20)), shades.test)
    elif change == "precision":
        chosen = recipe(file, precision="fp32" if torch.cpu._is_avx512_bf16_supported() else "bf16")
    else:
        chosen = recipe(file).replace(**{"model.mean": [0.4, 0.4, 0.4]})
    fit(chosen, shades, folder=tmp_path / "second", callbacks=[])
    assert len(set(files()) - before) == 2


@pytest.mark.parametrize("damage", ["truncated", "garbage", "empty", "another shape"])
def test_a_damaged_file_is_made_again(damage: str, file: Path, shades: Splits, tmp_path: Path) -> None:
    first = fit(recipe(file), shades, folder=tmp_path / "first", callbacks=[])
    for path in files():
        content = path.read_bytes()
        if damage == "another shape":
            np.save(path, np.zeros((1, 2, 3), dtype=np.float32))
        else:
            path.write_bytes({"truncated": content[:-4], "garbage": b"x" * 99, "empty": b""}[damage])
    second = fit(recipe(file), shades, folder=tmp_path / "second", callbacks=[])
    assert first.best_checkpoint.read_bytes() == second.best_checkpoint.read_bytes()


@pytest.mark.parametrize(
    ("changes", "applies", "passes"),
    [
        ({}, True, 1),
        ({"flip": True}, True, 2),
        ({"flip": "alternating"}, True, 2),
        ({"crop": 1}, False, 2),
        ({"mixup": 0.2}, False, 2),
        ({"unfreeze": ["layer4"]}, False, 2),
        ({"unfreeze": {"all": 0.5}}, False, 2),
        ({"unfreeze": None}, False, 2),
        ({"progressive": [[0.5, 0.5]]}, False, 2),
        ({"cache_features": False}, False, 2),
    ],
)
def test_when_features_can_be_computed_once(changes: dict[str, Any], applies: bool, passes: int, file: Path) -> None:
    chosen = recipe(file).replace(**changes)
    assert (feature_cache.applies(chosen), feature_cache.passes(chosen)) == (applies, passes)


def test_it_says_which_augmentation_makes_a_frozen_body_slow(
    file: Path, shades: Splits, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "eyebright")
    fit(recipe(file, augment={"crop": 1}, epochs=1), shades, folder=tmp_path / "run", callbacks=[])
    assert "augment.crop shows it new images in every epoch" in caplog.text
    assert not files()


def test_the_cache_is_bounded(
    file: Path, shades: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fit(recipe(file, epochs=1), shades, folder=tmp_path / "first", callbacks=[])
    old = files()
    for path in old:
        os.utime(path, (0, 0))
    size = sum(path.stat().st_size for path in old)
    monkeypatch.setattr(feature_cache, "LIMIT_BYTES", size)
    fit(recipe(file, epochs=1, precision="fp32"), shades, folder=tmp_path / "second", callbacks=[])
    assert sum(path.stat().st_size for path in files()) <= size
    monkeypatch.setattr(feature_cache, "LIMIT_BYTES", 1000)
    kept = files()
    other = Splits(shades.train.take(range(100)), shades.validation, shades.test)
    run = fit(recipe(file, epochs=1), other, folder=tmp_path / "third", callbacks=[])
    assert "do not fit into" in caplog.text
    assert run.status == "finished"
    assert files() == kept  # removing them would not have made room


def test_two_trainings_may_clear_the_cache_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "old.npy").write_bytes(bytes(10))
    found = [*tmp_path.glob("*.npy"), tmp_path / "gone.npy"]
    monkeypatch.setattr(Path, "glob", lambda *_: iter([*found]))
    monkeypatch.setattr(feature_cache, "LIMIT_BYTES", 15)
    monkeypatch.setattr(feature_cache, "RESERVE_BYTES", 0)
    assert feature_cache._room(tmp_path, 10)
    assert not (tmp_path / "old.npy").exists()


def test_what_killed_processes_left_is_removed_after_a_day(tmp_path: Path) -> None:
    old, new = tmp_path / ".a.npy.x1.tmp", tmp_path / ".b.npy.x2.tmp"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (0, time.time() - 90_000))
    assert feature_cache._room(tmp_path, 10)
    assert [path.exists() for path in (old, new)] == [False, True]


def test_an_interrupt_leaves_no_half_file(
    file: Path, shades: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Impatient:
        requested = True

        def __enter__(self) -> Impatient:
            return self

        def __exit__(self, *_: object) -> None:
            """Give nothing back."""

    monkeypatch.setattr("eyebright.training.fit.Interrupt", Impatient)
    with pytest.raises(KeyboardInterrupt):
        fit(recipe(file), shades, folder=tmp_path / "run", callbacks=[])
    assert list((cache_folder() / "features").iterdir()) == []
    assert Run.open(tmp_path / "run").status == "interrupted"


def test_a_training_without_validation_images(file: Path, shades: Splits, tmp_path: Path) -> None:
    none: ImageSet = shades.validation.take([])
    run = fit(recipe(file), Splits(shades.train, none, shades.test), folder=tmp_path / "run", callbacks=[])
    assert "validation_loss" not in run.history[-1]
