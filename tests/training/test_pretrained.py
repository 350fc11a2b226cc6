"""Trainings that begin with weights of others: what moves, what does not, and what the run remembers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from eyebright.core.errors import ModelError
from eyebright.core.recipe import Recipe
from eyebright.core.settings.model import PretrainedSettings
from eyebright.data.image_set import Splits
from eyebright.evaluation.predict import predict
from eyebright.models import weights
from eyebright.training.callbacks import Callback
from eyebright.training.fit import fit, judge, resume
from eyebright.training.run import EpochRecord, Run
from tests.models.timm_files import save_timm


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Weights of a tiny ResNet, in timm's own format."""
    save_timm("test_resnet", tmp_path / "resnet.safetensors")
    return tmp_path / "resnet.safetensors"


def recipe(file: str | Path, *, model: dict[str, Any] | None = None, **training: Any) -> Recipe:
    return Recipe.from_dict(
        {
            "data": {"source": "shades"},
            "model": {"name": "pretrained", "body": "test_resnet", "weights": str(file), "size": 32} | (model or {}),
            "optimizer": {"name": "sgd", "lr": 0.002},
            "training": {"epochs": 2, "batch_size": 32, "threads": 1, "device": "cpu", "precision": "fp32"} | training,
        }
    )


def moved(run: Run, start: dict[str, Tensor]) -> set[str]:
    """The stages of the network of which any weight or statistic is not what it was."""
    found = run.model.network.state_dict()
    return {name.partition(".")[0] for name, value in found.items() if not torch.equal(value, start[name])}


STAGES = {"conv1", "bn1", "layer1", "layer2", "layer3", "layer4"}


@pytest.mark.parametrize(
    ("unfreeze", "expected"),
    [([], set()), (["layer4"], {"layer4"}), ({"layer4": 0.0, "layer3": 0.5}, {"layer3", "layer4"}), (None, STAGES)],
)
@pytest.mark.parametrize("ema", [None, 0.9])
def test_frozen_weights_and_statistics_do_not_move_and_the_others_do(
    unfreeze: Any, expected: set[str], ema: float | None, shades: Splits, tmp_path: Path, file: Path
) -> None:
    start = load_file(file)
    unjudged = Splits(shades.train, shades.validation.take([]), shades.test)  # so the last model is kept
    run = fit(recipe(file, unfreeze=unfreeze, ema=ema), unjudged, folder=tmp_path / "run", callbacks=[])
    assert moved(run, start) == expected


def test_a_run_knows_its_weights_and_needs_their_file_no_more(shades: Splits, tmp_path: Path, file: Path) -> None:
    run = fit(recipe(file, unfreeze=["layer4"], epochs=1), shades, folder=tmp_path / "run", callbacks=[])
    file.unlink()
    again = Run.open(run.path)
    chosen, spec = again.recipe.model, again.model.spec
    assert isinstance(chosen, PretrainedSettings)
    assert chosen.sha256 is not None
    assert (chosen.body, chosen.size, chosen.mean) == ("test_resnet", 32, (0.5, 0.5, 0.5))
    assert (spec.height, spec.width, spec.mean, spec.std) == (8, 8, (0.5,) * 3, (0.5,) * 3)  # enlarged in the model
    assert "timm" in again.environment
    assert judge(again, shades)["test"].accuracy.n == 45
    with pytest.raises(ModelError, match=r"resnet\.safetensors"):  # it cannot be trained anew without
        fit(again.recipe, shades, folder=tmp_path / "other", callbacks=[])


def test_the_licence_travels_with_the_model(
    shades: Splits, tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.rename(tmp_path / "test_resnet.r160_in1k.safetensors")
    monkeypatch.setenv("EYEBRIGHT_WEIGHTS", str(tmp_path))
    run = fit(recipe("default", unfreeze=[], epochs=1), shades, folder=tmp_path / "run", callbacks=[])
    assert run.model.spec.licence == "apache-2.0"
    assert run.recipe.model.body == "test_resnet.r160_in1k"  # type: ignore[union-attr]


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw", "muon"])
def test_stages_may_begin_to_learn_later(optimizer: str, shades: Splits, tmp_path: Path, file: Path) -> None:
    slow = {"optimizer.head_lr": 1e-4, "optimizer.vector_lr": 1e-4} if optimizer == "muon" else {}
    chosen = recipe(file, unfreeze={"layer4": 0.25, "layer3": 0.5}).replace(optimizer=optimizer, lr=1e-4, **slow)
    unjudged = Splits(shades.train, shades.validation.take([]), shades.test)
    run = fit(chosen, unjudged, folder=tmp_path / "run", callbacks=[])
    assert moved(run, load_file(file)) == {"layer3", "layer4"}


class Stop(Callback):
    """Ends the training like Ctrl-C, after the first epoch."""

    def epoch_done(self, _record: EpochRecord) -> None:
        """Stop."""
        raise KeyboardInterrupt


@pytest.mark.parametrize("unfreeze", [[], {"layer4": 0.6}])
def test_resuming_is_exact_and_needs_no_other_file(unfreeze: Any, shades: Splits, tmp_path: Path, file: Path) -> None:
    chosen = recipe(file, unfreeze=unfreeze, stage_decay=0.7)
    whole = fit(chosen, shades, folder=tmp_path / "whole", callbacks=[])
    with pytest.raises(KeyboardInterrupt):
        fit(chosen, shades, folder=tmp_path / "parts", callbacks=[Stop()])
    file.unlink()
    parts = resume(Run.open(tmp_path / "parts"), shades, callbacks=[])
    assert parts.best_checkpoint.read_bytes() == whole.best_checkpoint.read_bytes()


def test_weights_that_are_missing_leave_no_folder(shades: Splits, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is no file or folder"):
        fit(recipe(tmp_path / "nothing.pth"), shades, folder=tmp_path / "run", callbacks=[])
    assert not (tmp_path / "run").exists()


def test_the_body_of_a_run_serves_another(shades: Splits, tmp_path: Path) -> None:
    own = {"name": "regularized_cnn", "widths": [4, 8], "hidden": 8}
    first = Recipe.from_dict({"data": {"source": "shades"}, "model": own, "training": {"epochs": 1, "threads": 1}})
    source = fit(first, shades, folder=tmp_path / "source", callbacks=[])
    target = fit(
        recipe(source.path, model={"body": None, "size": None}, unfreeze=[]),
        shades,
        folder=tmp_path / "target",
        callbacks=[],
    )
    theirs = source.model
    assert moved(target, theirs.body.state_dict()) == set()
    assert target.model.spec.mean == theirs.spec.mean
    assert weights.read_header(target.best_checkpoint).settings.name == "pretrained"
    assert np.isfinite(predict(target.model, shades.test).logits).all()
