from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from eyebright.core.device import Plan
from eyebright.core.errors import ModelError
from eyebright.core.input_spec import InputSpec
from eyebright.core.recipe import Recipe
from eyebright.core.settings.model import SpeedNetSettings
from eyebright.data.image_set import Splits
from eyebright.models import registry
from eyebright.training import freezing
from eyebright.training.callbacks import Callback
from eyebright.training.fit import fit
from eyebright.training.run import EpochRecord, Run
from tests.conftest import make_images

MODEL = registry.build(SpeedNetSettings(widths=(4, 4, 4)), InputSpec(9, 9, 3, (0.5,) * 3, (0.25,) * 3, ("a", "b")))


@pytest.mark.parametrize(("done", "learning"), [(0.0, True), (0.49, True), (0.5, False), (1.0, False)])
def test_a_stage_learns_until_its_share_is_done(done: float, learning: bool) -> None:
    freezing.freeze(MODEL, {"stage1": 0.5}, done)
    assert {p.requires_grad for p in MODEL.body.get_submodule("stage1").parameters()} == {learning}
    assert {p.requires_grad for p in MODEL.body.get_submodule("stage2").parameters()} == {True}


def test_an_unknown_stage_is_refused() -> None:
    with pytest.raises(ModelError, match=r"no stage 'stage9' to freeze(.|\n)*stage"):
        freezing.check(MODEL, {"stage9": 0.5})


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
