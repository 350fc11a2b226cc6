"""What every registered model promises, whoever writes it."""

from __future__ import annotations

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eyebright.core.errors import ModelError
from eyebright.core.input_spec import InputSpec
from eyebright.core.settings.model import ModelSettings, PretrainedSettings, ResNetSettings
from eyebright.models import registry
from eyebright.models.classifier import Classifier, evaluating

CLASSES = ("cat", "dog", "frog", "ship", "truck", "deer", "horse")

# Small ones of several families of timm; `registry` has one as its example.
BODIES = {
    "test_convnext": PretrainedSettings(body="test_convnext", weights="random", size=64),
    "test_efficientnet": PretrainedSettings(body="test_efficientnet", weights="random", size=64, head="deep"),
    "wrapped resnet20": PretrainedSettings(body=ResNetSettings(name="resnet20"), weights="random"),
}

every_model = pytest.mark.parametrize(
    "settings", [*registry.example_settings(), *BODIES.values()], ids=[*registry.names(), *BODIES]
)
# Networks of timm compute between their stages too.
every_own_model = pytest.mark.parametrize(
    "settings", [each for each in registry.example_settings() if not isinstance(each, PretrainedSettings)]
)


def make_spec(height: int = 32, width: int = 32, channels: int = 3) -> InputSpec:
    return InputSpec(height, width, channels, (0.4, 0.5, 0.6)[:channels], (0.2, 0.25, 0.3)[:channels], CLASSES)


def random_images(spec: InputSpec, count: int) -> Tensor:
    shape = (count, spec.channels, spec.height, spec.width)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(7))


def gradients(model: Classifier, images: Tensor) -> dict[str, Tensor]:
    """Gradients of one training step from a fresh copy, dropout drawn from seed 3."""
    fresh = copy.deepcopy(model).train()
    labels = torch.arange(len(images)) % len(CLASSES)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        F.cross_entropy(fresh(images), labels).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    found = {name: parameter.grad for name, parameter in fresh.named_parameters()}
    return {name: gradient for name, gradient in found.items() if gradient is not None}


@every_model
@pytest.mark.parametrize(("height", "width", "channels"), [(28, 28, 1), (32, 32, 3), (64, 64, 1), (37, 50, 3)])
def test_logits_have_shape_and_dtype(settings: ModelSettings, height: int, width: int, channels: int) -> None:
    spec = make_spec(height, width, channels)
    model = registry.build(settings, spec).eval()
    with torch.no_grad():
        features = model.features(random_images(spec, 2))
        logits = model(random_images(spec, 2))
    first = next(layer for layer in model.head.modules() if isinstance(layer, nn.Linear))
    assert features.shape == (2, first.in_features)
    assert logits.shape == (2, len(CLASSES))
    assert logits.dtype == torch.float32
    assert bool(logits.isfinite().all())


@every_model
def test_uint8_and_float_pixels_give_equal_logits(settings: ModelSettings) -> None:
    spec = make_spec()
    model = registry.build(settings, spec).eval()
    images = random_images(spec, 3)
    with torch.no_grad():
        assert torch.equal(model(images), model(images.float()))


@every_own_model
def test_the_body_is_its_named_stages_in_order(settings: ModelSettings) -> None:
    spec = make_spec()
    model = registry.build(settings, spec).eval()
    images = random_images(spec, 2)
    with torch.no_grad():
        x = model.normalise(images)
        for stage in model.body.children():
            x = stage(x)
        assert torch.equal(x, model.features(images))
    assert not any(name.isdigit() for name, _ in model.body.named_children())


@every_model
def test_the_seed_alone_decides_the_weights(settings: ModelSettings) -> None:
    spec = make_spec()
    before = torch.get_rng_state()
    first = registry.build(settings, spec, seed=5).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(99)
        second = registry.build(settings, spec, seed=5).state_dict()
    other = registry.build(settings, spec, seed=6).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


@every_model
def test_a_training_step_reaches_every_parameter_and_repeats_bit_for_bit(settings: ModelSettings) -> None:
    spec = make_spec()
    model = registry.build(settings, spec)
    images = random_images(spec, 8)
    first, second = gradients(model, images), gradients(model, images)
    assert first.keys() == dict(model.named_parameters()).keys()
    for name, gradient in first.items():
        assert bool(gradient.isfinite().all()), name
        assert bool(gradient.any()), f"{name} has no gradient"
        assert torch.equal(gradient, second[name]), name


@every_model
def test_an_image_alone_gives_the_logits_that_it_gives_in_a_batch(settings: ModelSettings) -> None:
    spec = make_spec()
    model = registry.build(settings, spec).eval()
    images = random_images(spec, 5)
    with torch.no_grad():
        together = model(images)
        alone = torch.cat([model(image[None]) for image in images])
    torch.testing.assert_close(alone, together, rtol=1e-4, atol=1e-5 * float(together.abs().max()))


@every_model
def test_the_memory_layout_does_not_matter(settings: ModelSettings) -> None:
    spec = make_spec()
    model = registry.build(settings, spec).eval()
    images = random_images(spec, 2)
    with torch.no_grad():
        expected = model(images)
        # nn.Module.to takes memory_format, which torch's type stubs do not know.
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        found = model(images.to(memory_format=torch.channels_last))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


@every_model
def test_bfloat16_trains_to_finite_float32_logits(settings: ModelSettings) -> None:
    spec = make_spec()
    model = registry.build(settings, spec).train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(random_images(spec, 2))
    logits.sum().backward()
    assert logits.dtype == torch.float32
    assert bool(logits.isfinite().all())
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in model.parameters())


@every_model
@pytest.mark.parametrize("shape", [(2, 3, 31, 32), (2, 1, 32, 32), (3, 32, 32), (2, 32, 32, 3)])
def test_images_of_another_shape_are_refused(settings: ModelSettings, shape: tuple[int, ...]) -> None:
    model = registry.build(settings, make_spec())
    with pytest.raises(ModelError, match=r"takes images \(B, 3, 32, 32\) but got"):
        model(torch.zeros(shape, dtype=torch.uint8))


@every_model
def test_evaluating_gives_every_layer_its_mode_back(settings: ModelSettings) -> None:
    model = registry.build(settings, make_spec()).train()
    frozen = next(model.body.children())
    frozen.eval()
    modes = [layer.training for layer in model.modules()]
    with evaluating(model):
        assert not any(layer.training for layer in model.modules())
    assert [layer.training for layer in model.modules()] == modes
    assert True in modes
    assert False in modes


def test_evaluating_gives_the_mode_back_after_an_error() -> None:
    layer = nn.Dropout()

    def fail() -> None:
        with evaluating(layer):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert layer.training


def test_pixels_are_normalised_with_the_mean_and_deviation_of_the_spec() -> None:
    spec = make_spec(4, 4)
    model = registry.build(registry.example_settings()[0], spec)
    images = torch.full((1, 3, 4, 4), 51, dtype=torch.uint8)  # 51 / 255 = 0.2
    found = model.normalise(images)[0, :, 0, 0].tolist()
    wanted = [(0.2 - 0.4) / 0.2, (0.2 - 0.5) / 0.25, (0.2 - 0.6) / 0.3]
    assert all(math.isclose(a, b, rel_tol=1e-5) for a, b in zip(found, wanted, strict=True))
    assert not {"mean", "std"} & model.state_dict().keys()  # the spec alone says them
