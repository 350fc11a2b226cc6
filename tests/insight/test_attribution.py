from __future__ import annotations

import copy
import importlib
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from torch import Tensor, nn

from eyebright.core.device import choose
from eyebright.core.errors import ModelError
from eyebright.core.input_spec import InputSpec
from eyebright.core.settings.model import MLPSettings
from eyebright.core.torchvision_operators import ensure
from eyebright.data.image_set import ImageSet, ImageStore
from eyebright.insight.attribution import (
    INPUT_METHODS,
    LAYER_METHODS,
    METHODS,
    activations_and_gradients,
    attribute,
    guided_gradients,
    of_layer,
)
from eyebright.insight.layers import find
from eyebright.insight.subject import studied
from eyebright.models import registry
from eyebright.models.classifier import Classifier
from tests.insight import networks

PLAN = choose("cpu", "fp32", threads=1)
EQUAL = 1e-5  # to pytorch-grad-cam


def maps_of(
    model: Classifier, images: ImageSet, classes: list[int], method: str, layer: str = "", batch_size: int = 64
) -> NDArray[np.float32]:
    with studied(model, PLAN) as subject:
        if method in INPUT_METHODS:
            explain = INPUT_METHODS[method]
        else:
            explain = of_layer(LAYER_METHODS[method], find(subject, layer))
        return attribute(subject, images, np.array(classes), explain, batch_size)


def picture(*rows: list[int]) -> ImageSet:
    """One grey image."""
    store = ImageStore(np.array(rows, np.uint8)[None, :, :, None], np.zeros(1, np.int64), ["x"], ("a", "b", "c"), "one")
    return ImageSet(store, np.arange(1), "test")


@pytest.fixture
def by_hand() -> Classifier:
    """Two channels, A0 = x and A1 = relu(3 - x), their means, and the logits mean A0, mean A1 and their difference.

    `normalise` leaves the pixels as they are. For x = [[1, 2], [3, 4]]: A0 = x, A1 = [[2, 1], [0, 0]].
    """
    convolution = nn.Conv2d(1, 2, 1)
    head = nn.Linear(2, 3)
    with torch.no_grad():
        convolution.weight.copy_(torch.tensor([1.0, -1.0]).view(2, 1, 1, 1))
        convolution.bias = nn.Parameter(torch.tensor([0.0, 3.0]))
        head.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, -1.0]]))
        nn.init.zeros_(head.bias)
    body = nn.Sequential(convolution, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return Classifier(body, head, InputSpec(2, 2, 1, (0.0,), (1 / 255,), ("a", "b", "c")), MLPSettings())


def by_hand_at(size: int, model: Classifier) -> Classifier:
    spec = InputSpec(size, size, 1, (0.0,), (1 / 255,), ("a", "b", "c"))
    return Classifier(model.body, model.head, spec, model.settings)


SCORES = (  # of the third class, of the image seen through channel 0 and through channel 1
    (0 + 2 / 3 + 2 + 4) / 4 - (3 + (3 - 2 / 3) + 1 + 0) / 4,
    (1 + 1 + 0 + 0) / 4 - (2 + 2 + 3 + 3) / 4,
)
FIRST = 1 / (1 + math.exp(SCORES[1] - SCORES[0]))  # softmax


@pytest.mark.parametrize(
    ("method", "explained", "raw"),
    [
        # The gradients of a mean are 1/4 everywhere, so the weights of the channels are those of the head.
        ("grad_cam", 0, [[1, 2], [3, 4]]),
        ("grad_cam", 1, [[2, 1], [0, 0]]),
        ("grad_cam", 2, [[0, 1], [3, 4]]),  # [[-1, 1], [3, 4]] without the part against the class
        ("hires_cam", 2, [[0, 1], [3, 4]]),
        ("layer_cam", 2, [[1, 2], [3, 4]]),  # only channel 0 has positive gradients
        ("grad_cam_plus_plus", 2, [[1, 2], [3, 4]]),
        # The logit 2.5 - 0.75 falls by 2.5 without channel 0 and rises by 0.75 without channel 1.
        ("ablation_cam", 2, [[2.5 - 1.5, 5 - 0.75], [7.5, 10]]),
        ("score_cam", 2, [[FIRST + 2 * (1 - FIRST), 2 * FIRST + (1 - FIRST)], [3 * FIRST, 4 * FIRST]]),
        # All three logits are linear between black and x; a quarter of each pixel is its share of the mean.
        ("integrated_gradients", 0, [[1, 2], [3, 4]]),
        ("integrated_gradients", 1, [[0, 0], [0, 0]]),  # every pixel speaks against it
        ("occlusion", 0, [[1, 2], [3, 4]]),
        ("occlusion", 2, [[1 + 1, 2 + 2], [3 + 3, 4 + 3]]),  # hidden: A0 becomes 0 and A1 becomes 3
    ],
)
def test_by_hand(by_hand: Classifier, method: str, explained: int, raw: list[list[float]]) -> None:
    found = maps_of(by_hand, picture([1, 2], [3, 4]), [explained], method, "body.1")[0]
    values = np.array(raw)
    expected = (values - values.min()) / max(values.max() - values.min(), 1e-9)
    assert np.allclose(found, expected, atol=1e-6)


def test_occlusion_averages_the_squares_that_hide_a_pixel(by_hand: Classifier) -> None:
    """8 x 8 pixels, squares of 2 x 2 that begin at every pixel, and one pixel (3, 3) that alone counts."""
    rows = [[0] * 8 for _ in range(8)]
    rows[3][3] = 200
    found = maps_of(by_hand_at(8, by_hand), picture(*rows), [0], "occlusion")[0]
    expected = np.zeros((8, 8))
    # Of the four squares over each pixel, so many hide (3, 3) too.
    expected[2:5, 2:5] = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]]) / 4
    assert np.allclose(found, expected, atol=1e-6)


def test_eigen_cam_is_the_first_principal_component() -> None:
    model, images = networks.plain_cnn(), networks.make_images(3)
    found = maps_of(model, images, [0, 1, 2], "eigen_cam", "body.4")
    with torch.no_grad():
        until = nn.Sequential(*list(model.eval().body.children())[:5])
        activations = until(networks.normalised(model, images)).numpy()  # (3, 12, 16, 16)
    for own, channels in zip(found, activations, strict=True):
        pixels = channels.reshape(12, -1).T  # (256, 12)
        component = PCA(1).fit_transform(pixels)[:, 0]
        if np.corrcoef(component, np.linalg.norm(pixels, axis=1))[0, 1] < 0:
            component = -component
        assert np.allclose(own, reference_scale(component.reshape(16, 16)), atol=EQUAL)


def reference_scale(raw: NDArray[np.float32]) -> NDArray[np.float32]:
    ensure()
    scale = importlib.import_module("pytorch_grad_cam.utils.image").scale_cam_image
    found: NDArray[np.float32] = scale(scale(np.maximum(raw, 0)[None], (32, 32)))[0]
    return found


def reference_maps(
    model: Classifier, images: ImageSet, classes: list[int], name: str, layer: str, reshape: Callable[..., Any] | None
) -> NDArray[np.float32]:
    ensure()
    package = importlib.import_module("pytorch_grad_cam")
    target = importlib.import_module("pytorch_grad_cam.utils.model_targets").ClassifierOutputTarget
    network = nn.Sequential()
    network.body, network.head = model.body, model.head
    with getattr(package, name)(network.eval(), [network.get_submodule(layer)], reshape) as explain:
        found: NDArray[np.float32] = explain(networks.normalised(model, images), [target(k) for k in classes])
    return found


REFERENCES = {
    "grad_cam": "GradCAM",
    "grad_cam_plus_plus": "GradCAMPlusPlus",
    "hires_cam": "HiResCAM",
    "layer_cam": "LayerCAM",
    "score_cam": "ScoreCAM",
    "ablation_cam": "AblationCAM",
}


def from_tokens(tokens: Tensor) -> Tensor:
    """(B, 1 + 16, C) to (B, C, 4, 4)."""
    return tokens[:, 1:].reshape(len(tokens), 4, 4, -1).permute(0, 3, 1, 2)


NETWORKS: dict[str, tuple[Callable[[], Classifier], str, Callable[[Tensor], Tensor] | None]] = {
    "cnn": (networks.plain_cnn, "body.4", None),
    "resnet20": (networks.our_resnet, "body.stage3", None),
    "resnet": (networks.resnet, "body.layer1", None),
    "densenet": (networks.densenet, "body.features.transition1.conv", None),
    "vit": (networks.vit, "body.blocks.2.norm1", from_tokens),
    "swin": (networks.swin, "body.norm", lambda output: output.permute(0, 3, 1, 2)),
}
# pytorch-grad-cam ablates with -1e7 in place of the paper's 0 where activations can be negative; and of the fall of a
# logit, the difference of two nearly equal numbers, a wide network leaves fewer than five digits.
CASES = [
    (method, network)
    for method in REFERENCES
    for network in NETWORKS
    if method != "ablation_cam" or network in {"cnn", "resnet20"}
]


@pytest.mark.parametrize(("method", "network"), CASES)
def test_equals_pytorch_grad_cam(method: str, network: str) -> None:
    make, layer, reshape = NETWORKS[network]
    model, images = make(), networks.make_images(3, seed=4)
    with torch.no_grad():
        logits, predicted = model.eval().head(model.body(networks.normalised(model, images))).max(dim=1)
    if method == "ablation_cam":
        assert float(logits.min()) > 0  # else pytorch-grad-cam turns the map inside out
    expected = reference_maps(model, images, predicted.tolist(), REFERENCES[method], layer, reshape)
    found = maps_of(model, images, predicted.tolist(), method, layer)
    assert float(expected.max()) > 0.99
    assert float(expected.std()) > 0.05
    assert np.abs(found - expected).max() < EQUAL


def test_guided_gradients_equal_pytorch_grad_cam() -> None:
    ensure()
    guided = importlib.import_module("pytorch_grad_cam.guided_backprop").GuidedBackpropReLUModel
    model, images = networks.plain_cnn().eval(), networks.make_images(2, seed=4)
    x = networks.normalised(model, images)
    network = nn.Sequential(copy.deepcopy(model.body), copy.deepcopy(model.head))
    expected = [guided(network, "cpu")(x[[number]], target_category=number) for number in range(2)]  # (H, W, C) each
    with studied(model, PLAN) as subject:
        found = guided_gradients(subject, x, torch.tensor([0, 1])).permute(0, 2, 3, 1).numpy()
        plain = x.clone().requires_grad_()
        (gradients,) = torch.autograd.grad(subject.scores(plain, torch.tensor([0, 1])).sum(), plain)
    assert np.abs(found - np.stack(expected)).max() < EQUAL * np.abs(found).max()
    assert np.abs(found - gradients.permute(0, 2, 3, 1).numpy()).max() > 0.1 * np.abs(found).max()


def test_guided_grad_cam_is_grad_cam_times_the_guided_gradients() -> None:
    model, images = networks.plain_cnn(), networks.make_images(2)
    with studied(model, PLAN) as subject:
        gradients = guided_gradients(subject, networks.normalised(model, images), torch.tensor([0, 1]))
    product = maps_of(model, images, [0, 1], "grad_cam", "body.4") * gradients.abs().amax(dim=1).numpy()
    found = maps_of(model, images, [0, 1], "guided_grad_cam", "body.4")
    for one, expected in zip(found, product, strict=True):
        assert np.corrcoef(one.ravel(), expected.ravel())[0, 1] > 0.99


def test_guided_gradients_need_relus() -> None:
    with pytest.raises(ModelError, match="has no ReLU layers"):
        maps_of(networks.vit(), networks.make_images(2), [0, 1], "guided_grad_cam", "body.blocks.2.norm1")


@pytest.mark.parametrize("method", METHODS)
def test_every_method_gives_maps_that_do_not_depend_on_the_batch(method: str) -> None:
    model, images = networks.plain_cnn(), networks.make_images(5)
    together = maps_of(model, images, [0, 1, 2, 3, 0], method, "body.4")
    apart = maps_of(model, images, [0, 1, 2, 3, 0], method, "body.4", batch_size=2)
    assert together.shape == (5, 32, 32)
    assert together.dtype == np.float32
    assert together.min() >= 0
    assert together.max() == 1
    assert np.allclose(apart, together, atol=1e-4)
    assert np.array_equal(maps_of(model, images, [0, 1, 2, 3, 0], method, "body.4"), together)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_leaves_the_model_as_it_was(method: str) -> None:
    model = networks.plain_cnn().train()
    model.body.get_submodule("0").requires_grad_(False)
    wanted = [parameter.requires_grad for parameter in model.parameters()]
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with torch.no_grad():
        maps_of(model, networks.make_images(2), [0, 1], method, "body.4")
    assert [parameter.requires_grad for parameter in model.parameters()] == wanted
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(module.training for module in model.modules())
    assert not any(module._forward_hooks for module in model.modules())
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("method", METHODS)
def test_frozen_weights_change_nothing(method: str) -> None:
    model, images = networks.plain_cnn(), networks.make_images(2)
    expected = maps_of(model, images, [0, 1], method, "body.4")
    model.requires_grad_(False)
    assert np.array_equal(maps_of(model, images, [0, 1], method, "body.4"), expected)


@pytest.mark.parametrize("method", METHODS)
def test_another_class_has_another_map(method: str) -> None:
    model, images = networks.plain_cnn(), networks.make_images(2)
    first, second = (maps_of(model, images, [k, k], method, "body.4") for k in (0, 1))
    assert np.array_equal(first, second) == (method == "eigen_cam")


@pytest.mark.parametrize("method", LAYER_METHODS)
def test_what_follows_may_work_in_place(method: str) -> None:
    """The layer before a ReLU in place gives what it gave, and not what the ReLU made of it."""
    model, images = networks.plain_cnn(), networks.make_images(2)
    found = maps_of(model, images, [0, 1], method, "body.3")
    relu = model.body.get_submodule("4")
    assert isinstance(relu, nn.ReLU)
    relu.inplace = False
    assert np.array_equal(maps_of(model, images, [0, 1], method, "body.3"), found)


@pytest.mark.parametrize("name", ["body", "head"])
def test_gradients_begin_at_the_layer(name: str) -> None:
    """No weight asks for a gradient, so nothing below the layer is kept for one."""
    model = networks.plain_cnn()
    with studied(model, PLAN) as subject:
        layer = find(subject, "body.4")
        x = networks.normalised(model, networks.make_images(2))
        activations, gradients = activations_and_gradients(subject, layer, x, torch.tensor([0, 1]))
    assert activations.shape == gradients.shape == (2, 12, 16, 16)
    # The head reads the mean over 256 pixels.
    expected = model.head.get_parameter("weight")[[0, 1]].detach()[:, :, None, None] / 256
    assert torch.allclose(gradients, expected.expand_as(gradients), atol=1e-7)
    assert all(parameter.grad is None for parameter in model.get_submodule(name).parameters())


def test_the_residual_stream_says_nothing_to_hires_cam_but_its_normalisation_does() -> None:
    """Why `candidates` has both: a normalisation feels no length, so gradients times values cancel before it."""
    model, images = networks.vit(), networks.make_images(3)
    ratios = []
    with studied(model, PLAN) as subject:
        for name in ("body.blocks.1", "body.blocks.2.norm1"):
            activations, gradients = activations_and_gradients(
                subject, find(subject, name), networks.normalised(model, images), torch.tensor([0, 1, 2])
            )
            products = activations * gradients
            ratios.append(float(products.sum(dim=1).norm() / products.abs().sum(dim=1).norm()))
    assert ratios[0] < 1e-4
    assert ratios[1] > 0.1


def test_integrated_gradients_add_up_to_what_the_image_changes() -> None:
    """Sundararajan et al.'s completeness: the attributions sum to logit(image) - logit(mean colour)."""
    model, images = networks.our_resnet(), networks.make_images(3)
    classes = torch.tensor([0, 1, 2])
    with studied(model, PLAN) as subject:
        x = networks.normalised(model, images)
        raw = INPUT_METHODS["integrated_gradients"](subject, x, classes)
        expected = subject.scores(x, classes) - subject.scores(torch.zeros_like(x), classes)
    assert torch.allclose(raw.sum(dim=(1, 2)), expected, rtol=0.05, atol=0.02 * float(expected.abs().max()))


def test_methods_of_the_input_explain_a_model_without_pixels_inside() -> None:
    model = registry.build(MLPSettings(), networks.make_spec())
    for method in INPUT_METHODS:
        assert maps_of(model, networks.make_images(2), [0, 1], method).max() == 1


def test_a_map_that_is_the_same_everywhere_says_nothing() -> None:
    """A head that reads the mean of a map of equal pixels: rounding must not be blown up to a picture."""
    body = nn.Sequential(
        nn.AdaptiveAvgPool2d(1), nn.Upsample(scale_factor=7), nn.Conv2d(3, 8, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    model = networks.classifier(body)
    with studied(model, PLAN) as subject:
        layer = find(subject, "body.2")
        found = attribute(
            subject, networks.make_images(4), np.arange(4), of_layer(LAYER_METHODS["hires_cam"], layer), 64
        )
    assert np.array_equal(found, np.zeros((4, 32, 32)))


def test_what_cannot_be_differentiated_is_refused() -> None:
    model = networks.plain_cnn()
    layers = list(model.body.children())
    model.body = nn.Sequential(*layers[:5], networks.gives(Tensor.detach), *layers[5:])
    with pytest.raises(ModelError, match=r"nothing differentiable leads from body\.4") as caught:
        maps_of(model, networks.make_images(2), [0, 1], "grad_cam", "body.4")
    assert "occlusion" in caught.value.remedy
    assert maps_of(model, networks.make_images(2), [0, 1], "ablation_cam", "body.4").max() == 1


def test_weights_that_are_not_finite_are_named() -> None:
    model = networks.plain_cnn()
    with studied(model, PLAN) as subject:
        layer = find(subject, "body.4")
        nn.init.constant_(model.head.get_parameter("weight"), math.inf)
        with pytest.raises(ModelError, match="is not finite"):
            attribute(subject, networks.make_images(2), np.arange(2), of_layer(LAYER_METHODS["grad_cam"], layer), 64)


def test_maps_in_bfloat16_are_much_the_same() -> None:
    model, images = networks.plain_cnn(), networks.make_images(4)
    with studied(model, choose("cpu", "bf16", threads=1)) as subject:
        layer = find(subject, "body.4")
        found = {
            method: attribute(subject, images, np.arange(4), of_layer(LAYER_METHODS[method], layer), 64)
            for method in LAYER_METHODS
        }
    for method, maps in found.items():
        assert np.abs(maps - maps_of(model, images, [0, 1, 2, 3], method, "body.4")).mean() < 0.05
