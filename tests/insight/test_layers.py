from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
import torch
from torch import Tensor, nn

from eyebright.core.device import choose
from eyebright.core.errors import ModelError
from eyebright.core.input_spec import InputSpec
from eyebright.core.settings.model import MLPSettings, ModelSettings, PretrainedSettings
from eyebright.insight.layers import Layout, candidates, changed_map, find, spatial_layers
from eyebright.insight.subject import Subject, hooked, studied
from eyebright.models import registry
from eyebright.models.classifier import Classifier
from tests.insight import networks

PLAN = choose("cpu", "fp32", threads=1)
Study = Callable[[Classifier], Subject]


@pytest.fixture
def study() -> Iterator[Study]:
    """Models lent until the end of the test."""
    with ExitStack() as stack:
        yield lambda model: stack.enter_context(studied(model, PLAN))


@pytest.mark.parametrize(
    ("layout", "shape"),
    [
        (Layout(2, 3, channels_first=True), (2, 5, 2, 3)),
        (Layout(2, 3, channels_first=False), (2, 2, 3, 5)),
        (Layout(2, 3, channels_first=False), (2, 6, 5)),
        (Layout(2, 3, channels_first=False, prefix=4), (2, 10, 5)),
    ],
)
def test_a_map_is_read_and_put_back(layout: Layout, shape: tuple[int, ...]) -> None:
    output = torch.arange(float(torch.Size(shape).numel())).view(shape)
    found = layout.to_map(output)
    assert found.shape == (2, 5, 2, 3)
    assert torch.equal(layout.put(output, found), output)
    changed = layout.put(output, found + 100)
    assert torch.equal(layout.to_map(changed), found + 100)
    assert changed.shape == output.shape
    assert int((changed == output).sum()) == output.numel() - found.numel()  # the prefix stayed


def test_tokens_are_read_row_by_row() -> None:
    tokens = torch.tensor([[[9.0], [0.0], [1.0], [2.0], [3.0], [4.0], [5.0]]])  # a class token, then a map of 2 x 3
    found = Layout(2, 3, channels_first=False, prefix=1).to_map(tokens)
    assert found.tolist() == [[[[0, 1, 2], [3, 4, 5]]]]


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (networks.plain_cnn, ["body.4 (16x16)", "body.1 (32x32)"]),
        (networks.our_resnet, ["body.stage3 (8x8)", "body.stage2 (16x16)", "body.stage1 (32x32)"]),
        (networks.resnet, ["body.layer3 (2x2)", "body.layer2 (4x4)", "body.layer1 (8x8)"]),
        (
            networks.densenet,
            ["body.features (2x2)", "body.features.transition2.conv (4x4)", "body.features.transition1.conv (8x8)"],
        ),
        # The output of the last block is read at the class token only; what it reads passes the normalisation.
        (networks.vit, ["body.blocks.2.norm1 (4x4)", "body.blocks.1 (4x4)"]),
        (lambda: networks.vit(reg_tokens=4), ["body.blocks.2.norm1 (4x4)", "body.blocks.1 (4x4)"]),
        # Here all tokens are read.
        (lambda: networks.vit(class_token=False, global_pool="avg"), ["body.norm (4x4)"]),
        (networks.swin, ["body.norm (8x8)", "body.layers.0 (16x16)"]),
    ],
    ids=["cnn", "resnet20", "resnet", "densenet", "vit", "vit registers", "vit mean", "swin"],
)
def test_the_layers_worth_a_map_are_found(make: Callable[[], Classifier], expected: list[str], study: Study) -> None:
    assert [str(layer) for layer in candidates(study(make()))] == expected


@pytest.mark.parametrize(("registers", "prefix"), [(0, 1), (4, 5)])
def test_class_token_and_registers_are_told_from_the_map(registers: int, prefix: int, study: Study) -> None:
    for layer in candidates(study(networks.vit(reg_tokens=registers))):
        assert layer.layout == Layout(4, 4, channels_first=False, prefix=prefix)


def test_channels_are_told_from_places_where_both_are_as_many(study: Study) -> None:
    """This network has 16 channels at 16 x 16 places: first from a convolution, then at the end of the shape."""
    subject = study(networks.swin())
    assert find(subject, "body.patch_embed.proj").layout == Layout(16, 16, channels_first=True)
    assert find(subject, "body.layers.0").layout == Layout(16, 16, channels_first=False)


def test_matrices_of_attention_are_no_maps(study: Study) -> None:
    model = networks.vit()
    for block in model.body.get_submodule("blocks").children():
        setattr(block.get_submodule("attn"), "fused_attn", False)  # noqa: B010 - attn_drop gives (B, heads, 17, 17) now
    subject = study(model)
    shapes: list[tuple[int, ...]] = []
    with hooked(
        model.get_submodule("body.blocks.0.attn.attn_drop"),
        lambda _module, _inputs, output: shapes.append(output.shape),
    ):
        found = spatial_layers(subject)
    assert shapes == [(2, 2, 17, 17)]
    assert {layer.layout.size for layer in found} == {(4, 4)}


SPATIAL = [settings for settings in registry.example_settings() if not isinstance(settings, MLPSettings)]


@pytest.mark.parametrize("settings", SPATIAL, ids=[settings.name for settings in SPATIAL])
def test_every_registered_model_with_pixels_inside_has_layers(settings: ModelSettings, study: Study) -> None:
    spec = InputSpec(37, 50, 3, (0.5,) * 3, (0.25,) * 3, networks.CLASSES)
    subject = study(registry.build(settings, spec))
    layers = candidates(subject)
    assert 2 <= len(layers) <= 3
    assert all(layer.name.startswith("body.") for layer in layers)
    # The last resolution first, and each a map that the logits depend on.
    assert layers[0].layout.height < layers[-1].layout.height or isinstance(settings, PretrainedSettings)  # one for all
    x = torch.rand(2, 3, 37, 50)
    for layer in layers:
        assert not torch.equal(changed_map(subject, x, layer, torch.zeros_like), subject.logits(x))


def test_patches_of_an_oblong_image(study: Study) -> None:
    patches = nn.Sequential(
        nn.Unflatten(2, (3, 8)),  # (B, 3, 3, 8, 48)
        networks.gives(lambda x: x.unflatten(4, (6, 8)).movedim(1, 3)),  # (B, 3, 8, 3, 6, 8): rows before columns
        networks.gives(lambda x: x.movedim(4, 2).flatten(1, 2).flatten(2)),  # (B, 18, 192)
        nn.Linear(192, 8),
    )
    body = nn.Sequential(patches, nn.ReLU(), networks.gives(lambda x: x.mean(dim=1)))
    spec = InputSpec(24, 48, 3, (0.5,) * 3, (0.25,) * 3, networks.CLASSES)
    (layer,) = candidates(study(networks.classifier(body, spec)))
    assert str(layer) == "body.1 (3x6)"


def test_a_map_that_grows_again_is_left_aside(study: Study) -> None:
    body = nn.Sequential(
        nn.Conv2d(3, 4, 4, stride=4), nn.Upsample(scale_factor=2), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    assert [str(layer) for layer in spatial_layers(study(networks.classifier(body)))] == ["body.0 (8x8)"]


def test_a_layer_beside_a_shortcut_is_tried_with_the_one_that_carries_the_image(study: Study) -> None:
    class Forked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.trunk = nn.Conv2d(3, 6, 4, stride=4)
            self.branch = nn.Conv2d(6, 6, 1)

        def forward(self, x: Tensor) -> Tensor:
            x = self.trunk(x)
            return torch.relu(x + self.branch(x)).mean(dim=(2, 3))

    subject = study(networks.classifier(Forked()))
    assert [layer.name for layer in spatial_layers(subject)] == ["body.trunk", "body.branch"]
    assert [layer.name for layer in candidates(subject)] == ["body.branch", "body.trunk"]


def test_where_no_layer_carries_the_image_the_last_live_one_serves(study: Study) -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left = nn.Conv2d(3, 6, 4, stride=4)
            self.right = nn.Conv2d(3, 6, 4, stride=4)
            self.unused = nn.Conv2d(3, 6, 4, stride=4)

        def forward(self, x: Tensor) -> Tensor:
            maps = torch.relu(torch.cat([self.left(x), self.right(x)], dim=1))
            self.unused(x)
            return maps.mean(dim=(2, 3))

    assert [layer.name for layer in candidates(study(networks.classifier(Twice())))] == ["body.right"]


def test_a_named_layer_is_found(study: Study) -> None:
    assert str(find(study(networks.resnet()), "body.layer1.0.conv2")) == "body.layer1.0.conv2 (8x8)"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("body.layer11", "Did you mean 'body.layer1'?"),
        ("body.layer1.0.relu", "Did you mean 'body.layer1.0"),  # it runs twice
        ("body.avgpool", "Did you mean 'body.maxpool'?"),  # (B, C, 1, 1)
    ],
)
def test_what_is_no_map_is_refused(name: str, hint: str, study: Study) -> None:
    with pytest.raises(ModelError, match="that runs once and whose output is a map") as caught:
        find(study(networks.resnet()), name)
    assert hint in caught.value.remedy


def test_a_model_without_maps_is_told_what_works(study: Study) -> None:
    subject = study(registry.build(MLPSettings(), networks.make_spec()))
    for search in (candidates, lambda subject: find(subject, "body.stage1")):
        with pytest.raises(ModelError, match="no layer of the mlp model gives a map") as caught:
            search(subject)
        assert "integrated_gradients or occlusion" in caught.value.remedy


def test_a_model_that_ignores_its_image_is_refused(study: Study) -> None:
    model = networks.plain_cnn()
    nn.init.zeros_(model.head.get_parameter("weight"))
    with pytest.raises(ModelError, match="the logits depend on none of the maps"):
        candidates(study(model))


def test_a_study_gives_everything_back() -> None:
    model = networks.resnet().train()
    model.body.get_submodule("layer1").eval()
    model.body.get_submodule("layer2").requires_grad_(False)
    model.head.get_parameter("bias").grad = torch.ones(4)
    modes = [module.training for module in model.modules()]
    wanted = [parameter.requires_grad for parameter in model.parameters()]
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}

    def fail() -> None:
        with torch.inference_mode(), studied(model, PLAN) as subject:
            assert not any(module.training for module in model.modules())
            assert not any(parameter.requires_grad for parameter in model.parameters())
            assert torch.is_grad_enabled()
            candidates(subject)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert [module.training for module in model.modules()] == modes
    assert [parameter.requires_grad for parameter in model.parameters()] == wanted
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    assert torch.equal(model.head.get_parameter("bias").grad, torch.ones(4))  # type: ignore[arg-type]
    assert not any(module._forward_hooks for module in model.modules())
    assert not any(parameter.is_inference() for parameter in model.parameters())


def test_hooks_are_taken_off_when_the_model_fails(study: Study) -> None:
    model = networks.plain_cnn()
    subject = study(model)
    model.body = nn.Sequential(model.body, networks.gives(lambda _x: 1 / 0))
    with pytest.raises(ZeroDivisionError):
        spatial_layers(subject)
    assert not any(module._forward_hooks for module in model.modules())
