from __future__ import annotations

from typing import Any

import pytest

from eyebright.core.input_spec import InputSpec
from eyebright.core.settings.model import MLPSettings, PretrainedSettings, ResNetSettings
from eyebright.models import registry
from eyebright.models.depths import depths

SPEC = InputSpec(32, 32, 3, (0.5,) * 3, (0.25,) * 3, ("cat", "dog", "frog"))


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        (MLPSettings(hidden=(8, 4)), {"head.weight": 0, "body.stage2.linear.weight": 1, "body.stage1.linear.bias": 2}),
        (
            ResNetSettings(name="resnet20"),
            {"head.bias": 0, "body.stage3.block1.residual.norm1.weight": 1, "body.stem.convolution.weight": 4},
        ),
        (
            PretrainedSettings(body=ResNetSettings(name="resnet20"), weights="random"),
            {"head.bias": 0, "body.network.stage3.block1.residual.norm1.weight": 1},
        ),
        (
            PretrainedSettings(body="test_resnet", weights="random"),
            {"head.weight": 0, "body.network.layer4.0.conv1.weight": 1, "body.network.conv1.0.weight": 5},
        ),
        (
            PretrainedSettings(body="test_vit", weights="random"),
            {"body.network.norm.weight": 1, "body.network.blocks.5.norm1.weight": 1, "body.network.pos_embed": 7},
        ),
    ],
    ids=["mlp", "resnet20", "wrapped", "test_resnet", "test_vit"],
)
def test_depth_counts_stages_from_the_logits(settings: Any, wanted: dict[str, int]) -> None:
    model = registry.build(settings, SPEC)
    found = depths(model)
    assert found.keys() == dict(model.named_parameters()).keys()
    assert {name: found[name] for name in wanted} == wanted
