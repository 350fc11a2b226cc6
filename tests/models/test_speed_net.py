from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from eyebright.core.errors import ModelError
from eyebright.core.input_spec import InputSpec
from eyebright.core.settings.model import SpeedNetSettings
from eyebright.models import registry
from eyebright.models.speed_net import LargestOfMap, ScalelessBatchNorm, SpeedStage, Whitening, identity_convolution

CIFAR = InputSpec(32, 32, 3, (0.5,) * 3, (0.25,) * 3, tuple("abcdefghij"))


def correlated_images() -> torch.Tensor:
    """(50, 3, 9, 9) whose channels and neighbouring pixels go together, as in photographs."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(50, 1, 5, 5, generator=generator)
    smooth = F.interpolate(coarse, size=(9, 9), mode="bilinear")
    return smooth.repeat(1, 3, 1, 1) + 0.3 * torch.randn(50, 3, 9, 9, generator=generator)


def test_whitened_patches_are_uncorrelated_and_have_unit_variance() -> None:
    images, layer = correlated_images(), Whitening(3)
    layer.prepare(images)
    answers = F.conv2d(images, layer.kernel[:12]).permute(1, 0, 2, 3).reshape(12, -1)
    covariance = answers @ answers.T / answers.shape[1]
    torch.testing.assert_close(covariance, torch.eye(12), rtol=0, atol=0.02)  # 5e-4 is added to variances above 0.03


def test_every_direction_comes_with_both_signs() -> None:
    layer = Whitening(3)
    layer.prepare(correlated_images())
    assert torch.equal(layer.kernel[:12], -layer.kernel[12:])


def test_before_it_is_prepared_whitening_lets_the_pixels_through() -> None:
    image = torch.arange(9.0).view(1, 1, 3, 3)
    out = Whitening(1)(image)
    assert out.shape == (1, 8, 2, 2)
    torch.testing.assert_close(out[0, 0], F.gelu(image[0, 0, :2, :2]))
    torch.testing.assert_close(out[0, 7], F.gelu(-image[0, 0, 1:, 1:]))


def test_the_kernel_is_kept_with_the_weights_and_not_trained() -> None:
    model = registry.build(SpeedNetSettings(), CIFAR)
    assert "body.whitening.kernel" in model.state_dict()
    assert "body.whitening.kernel" not in dict(model.named_parameters())


def test_the_classifier_prepares_with_normalised_images() -> None:
    model = registry.build(SpeedNetSettings(widths=(4, 4, 4)), CIFAR)
    images = torch.randint(0, 256, (20, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    reference = Whitening(3)
    reference.prepare((images / 255 - 0.5) / 0.25)
    model.prepare(images)
    found = model.state_dict()["body.whitening.kernel"]
    torch.testing.assert_close(found.abs(), reference.kernel.abs(), rtol=1e-2, atol=1e-3)


def test_other_models_need_no_preparation() -> None:
    model = registry.build(registry.example_settings()[0], CIFAR)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.prepare(torch.zeros(2, 3, 32, 32, dtype=torch.uint8))
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize(("inputs", "outputs"), [(4, 9), (6, 6), (5, 3)])
def test_convolutions_begin_as_the_identity(inputs: int, outputs: int) -> None:
    x = torch.randn(2, inputs, 5, 5)
    same = min(inputs, outputs)
    torch.testing.assert_close(identity_convolution(inputs, outputs)(x)[:, :same], x[:, :same])


def test_the_norm_has_a_bias_and_no_scale() -> None:
    norm = ScalelessBatchNorm(3)
    assert [name for name, _ in norm.named_parameters()] == ["bias"]
    assert "weight" not in norm.state_dict()
    x = 5 * torch.randn(64, 3, 4, 4) + 2
    torch.testing.assert_close(norm(x), F.batch_norm(x, None, None, training=True), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(norm.running_mean, 0.4 * x.mean((0, 2, 3)))


@pytest.mark.parametrize("convolutions", [2, 3])
def test_from_the_third_convolution_on_a_stage_has_a_shortcut(convolutions: int) -> None:
    stage = SpeedStage(3, 5, convolutions).eval()
    for name, layer in stage.rest.named_children():
        if name.startswith("convolution"):
            torch.nn.init.zeros_(layer.weight)  # type: ignore[arg-type]  # a convolution's weight is a tensor
    x = torch.randn(2, 3, 8, 8)
    expected = F.gelu(stage.entry(x)) if convolutions == 3 else torch.zeros(2, 5, 4, 4)
    torch.testing.assert_close(stage(x), expected)


def test_the_pool_takes_the_largest_value_of_each_channel() -> None:
    x = torch.arange(24.0).view(2, 3, 2, 2)
    assert LargestOfMap()(x).tolist() == [[3, 7, 11], [15, 19, 23]]


def test_parameters_for_cifar10() -> None:
    """Of airbench94: 24 to 64, 64, 256, 256, 256, 256 channels, a bias each norm, the head, the whitening's bias."""
    kernels = 9 * (24 * 64 + 64 * 64 + 64 * 256 + 3 * 256 * 256)
    model = registry.build(SpeedNetSettings(), CIFAR)
    assert sum(p.numel() for p in model.parameters()) == kernels + 2 * (64 + 256 + 256) + 2560 + 24


def test_any_size_is_taken_on_demand_only() -> None:
    model = registry.build(SpeedNetSettings(widths=(4, 4, 4)), CIFAR)
    assert model(torch.zeros(2, 3, 24, 20), any_size=True).shape == (2, 10)
    with pytest.raises(ModelError, match="takes images"):
        model(torch.zeros(2, 3, 24, 20))
    with pytest.raises(ModelError, match="takes images"):
        model(torch.zeros(2, 1, 32, 32), any_size=True)


def test_too_small_images_are_refused() -> None:
    small = InputSpec(8, 9, 3, (0.5,) * 3, (0.25,) * 3, ("a", "b"))
    with pytest.raises(ModelError, match="8x9 pixels are too few"):
        registry.build(SpeedNetSettings(), small)


def test_a_stage_for_each_width() -> None:
    model = registry.build(SpeedNetSettings(widths=(4, 8)), CIFAR)
    assert [name for name, _ in model.body.named_children()] == ["whitening", "stage1", "stage2", "pool"]
    assert model(torch.zeros(1, 3, 32, 32)).shape == (1, 10)


def test_dropout_hides_features_from_the_head_in_training_only() -> None:
    model = registry.build(SpeedNetSettings(widths=(40, 40, 40), dropout=0.5), CIFAR)
    images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    hidden = model.train().body(images) == 0
    shown = model.eval().body(images) == 0
    assert 0.3 < hidden.float().mean() < 0.7
    assert not shown.any()
