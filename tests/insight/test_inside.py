from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eyebright.core.device import choose
from eyebright.core.errors import DataError, ModelError
from eyebright.core.input_spec import InputSpec
from eyebright.core.settings.model import MLPSettings, ModelSettings, PretrainedSettings, SpeedNetSettings
from eyebright.data.image_set import ImageSet, ImageStore
from eyebright.insight.inside import FeatureMaps, StageActivity, activity, feature_maps, first_filters
from eyebright.models import registry
from eyebright.models.classifier import Classifier

CLASSES = ("cat", "dog", "owl")
PLAN = choose(device="cpu", precision="fp32", threads=1)
# Bodies of other libraries enlarge and repeat what they are given, and are no chain of stages to compute by hand.
OUR_OWN = [each for each in registry.example_settings() if not isinstance(each, PretrainedSettings)]
every_model = pytest.mark.parametrize("settings", OUR_OWN, ids=[each.name for each in OUR_OWN])


def spec(height: int = 16, width: int = 12, channels: int = 3) -> InputSpec:
    return InputSpec(height, width, channels, (0.5, 0.4, 0.3)[:channels], (0.2, 0.25, 0.3)[:channels], CLASSES)


def classifier(body: nn.Module, size: int = 4, channels: int = 3) -> Classifier:
    """A head for whatever features the body gives."""
    wanted = spec(size, size, channels)
    with torch.no_grad():
        features = body(torch.zeros(2, channels, size, size)).shape[1]
    return Classifier(body, nn.Linear(features, 3), wanted, MLPSettings())


def image_set(number: int = 10, height: int = 16, width: int = 12, channels: int = 3, seed: int = 0) -> ImageSet:
    pixels = np.random.default_rng(seed).integers(256, size=(number, height, width, channels), dtype=np.uint8)
    names = [f"{row}.png" for row in range(number)]
    return ImageSet(ImageStore(pixels, np.arange(number) % 3, names, CLASSES, "made up"), np.arange(number), "test")


def grey_images(values: list[list[int]]) -> ImageSet:
    """One-pixel-high grey images; mean 0 and deviation 1 in `grey_model` make them what they are."""
    pixels = np.array(values, dtype=np.uint8)[:, None, :, None]  # (N, 1, W, 1)
    store = ImageStore(pixels, np.zeros(len(pixels), dtype=np.int64), [""] * len(pixels), CLASSES, "made up")
    return ImageSet(store, np.arange(len(pixels)), "test")


def grey_model(body: nn.Module, width: int) -> Classifier:
    plain = InputSpec(1, width, 1, (0.0,), (1 / 255,), CLASSES)  # pixels go in as they are
    with torch.no_grad():
        features = body(torch.zeros(2, 1, 1, width)).shape[1]
    return Classifier(body, nn.Linear(features, 3), plain, MLPSettings())


def pixelwise(weights: list[float], biases: list[float]) -> nn.Conv2d:
    layer = nn.Conv2d(1, len(weights), 1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(weights).view(-1, 1, 1, 1))
        layer.bias.copy_(torch.tensor(biases))  # type: ignore[union-attr]  # it has one
    return layer


def state(model: Classifier) -> tuple[object, ...]:
    """All that must be given back."""
    return (
        [layer.training for layer in model.modules()],
        [len(layer._forward_hooks) for layer in model.modules()],
        [tensor.sum().item() for tensor in model.state_dict().values()],
        [parameter.stride() for parameter in model.parameters()],
        torch.get_num_threads(),
    )


# First filters


@every_model
@pytest.mark.parametrize("channels", [1, 3])
def test_every_model_has_first_filters(settings: ModelSettings, channels: int) -> None:
    model = registry.build(settings, spec(channels=channels)).train()
    before = state(model)
    found = first_filters(model)
    assert state(model) == before
    assert found.weights.shape[3] == channels
    assert found.weights.dtype == np.float32
    assert len(found.norms) == len(found) == len(found.weights)
    assert found.weights.min() >= 0
    assert found.weights.max() <= 1
    farthest = np.abs(found.weights - 0.5).max(axis=(1, 2, 3))
    assert np.allclose(farthest[found.norms > 0], 0.5, atol=1e-6)
    assert found.layer.startswith("body.")
    assert found.picture(columns=4, edge=12).mode == "RGB"


def test_filters_of_a_convolution_by_hand() -> None:
    layer = nn.Conv2d(3, 2, (1, 2), bias=False)
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[0, :, 0, 0] = torch.tensor([9.0, 3.0, 3.0])
        layer.weight[0, :, 0, 1] = 3  # mean 4: deviations 5, -1, -1 | -1, -1, -1
        layer.weight[1] = 7  # flat
    found = first_filters(classifier(nn.Sequential(nn.ReLU(), layer, nn.Flatten())))
    assert np.allclose(found.weights[0], [[[1, 0.4, 0.4], [0.4, 0.4, 0.4]]])
    assert np.allclose(found.weights[1], 0.5)
    assert np.allclose(found.norms, [math.sqrt(81 + 5 * 9), 7 * math.sqrt(6)])
    assert found.layer == "body.1"
    assert repr(found) == "Filters(2 of 1x2x3 in body.1)"
    assert found.learned


def test_filters_that_were_computed_beforehand_are_told_from_learned_ones() -> None:
    found = first_filters(registry.build(SpeedNetSettings(widths=(8, 8)), spec(8, 8)))
    assert (found.layer, found.learned) == ("body.whitening", False)


def test_the_first_linear_layer_is_read_as_images() -> None:
    model = registry.build(MLPSettings(hidden=(5,)), spec(6, 4))
    weight = model.get_parameter("body.stage1.linear.weight").detach().numpy()
    found = first_filters(model)
    assert (found.weights.shape, found.layer) == ((5, 6, 4, 3), "body.stage1.linear")
    column = 1 * 24 + 2 * 4 + 3  # channel 1, row 2, column 3 of a flattened (3, 6, 4)
    order = np.argsort(found.weights[4].ravel())
    assert np.array_equal(order, np.argsort(weight[4].reshape(3, 6, 4).transpose(1, 2, 0).ravel()))
    centred = weight[4] - weight[4].mean()
    assert found.weights[4, 2, 3, 1] == pytest.approx(0.5 + centred[column] / np.abs(centred).max() / 2, abs=1e-6)


def test_a_model_without_hidden_layers_shows_its_head() -> None:
    found = first_filters(registry.build(MLPSettings(hidden=()), spec(6, 4)))
    assert (found.weights.shape, found.layer) == ((3, 6, 4, 3), "head")


class Backwards(nn.Module):
    """Layers that are defined in another order than they are used in, the first convolution being a function."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Conv2d(4, 6, 3)
        self.register_buffer("kernel", torch.arange(4 * 3 * 4.0).view(4, 3, 2, 2), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.last(F.conv2d(input=x, weight=self.get_buffer("kernel"))).flatten(1)
        return found


def test_first_is_what_is_computed_first() -> None:
    found = first_filters(classifier(Backwards()))
    assert (found.weights.shape, found.layer) == ((4, 2, 2, 3), "body")


def test_weights_that_are_computed_are_shown() -> None:
    layer = nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 2, 3))
    found = first_filters(classifier(nn.Sequential(layer, nn.Flatten())))
    assert found.weights.shape == (2, 3, 3, 3)
    assert found.layer == "weights that are computed from others"


def test_filters_over_many_channels_are_drawn_in_grey() -> None:
    body = nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(12, 5, 1), nn.Flatten())
    found = first_filters(classifier(body))
    assert found.weights.shape == (5, 1, 1, 12)
    assert found.picture(edge=10).width == 12 * (10 + 6) + 6  # a picture a channel


@pytest.mark.parametrize(
    "body",
    [
        nn.Sequential(nn.AvgPool2d(2), nn.Flatten(), nn.Linear(12, 5)),  # sees no pixels
        nn.Sequential(nn.AvgPool2d(2), nn.Flatten()),
    ],
)
def test_a_model_without_first_filters_is_refused(body: nn.Module) -> None:
    with pytest.raises(ModelError, match="mlp has no first filters"):
        first_filters(classifier(body))


# Feature maps


@every_model
def test_feature_maps_are_what_every_stage_gives(settings: ModelSettings) -> None:
    model = registry.build(settings, spec()).train()
    image = image_set(1).images[0]
    before = state(model)
    found = feature_maps(model, image, plan=PLAN)
    assert state(model) == before
    assert found
    model.eval()
    with torch.no_grad():
        x = model.normalise(torch.from_numpy(image).permute(2, 0, 1)[None])
        for name, stage in model.body.named_children():
            x = stage(x)
            if name in found:
                wanted = x[0].numpy().reshape(*x.shape[1:], *[1] * (4 - x.ndim))
                assert found[name].dtype == np.float32
                np.testing.assert_allclose(found[name], wanted, rtol=1e-4, atol=1e-5 * max(1, np.abs(wanted).max()))
    assert list(found) == [name for name, _ in model.body.named_children() if name in found]
    assert not {"flatten", "pool"} & found.keys()


def test_a_layer_that_works_in_place_does_not_change_the_map_before_it() -> None:
    body = nn.Sequential(pixelwise([1, -1], [0, 0]), nn.ReLU(inplace=True), nn.Flatten())
    found = feature_maps(grey_model(body, 2), np.array([[[3], [5]]], dtype=np.uint8), plan=PLAN)
    assert found["0"].tolist() == [[[3, 5]], [[-3, -5]]]
    assert found["1"].tolist() == [[[3, 5]], [[0, 0]]]


def test_feature_maps_are_drawn_a_stage_a_row() -> None:
    maps = FeatureMaps(
        early=np.array([[[0, 0], [0, 1]], [[5, 5], [5, 5]], [[-9, 0], [0, 0]]], dtype=np.float32),
        flat=np.ones((7, 1, 1), dtype=np.float32),
        late=np.ones((2, 1, 2), dtype=np.float32),
    )
    page = np.asarray(maps.picture(channels=2, edge=8).convert("L"))
    assert page.shape[0] == 17 + 12 + 2 * (8 + 6 + 17 + 6)  # a title and two rows with a caption each
    # The strongest of "early" are its constant map, drawn black, and the one with -9, whose zeros are white.
    assert (page == 255).sum() == 3 * 4 * 4
    with pytest.raises(DataError, match="no stage of this model has feature maps"):
        FeatureMaps(flat=maps["flat"]).picture()


def test_an_image_of_another_size_is_refused() -> None:
    model = registry.build(registry.example_settings()[0], spec())
    with pytest.raises(ModelError, match="takes images"):
        feature_maps(model, np.zeros((12, 16, 3), dtype=np.uint8), plan=PLAN)
    with pytest.raises(ModelError, match="takes images"):
        activity(model, image_set(2, 12, 16), plan=PLAN)
    assert not any(layer._forward_hooks for layer in model.modules())


# Activity


@every_model
def test_every_model_has_an_activity(settings: ModelSettings) -> None:
    model = registry.build(settings, spec()).train()
    before = state(model)
    told: list[tuple[str, int, int]] = []
    images = image_set(10)
    found = activity(
        model, images, batch_size=4, plan=PLAN, progress=lambda what, done, of: told.append((what, done, of))
    )
    assert state(model) == before
    assert told[-1] == ("activity test", 10, 10)
    assert [stage.stage for stage in found] == list(feature_maps(model, images.images[0], plan=PLAN))
    for stage in found:
        assert 0 <= stage.dead <= stage.channels
        assert 0 <= stage.zero_share <= 1
        assert math.isfinite(stage.mean)
        assert stage.deviation >= 0
        assert all(layer.layer.startswith(stage.stage) for layer in stage.layers)
    # Every activation layer is there, and each of its channels is measured as torch measures it.
    layers = {layer.layer: layer for stage in found for layer in stage.layers}
    kinds = (nn.ReLU, nn.GELU)
    wanted = {name: module for name, module in model.body.named_modules() if isinstance(module, kinds)}
    assert wanted.keys() <= layers.keys()
    name, module = list(wanted.items())[-1]
    outputs: list[Tensor] = []
    handle = module.register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
    with torch.no_grad():
        model.eval()(torch.from_numpy(images.images).permute(0, 3, 1, 2))
    handle.remove()
    values = outputs[0].transpose(0, 1).flatten(1).double()  # (C, B * h * w)
    measured = layers[name]
    assert np.allclose(measured.mean, values.mean(dim=1), atol=1e-4 * float(values.abs().max()))
    assert np.allclose(measured.deviation, values.std(dim=1, correction=0), atol=1e-4 * float(values.abs().max()))
    assert np.allclose(measured.zero_share, (values == 0).double().mean(dim=1), atol=0.02)
    assert np.array_equal(measured.dead, (values <= 0).all(dim=1))


def only(stages: tuple[StageActivity, ...]) -> StageActivity:
    (stage,) = stages
    return stage


def test_activity_by_hand() -> None:
    """Three channels: x - 4, always below 0, and 2 x; over the pixels 1, 3 | 5, 7 | 9, 5."""
    body = nn.Sequential(nn.Sequential(pixelwise([1, -1, 2], [-4, -1, 0]), nn.ReLU()), nn.Flatten())
    model = grey_model(body, 2)
    images = grey_images([[1, 3], [5, 7], [9, 5]])
    for batch_size in (1, 2, 500):
        stage = only(activity(model, images, batch_size=batch_size, plan=PLAN))
        (layer,) = stage.layers
        assert (stage.stage, layer.layer, stage.channels, stage.dead) == ("0", "0.1", 3, 1)
        assert np.allclose(layer.mean, [(1 + 3 + 5 + 1) / 6, 0, 10])
        assert np.allclose(layer.deviation, np.std([[0, 0, 1, 3, 5, 1], [0] * 6, [2, 6, 10, 14, 18, 10]], axis=1))
        assert np.allclose(layer.zero_share, [2 / 6, 1, 0])
        assert layer.dead.tolist() == [False, True, False]
        assert stage.mean == pytest.approx((10 / 6 + 0 + 10) / 3)
        assert stage.deviation == pytest.approx(float(layer.deviation.mean()))
        assert stage.zero_share == pytest.approx((2 / 6 + 1) / 3)
    assert repr(stage) == "0: 3 channels, 1 dead, mean 3.89, deviation 2.32, 44% zeros"


def test_one_image_in_the_last_batch_can_wake_a_channel() -> None:
    body = nn.Sequential(pixelwise([1], [-8]), nn.ReLU(), nn.Flatten())
    model = grey_model(body, 1)
    asleep, awake = grey_images([[1], [2], [3], [8]]), grey_images([[1], [2], [3], [9]])
    assert activity(model, asleep, batch_size=2, plan=PLAN)[1].dead == 1
    assert activity(model, awake, batch_size=2, plan=PLAN)[1].dead == 0


def test_small_deviations_of_large_values_are_kept() -> None:
    body = nn.Sequential(pixelwise([0.001], [1000]), nn.ReLU(), nn.Flatten())
    found = activity(grey_model(body, 1), grey_images([[0], [100], [200], [100]]), batch_size=2, plan=PLAN)[1]
    # float32 itself is only good to 3e-5 at 1000.
    assert found.deviation == pytest.approx(np.std([0, 0.1, 0.2, 0.1]), rel=1e-3)


def test_a_stage_without_an_activation_layer_is_measured_at_its_output() -> None:
    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution = pixelwise([1, -1, -1], [0, 0, 300])

        def forward(self, x: Tensor) -> Tensor:
            found: Tensor = F.relu(self.convolution(x))
            return found

    body = nn.Sequential(Functional(), pixelwise_three(), nn.Flatten())
    first, second = activity(grey_model(body, 2), grey_images([[0, 3], [5, 7]]), plan=PLAN)
    assert (first.channels, first.dead) == (3, 1)
    assert first.zero_share == pytest.approx((1 / 4 + 1 + 0) / 3)
    # Below 0 is not dead where nothing holds it back.
    assert (second.channels, second.dead) == (2, 1)


def pixelwise_three() -> nn.Conv2d:
    """Of three channels: the negative of the last, and always 0."""
    layer = nn.Conv2d(3, 2, 1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[0.0, 0, -1], [0, 0, 0]]).view(2, 3, 1, 1))
    return layer


def test_gelu_that_is_never_above_zero_is_dead() -> None:
    body = nn.Sequential(pixelwise([-1, 1], [-0.5, 0]), nn.GELU(), nn.Flatten())
    found = activity(grey_model(body, 1), grey_images([[0], [2]]), plan=PLAN)[1]
    assert found.layers[0].dead.tolist() == [True, False]
    assert found.layers[0].mean[0] < 0


def test_what_is_not_a_number_is_not_dead() -> None:
    body = nn.Sequential(pixelwise([math.nan], [0]), nn.ReLU(), nn.Flatten())
    found = activity(grey_model(body, 1), grey_images([[1], [2]]), plan=PLAN)[1]
    assert found.dead == 0
    assert math.isnan(found.mean)


class Shared(nn.Module):
    """One ReLU that is used twice, as in many residual blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = pixelwise([1, -1], [0, 0])
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        wide = self.relu(self.wide(x))  # (B, 2, h, w)
        found: Tensor = self.relu(wide.sum(dim=1, keepdim=True) - 4)
        return found


def test_a_layer_that_is_used_twice_is_measured_twice() -> None:
    body = nn.Sequential(Shared(), nn.Flatten())
    stage = only(activity(grey_model(body, 2), grey_images([[3, 5], [7, 1]]), batch_size=1, plan=PLAN))
    assert [layer.layer for layer in stage.layers] == ["0.relu", "0.relu (call 2)"]
    assert [layer.dead.tolist() for layer in stage.layers] == [[False, True], [False]]
    assert np.allclose(stage.layers[1].mean, [(0 + 1 + 3 + 0) / 4])
    (maps,) = feature_maps(grey_model(nn.Sequential(body), 2), np.array([[[3], [5]]], np.uint8), plan=PLAN).values()
    assert maps.tolist() == [[[0, 1]]]


def test_stages_of_a_wrapped_body_are_those_inside() -> None:
    inner = nn.Sequential(pixelwise([1], [0]), nn.ReLU(), nn.Flatten())
    body = nn.Sequential(nn.Sequential(inner))
    assert [stage.stage for stage in activity(grey_model(body, 1), grey_images([[1]]), plan=PLAN)] == ["0.0.0", "0.0.1"]


def test_a_body_of_one_piece_is_a_stage() -> None:
    class Scale(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.factor = nn.Parameter(torch.tensor(2.0))

        def forward(self, x: Tensor) -> Tensor:
            return (self.factor * x).flatten(1)

    model = grey_model(Scale(), 3)
    stage = only(activity(model, grey_images([[1, 2, 0], [3, 4, 0]]), plan=PLAN))
    assert (stage.stage, stage.channels, stage.dead) == ("body", 3, 1)
    maps = feature_maps(model, np.array([[[1], [2], [3]]], dtype=np.uint8), plan=PLAN)
    assert maps["body"].tolist() == [[[2]], [[4]], [[6]]]


def test_a_body_that_computes_nothing_has_no_stages() -> None:
    model = registry.build(MLPSettings(hidden=()), spec())
    assert activity(model, image_set(2), plan=PLAN) == ()
    assert feature_maps(model, image_set(1).images[0], plan=PLAN) == {}


def test_tokens_have_their_features_as_channels() -> None:
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cut = nn.Conv2d(3, 5, 2, stride=2)
            self.mix = nn.Linear(5, 5)

        def forward(self, x: Tensor) -> Tensor:
            tokens: Tensor = self.mix(self.cut(x).flatten(2).transpose(1, 2))  # (B, 4, 5)
            return tokens.mean(dim=1)

    model = classifier(Tokens())
    found = feature_maps(model, image_set(1, 4, 4).images[0], plan=PLAN)
    assert {name: maps.shape for name, maps in found.items()} == {"cut": (5, 2, 2), "mix": (5, 4, 1)}
    assert [stage.channels for stage in activity(model, image_set(3, 4, 4), plan=PLAN)] == [5, 5]


def test_activity_over_no_images_is_refused() -> None:
    model = registry.build(registry.example_settings()[0], spec())
    with pytest.raises(DataError, match="the test split of made up is empty"):
        activity(model, image_set(2).take([]))
