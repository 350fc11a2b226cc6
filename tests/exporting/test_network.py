"""The preprocessing as a network, against Pillow; and which maps are exact."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from eyebright.core.input_spec import InputSpec, Interpolation
from eyebright.core.input_spec import Resize as Rule
from eyebright.core.settings.model import MLPSettings, ModelSettings, ResNetSettings, SpeedNetSettings
from eyebright.data.decode import fit
from eyebright.exporting.network import Resize, averaged_map
from eyebright.models.registry import build

RULES: tuple[Rule, ...] = ("crop", "squash", "pad")
FILTERS: tuple[Interpolation, ...] = ("nearest", "bilinear", "bicubic", "lanczos")
# Smaller, larger, lying, standing; single pixels; much taller than wide, where Pillow resizes the height first.
SIZES = ((8, 12), (5, 7), (1, 1), (1, 9), (33, 47), (64, 20), (100, 64), (51, 50))


def resized(image: NDArray[np.uint8], spec: InputSpec) -> NDArray[np.uint8]:
    result: NDArray[np.uint8] = Resize(spec)(torch.from_numpy(image)[None])[0].numpy()
    return result


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("interpolation", FILTERS)
@pytest.mark.parametrize("rule", RULES)
def test_resizing_gives_the_pixels_of_pillow(rule: Rule, interpolation: Interpolation, channels: int) -> None:
    random = np.random.default_rng(0)
    spec = InputSpec(8, 12, channels, (0.5,) * channels, (0.5,) * channels, ("a", "b"), rule, interpolation)
    for height, width in SIZES:
        image = random.integers(0, 256, (height, width, channels), dtype=np.uint8)
        expected = fit(image, spec.height, spec.width, rule, interpolation)
        np.testing.assert_array_equal(resized(image, spec), expected, err_msg=f"{height}x{width}")


def test_black_and_white_stay_black_and_white() -> None:
    spec = InputSpec(8, 8, 1, (0.5,), (0.5,), ("a", "b"), "squash", "lanczos")  # whose weights are negative too
    stripes = np.zeros((31, 31, 1), np.uint8)
    stripes[:, ::2] = 255
    np.testing.assert_array_equal(resized(stripes, spec), fit(stripes, 8, 8, "squash", "lanczos"))
    assert (resized(np.full_like(stripes, 255), spec) == 255).all()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [(ResNetSettings(name="resnet20"), True), (MLPSettings(), False), (SpeedNetSettings(widths=(8, 8, 8)), False)],
    ids=lambda value: getattr(value, "name", str(value)),
)
def test_a_map_is_exact_where_features_are_its_mean(settings: ModelSettings, expected: bool) -> None:
    model = build(settings, InputSpec(16, 16, 3, (0.5,) * 3, (0.25,) * 3, ("a", "b")))
    model.train()
    name = averaged_map(model)
    assert (name is not None) == expected
    assert model.training
    if name is not None:
        assert name.startswith("stage3")
