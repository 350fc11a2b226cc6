from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eyebright.core.errors import ModelError
from eyebright.core.input_spec import InputSpec
from eyebright.core.settings.model import ModelSettings, SimpleCNNSettings, SpeedNetSettings
from eyebright.models import registry
from eyebright.models.classifier import Classifier
from eyebright.training import progressive

STAGES = ((0.5, 0.75), (0.25, 0.5))  # in any order


@pytest.mark.parametrize(("done", "scale"), [(0.0, 0.5), (0.24, 0.5), (0.25, 0.75), (0.49, 0.75), (0.5, 1), (1, 1)])
def test_a_stage_lasts_until_its_share_is_done(done: float, scale: float) -> None:
    assert progressive.scale_at(STAGES, done) == scale


def test_without_stages_images_stay_as_they_are() -> None:
    images = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    assert progressive.scale_at((), 0.0) == 1
    assert progressive.shrunk(images, 1.0, torch.channels_last) is images


def test_shrinking_averages_and_keeps_the_range() -> None:
    images = torch.tensor([[0, 0, 200, 200], [0, 0, 200, 200]] * 2, dtype=torch.uint8).view(1, 1, 4, 4)
    small = progressive.shrunk(images, 0.5, torch.channels_last)
    expected = F.interpolate(images.float(), size=(2, 2), mode="bilinear", antialias=True)
    assert torch.equal(small, expected)
    assert small[0, 0, 0, 0] < 60  # mostly the dark side
    assert small[0, 0, 0, 1] > 140


def test_a_model_of_any_size_passes() -> None:
    model = registry.build(SpeedNetSettings(widths=(4, 4, 4)), InputSpec(16, 16, 3, (0.5,) * 3, (0.2,) * 3, ("a", "b")))
    progressive.check(model, ((0.5, 0.75),))


@pytest.mark.parametrize(("settings", "scale"), [(SimpleCNNSettings(), 0.75), (SpeedNetSettings(), 0.25)])
def test_a_model_that_cannot_take_small_images_is_refused(settings: ModelSettings, scale: float) -> None:
    model = registry.build(settings, InputSpec(16, 16, 3, (0.5,) * 3, (0.25,) * 3, ("a", "b")))
    progressive.check(model, ())
    with pytest.raises(ModelError, match=r"cannot train on images of (12x12|4x4) pixels"):
        progressive.check(model, ((0.5, scale),))


def test_a_body_that_asserts_its_size_is_refused_too() -> None:
    class Fixed(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            if x.shape[2] != 16:
                raise AssertionError("wrong height")  # as transformers do
            return x.mean((2, 3))

    spec = InputSpec(16, 16, 3, (0.5,) * 3, (0.25,) * 3, ("a", "b"))
    model = Classifier(Fixed(), nn.Linear(3, 2), spec, SimpleCNNSettings())
    with pytest.raises(ModelError, match="wrong height"):
        progressive.check(model, ((0.5, 0.5),))
