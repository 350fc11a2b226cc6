from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from eyebright.core.device import Plan
from eyebright.core.errors import ModelError
from eyebright.core.input_spec import InputSpec
from eyebright.core.recipe import Recipe
from eyebright.core.settings.model import PretrainedSettings, SpeedNetSettings
from eyebright.core.settings.training import TrainingSettings
from eyebright.data.image_set import Splits
from eyebright.models import registry
from eyebright.models.classifier import Classifier
from eyebright.training import freezing
from eyebright.training.callbacks import Callback
from eyebright.training.fit import fit
from eyebright.training.run import EpochRecord, Run
from tests.conftest import make_images

SPEC = InputSpec(32, 32, 3, (0.5,) * 3, (0.25,) * 3, ("a", "b"))
MODEL = registry.build(SpeedNetSettings(widths=(4, 4, 4)), InputSpec(9, 9, 3, (0.5,) * 3, (0.25,) * 3, ("a", "b")))


NETS = {
    "resnet": PretrainedSettings(body="test_resnet", weights="random", size=32),
    "vit": PretrainedSettings(body="test_vit", weights="random", size=32),
}


def learning(model: Classifier) -> set[str]:
    """The stages of which every parameter and every layer learns; no stage may learn in part."""
    found = set()
    for name, stage in model.network.named_children():
        parameters = {p.requires_grad for p in stage.parameters()}
        modes = {layer.training for layer in stage.modules()}
        assert len(parameters | modes) == 1 or not parameters, name
        found |= {name} if parameters == {True} else set()
    assert model.head.training
    assert all(p.requires_grad for p in model.head.parameters())
    return found


@pytest.mark.parametrize(("done", "learns"), [(0.0, True), (0.49, True), (0.5, False), (1.0, False)])
def test_a_stage_learns_until_its_share_is_done(done: float, learns: bool) -> None:
    freezing.freeze(MODEL.train(), TrainingSettings(freeze={"stage1": 0.5}), done)
    assert learning(MODEL) == {"whitening", "stage2", "stage3"} | ({"stage1"} if learns else set())


@pytest.mark.parametrize(
    ("unfreeze", "done", "expected"),
    [
        (None, 0.0, {"conv1", "bn1", "layer1", "layer2", "layer3", "layer4"}),
        ([], 0.5, set()),
        (["layer4"], 0.0, {"layer4"}),
        ({"layer4": 0.2, "layer3": 0.6}, 0.1, set()),
        ({"layer4": 0.2, "layer3": 0.6}, 0.2, {"layer4"}),
        ({"layer4": 0.2, "layer3": 0.6}, 0.9, {"layer3", "layer4"}),
        ({"all": 0.5}, 0.4, set()),
        ({"all": 0.5, "layer4": 0.0}, 0.5, {"conv1", "bn1", "layer1", "layer2", "layer3", "layer4"}),
    ],
)
def test_stages_learn_from_their_share_on(unfreeze: Any, done: float, expected: set[str]) -> None:
    model = registry.build(NETS["resnet"], SPEC)
    settings = TrainingSettings(unfreeze=unfreeze)
    for moment in (0.0, done):  # whatever was frozen before
        freezing.freeze(model.train(), settings, moment)
    assert learning(model) == expected


def test_freezing_wins_over_unfreezing() -> None:
    model = registry.build(NETS["resnet"], SPEC)
    freezing.freeze(model, TrainingSettings(unfreeze={"layer3": 0.0, "layer4": 0.0}, freeze={"layer3": 0.5}), 0.5)
    assert learning(model) == {"layer4"}


@pytest.mark.parametrize("chosen", [{}, {"freeze": {"layer4": 0.9}}, {"unfreeze": {"all": 0.0}}])
def test_what_the_author_of_a_body_froze_never_learns(chosen: dict[str, Any]) -> None:
    built = registry.build(NETS["resnet"], SPEC)
    built.network.get_submodule("layer1").requires_grad_(False)
    model = Classifier(built.body, built.head, built.spec, built.settings).train()
    freezing.freeze(model, TrainingSettings(**chosen), 0.5)
    learns = {name: {p.requires_grad for p in stage.parameters()} for name, stage in model.network.named_children()}
    assert learns["layer1"] == {False}
    assert learns["layer2"] == learns["layer4"] == {True}


@pytest.mark.parametrize("name", ["blocks.5", "network.blocks.5"])
def test_a_stage_may_lie_deeper(name: str) -> None:
    model = registry.build(NETS["vit"], SPEC)
    settings = TrainingSettings(unfreeze={name: 0.0})
    freezing.check(model, settings)
    freezing.freeze(model, settings, 0.0)
    learns = {path for path, parameter in model.network.named_parameters() if parameter.requires_grad}
    assert learns
    assert all(path.startswith("blocks.5.") for path in learns)


def test_a_model_that_is_judged_stays_in_evaluation_mode() -> None:
    model = registry.build(NETS["resnet"], SPEC).eval()
    freezing.freeze(model, TrainingSettings(unfreeze={"layer4": 0.0}), 0.0)
    assert not any(layer.training for layer in model.modules())


@pytest.mark.parametrize("purpose", ["freeze", "unfreeze"])
def test_an_unknown_stage_is_refused(purpose: str) -> None:
    settings = TrainingSettings(**{purpose: {"stage9": 0.5}})  # type: ignore[arg-type]  # of the field's type
    with pytest.raises(ModelError, match=rf"no stage 'stage9' to {purpose}(.|\n)*'stage"):
        freezing.check(MODEL, settings)


class Weights(Callback):
    """Keeps what stages hold at the end of every epoch."""

    def __init__(self) -> None:
        self.kept: list[dict[str, torch.Tensor]] = []

    def started(self, run: Run, _plan: Plan) -> None:
        """Remember where the checkpoints are."""
        self.run = run

    def epoch_done(self, _record: EpochRecord) -> None:
        """Read the checkpoint of the epoch."""
        self.kept.append(load_file(self.run.last_checkpoint))


def test_frozen_weights_do_not_move_and_the_others_do(tmp_path: Path) -> None:
    recipe = Recipe.from_dict(
        {
            "data": {"source": "shades"},
            "model": {"name": "speed_net", "widths": [4, 4, 4]},
            "optimizer": {"name": "muon"},
            "training": {"epochs": 4, "batch_size": 16, "freeze": {"stage1": 0.5}, "threads": 1, "device": "cpu"},
        }
    )
    splits = Splits(
        make_images(64, "train", 0, 12), make_images(16, "validation", 1, 12), make_images(16, "test", 2, 12)
    )
    seen = Weights()
    fit(recipe, splits, folder=tmp_path / "run", callbacks=[seen])
    names = [name for name in seen.kept[0] if name.startswith("model.body.stage") and "convolution" in name]
    for before, after, moves in zip(seen.kept, seen.kept[1:], (True, False, False), strict=False):
        for name in names:
            moved = not torch.equal(before[name], after[name])
            assert moved is (moves or "stage1" not in name), name
