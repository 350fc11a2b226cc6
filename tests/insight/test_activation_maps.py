from __future__ import annotations

import dataclasses
import io
import json
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from eyebright.core.errors import DataError, ModelError
from eyebright.core.settings.model import MLPSettings
from eyebright.evaluation.predict import predict
from eyebright.evaluation.score import Score
from eyebright.insight.activation_maps import ActivationMaps, activation_maps
from eyebright.insight.attribution import METHODS
from eyebright.insight.faithfulness import Faithfulness
from eyebright.insight.overlay import overlay
from eyebright.insight.sanity import Sanity
from eyebright.models import registry
from tests.insight import networks

IMAGES = networks.make_images(10)


@pytest.fixture(scope="module")
def maps() -> ActivationMaps:
    return activation_maps(networks.plain_cnn(), networks.make_images(40).take(np.arange(39, -1, -1)))


def test_maps_say_what_they_are(maps: ActivationMaps) -> None:
    assert len(maps) == 40
    assert maps.maps.shape == (40, 32, 32)
    assert maps.maps.dtype == np.float32
    assert maps.index.tolist() == list(range(39, -1, -1))
    assert np.array_equal(maps.classes, predict(networks.plain_cnn(), maps.images).predicted)
    assert maps.method == "grad_cam"
    assert maps.layer in {"body.1", "body.4"}
    assert maps.faithfulness is not None
    assert maps.faithfulness.gain.n == 32
    assert maps.sanity is not None
    assert maps.sanity.similarity is not None
    assert maps.sanity.similarity.n == 16


@pytest.mark.parametrize("method", [method for method in METHODS if method != "guided_grad_cam"])  # it needs ReLUs
def test_every_method_works_on_a_vision_transformer(method: str) -> None:
    found = activation_maps(networks.vit(), IMAGES, method=method)
    assert found.maps.max() == 1
    assert found.trusted is not None
    if method in {"integrated_gradients", "occlusion"}:
        assert (found.layer, found.why) == ("input", "The method explains the input itself.")
    else:
        assert found.layer in {"body.blocks.1", "body.blocks.2.norm1"}
        assert "on 10 images" in found.why


def test_classes_can_be_chosen() -> None:
    model = networks.plain_cnn()
    wanted = np.array([3, 2, 1, 0, 3, 2, 1, 0, 3, 2])
    found = activation_maps(model, IMAGES, classes=wanted, layer="body.4", check=False)
    other = activation_maps(model, IMAGES, layer="body.4", check=False)
    assert found.classes.tolist() == wanted.tolist()
    differs = wanted != other.classes
    assert 0 < differs.sum() < 10 or differs.all()
    for own, theirs, different in zip(found.maps, other.maps, differs, strict=True):
        assert np.allclose(own, theirs, atol=1e-5) != different


def test_a_layer_can_be_named_and_the_checks_left_out() -> None:
    found = activation_maps(networks.plain_cnn(), IMAGES, layer="body.0", check=False)
    assert (found.layer, found.why) == ("body.0", "Named by the caller.")
    assert found.faithfulness is None
    assert found.sanity is None
    assert found.trusted is None
    assert "Not checked" in found.verdict


def test_the_choice_is_said() -> None:
    found = activation_maps(networks.our_resnet(), IMAGES, check=False)
    others = {"body.stage1 (32x32)", "body.stage2 (16x16)", "body.stage3 (8x8)"}
    assert sum(other in found.why for other in others) == 2
    assert not any(other.startswith(f"{found.layer} ") and other in found.why for other in others)
    assert found.why.startswith("Deleting what its grad_cam maps mark")


def test_slow_methods_choose_by_grad_cam() -> None:
    model = networks.plain_cnn()
    by = {method: activation_maps(model, IMAGES, method=method, check=False) for method in ("grad_cam", "score_cam")}
    assert by["score_cam"].layer == by["grad_cam"].layer
    assert by["score_cam"].why == by["grad_cam"].why


def test_a_layer_that_knows_no_place_loses() -> None:
    """A convolution of 8 x 8 places; then their mean at each of 4 x 4."""
    body = nn.Sequential(
        nn.Conv2d(3, 6, 4, stride=4),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Upsample(scale_factor=4),
        nn.Conv2d(6, 6, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )
    found = activation_maps(networks.classifier(body), networks.make_images(32), check=False)
    assert found.layer == "body.1"
    assert "body.4 (4x4)" in found.why


def test_of_equal_layers_the_last_is_taken() -> None:
    """No map tells anything of the place, so all are blank."""
    body = nn.Sequential(
        nn.AdaptiveAvgPool2d(1),
        nn.Upsample(scale_factor=4),
        nn.Conv2d(3, 6, 1),
        nn.AvgPool2d(2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )
    found = activation_maps(networks.classifier(body), IMAGES, method="hires_cam", check=False)
    assert found.layer == "body.3"
    assert "body.2 (4x4)" in found.why
    assert not found.maps.any()


def test_the_result_is_the_same_at_each_call_and_for_any_batch() -> None:
    first = activation_maps(networks.plain_cnn(), IMAGES)
    again = activation_maps(networks.plain_cnn(), IMAGES)
    small = activation_maps(networks.plain_cnn(), IMAGES, batch_size=3)
    assert np.array_equal(first.maps, again.maps)
    assert (first.layer, first.why, first.faithfulness, first.sanity) == (
        again.layer, again.why, again.faithfulness, again.sanity,
    )  # fmt: skip
    assert small.layer == first.layer
    assert np.allclose(small.maps, first.maps, atol=1e-3)


def test_one_image_is_enough() -> None:
    found = activation_maps(networks.plain_cnn(), IMAGES.take([3]))
    assert found.maps.shape == (1, 32, 32)
    assert found.index.tolist() == [3]
    assert found.trusted is False
    assert "not shown" in found.verdict


def test_the_model_is_given_back() -> None:
    model = networks.plain_cnn().train()
    model.body.get_submodule("1").eval()
    model.body.get_submodule("0").requires_grad_(False)
    modes = [module.training for module in model.modules()]
    wanted = [parameter.requires_grad for parameter in model.parameters()]
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    draws = torch.get_rng_state()
    with torch.inference_mode():
        activation_maps(model, IMAGES)
    assert [module.training for module in model.modules()] == modes
    assert [parameter.requires_grad for parameter in model.parameters()] == wanted
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())
    assert torch.equal(torch.get_rng_state(), draws)
    model(torch.zeros(2, 3, 32, 32, dtype=torch.uint8)).sum().backward()  # it still trains


@pytest.mark.parametrize("method", METHODS)
def test_a_model_without_pixels_inside(method: str) -> None:
    model = registry.build(MLPSettings(), networks.make_spec())
    if method in {"integrated_gradients", "occlusion"}:
        assert activation_maps(model, IMAGES, method=method).layer == "input"
        return
    with pytest.raises(ModelError, match="no layer of the mlp model gives a map") as caught:
        activation_maps(model, IMAGES, method=method)
    assert "integrated_gradients or occlusion" in caught.value.remedy


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "gradcam"}, "Did you mean 'grad_cam'?"),
        ({"method": "occlusion", "layer": "body.4"}, "explains the input and no layer"),
        ({"layer": "body.5"}, "no layer 'body.5' that runs once"),
    ],
)
def test_what_does_not_exist_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message.replace("?", r"\?")):
        activation_maps(networks.plain_cnn(), IMAGES, **options)


@pytest.mark.parametrize(
    "classes", [np.zeros(9, int), np.zeros((10, 1), int), np.zeros(10), np.full(10, 4), np.full(10, -1)]
)
def test_classes_that_do_not_fit_are_refused(classes: NDArray[Any]) -> None:
    with pytest.raises(DataError, match="for 10 images and 4 classes"):
        activation_maps(networks.plain_cnn(), IMAGES, classes=classes)


def test_no_images_are_refused() -> None:
    with pytest.raises(DataError, match="is empty"):
        activation_maps(networks.plain_cnn(), IMAGES.take([]))


# How maps are shown


def score(value: float) -> Score:
    return Score(value, value - 0.1, value + 0.1, 32, "bootstrap")


GOOD, BAD = (Faithfulness(*map(score, (0.2, 0.7, 0.5, 0.5, gain))) for gain in (0.5, 0.0))
SANE, INSANE = (Sanity(score(value)) for value in (0.1, 0.9))


@pytest.mark.parametrize(
    ("faithful", "sane", "trusted", "said"),
    [
        (GOOD, SANE, True, "Passed both checks"),
        (BAD, SANE, False, "NOT TO BE TRUSTED: hiding what they mark was not shown to matter more than"),
        (GOOD, INSANE, False, "NOT TO BE TRUSTED: they were not shown to differ from those of randomised weights."),
        (BAD, INSANE, False, "elsewhere, and they were not shown to differ"),
    ],
)
def test_maps_that_fail_are_shown_as_such(
    maps: ActivationMaps, faithful: Faithfulness, sane: Sanity, trusted: bool, said: str
) -> None:
    found = dataclasses.replace(maps, faithfulness=faithful, sanity=sane)
    assert found.trusted is trusted
    assert said in found.verdict
    assert said in repr(found)
    framed = Image.open(io.BytesIO(found._repr_png_())).convert("RGB").getpixel((0, 0))
    assert (framed == (213, 94, 0)) == (not trusted)


def test_the_picture_shows_each_image_above_its_map(maps: ActivationMaps) -> None:
    picture = np.asarray(Image.open(io.BytesIO(maps._repr_png_())).convert("RGB"))
    shown = maps.images.take(range(32)).images
    heat = overlay(shown, maps.maps[:32])
    for number in (0, 9, 31):  # 32 pixels are shown three times as large
        pair = np.concatenate([shown[number], heat[number]]).repeat(3, axis=0).repeat(3, axis=1)
        assert contains(picture, pair)
    more = maps.images.take([32]).images[0].repeat(3, axis=0).repeat(3, axis=1)
    assert not contains(picture, more)


def contains(picture: NDArray[np.uint8], part: NDArray[np.uint8]) -> bool:
    height, width, _ = part.shape
    starts = np.argwhere((picture[:-height, :-width] == part[0, 0]).all(axis=2))
    return any(np.array_equal(picture[row : row + height, column : column + width], part) for row, column in starts)


def test_blank_maps_are_counted(maps: ActivationMaps) -> None:
    values = maps.maps.copy()
    values[:3] = 0
    assert "blank         3 maps" in repr(dataclasses.replace(maps, maps=values))


def test_checks_can_be_written_as_json(maps: ActivationMaps) -> None:
    assert maps.faithfulness is not None
    assert maps.sanity is not None
    assert json.loads(json.dumps([maps.faithfulness.to_dict(), maps.sanity.to_dict()]))
