from __future__ import annotations

import dataclasses
import hashlib
import os
import pickle
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from eyebright.core.errors import CheckpointError, EyebrightError, MissingExtraError, ModelError
from eyebright.core.input_spec import InputSpec
from eyebright.core.settings.model import (
    CustomSettings,
    MLPSettings,
    ModelSettings,
    PretrainedSettings,
    ResNetSettings,
    SpeedNetSettings,
)
from eyebright.models import pretrained, registry, weights
from eyebright.models.classifier import Classifier
from tests.models.timm_files import save_timm

SPEC = InputSpec(32, 32, 3, (0.5,) * 3, (0.25,) * 3, ("cat", "dog", "frog"))
OWN = ResNetSettings(name="resnet20")


@pytest.fixture(autouse=True)
def no_weights_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a mirror nor caches of the machine decide a test."""
    monkeypatch.delenv("EYEBRIGHT_WEIGHTS", raising=False)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


def settings(body: Any = "test_resnet", weights: str | Path = "default", **changes: Any) -> PretrainedSettings:
    return PretrainedSettings(**{"body": body, "weights": str(weights), "size": 32} | changes)


def built(chosen: ModelSettings, spec: InputSpec = SPEC, seed: int = 0) -> Classifier:
    return registry.build(chosen, spec, seed=seed).eval()


def own_checkpoint(path: Path, chosen: ModelSettings = OWN, spec: InputSpec = SPEC) -> Classifier:
    model = registry.build(chosen, spec, seed=9)
    weights.save(model, path)
    return model


# Weights arrive


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize(
    "body", ["test_resnet", "test_vit", "test_convnext", "test_efficientnet", "mobilenetv3_small_050"]
)
def test_the_body_has_the_weights_of_the_file_and_the_head_is_new(body: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"file{suffix}"
    # Transformers know positions, so their file must be of the size that is wanted to come back bit by bit.
    tensors = save_timm(body, path, **({"img_size": 32} if body == "test_vit" else {}))
    one, other = (built(settings(body, path), seed=seed) for seed in (0, 1))
    network = one.network.state_dict()
    assert network
    assert all(torch.equal(value, tensors[name]) for name, value in network.items())
    assert not torch.equal(one.head.get_parameter("weight"), other.head.get_parameter("weight"))
    assert one.head.get_parameter("weight").shape[0] == 3


@pytest.mark.parametrize(
    "body", ["densenet121", "resnet18", pytest.param("inception_resnet_v2", marks=pytest.mark.slow)]
)
def test_the_networks_of_the_recipes_load(body: str, tmp_path: Path) -> None:
    tensors = save_timm(body, tmp_path / "file.pth")
    model = built(settings(body, tmp_path / "file.pth", size=96))
    network = model.network.state_dict()
    assert all(torch.equal(value, tensors[name]) for name, value in network.items())


def test_the_network_computes_what_timm_computes(tmp_path: Path) -> None:
    import timm

    tensors = save_timm("test_resnet", tmp_path / "file.pth", classes=5)
    theirs: Any = timm.create_model("test_resnet", num_classes=5).eval()
    theirs.load_state_dict(tensors)
    ours = built(settings("test_resnet", tmp_path / "file.pth"))
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        theirs.reset_classifier(0)
        expected = theirs(ours.normalise(images))
        assert torch.equal(ours.features(images), expected)


def test_positions_of_a_transformer_are_resampled_to_another_size(tmp_path: Path) -> None:
    tensors = save_timm("test_vit", tmp_path / "file.pth")  # 160x160 pixels: 100 patches
    model = built(settings("test_vit", tmp_path / "file.pth", size=64))
    positions = model.network.get_parameter("pos_embed")
    assert tensors["pos_embed"].shape[1] == 101
    assert positions.shape[1] == 17
    assert torch.equal(model.network.get_parameter("cls_token"), tensors["cls_token"])


def test_a_checkpoint_of_a_training_script_is_unwrapped(tmp_path: Path) -> None:
    tensors = save_timm("test_resnet", tmp_path / "plain.pth")
    wrapped = {"epoch": 3, "state_dict": {f"module.{name}": value for name, value in tensors.items()}}
    torch.save(wrapped, tmp_path / "wrapped.pth")
    model = built(settings(weights=tmp_path / "wrapped.pth"))
    assert all(torch.equal(value, tensors[name]) for name, value in model.network.state_dict().items())


def test_random_weights_are_the_seed_s_and_say_nothing_of_pixels() -> None:
    chosen = settings(weights="random", size=None)
    found = registry.resolved(chosen)
    assert isinstance(found, PretrainedSettings)
    assert (found.size, found.mean, found.sha256, found.licence) == (160, None, None, None)
    first, same, other = (built(settings(weights="random"), seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(value, same[name]) for name, value in first.items())
    assert not all(torch.equal(value, other[name]) for name, value in first.items())


# What the weights say


def test_the_weights_fill_in_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "test_vit.r160_in1k.safetensors"
    save_timm("test_vit", path)
    monkeypatch.setenv("EYEBRIGHT_WEIGHTS", str(tmp_path))
    found = registry.resolved(PretrainedSettings(body="test_vit"))
    assert found == PretrainedSettings(
        body="test_vit.r160_in1k",
        weights="default",
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        size=160,
        interpolation="bicubic",
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        licence="apache-2.0",
    )
    assert registry.resolved(found) == found


def test_what_the_user_said_stays(tmp_path: Path) -> None:
    save_timm("test_resnet", tmp_path / "file.pth")
    chosen = settings(weights=tmp_path / "file.pth", mean=(0.1, 0.2, 0.3), interpolation="bicubic", licence="mine")
    found = registry.resolved(chosen)
    assert found == dataclasses.replace(chosen, sha256=found.sha256, std=found.std)  # type: ignore[union-attr]
    # Nobody knows the licence of a file that is named by its path alone.
    anonymous = registry.resolved(settings(weights=tmp_path / "file.pth"))
    assert isinstance(anonymous, PretrainedSettings)
    assert anonymous.licence == ""


@pytest.mark.parametrize(("channels", "mean"), [(3, (0.1, 0.2, 0.6)), (1, (0.3,))])
def test_grey_pixels_are_normalised_by_the_average_colour(channels: int, mean: tuple[float, ...]) -> None:
    chosen = settings(mean=(0.1, 0.2, 0.6), std=(0.2, 0.2, 0.2))
    found = pretrained.normalisation(chosen, channels)
    assert found is not None
    assert found[0] == pytest.approx(mean)
    assert found[1] == pytest.approx((0.2,) * channels)
    assert pretrained.normalisation(settings(), channels) is None


def test_a_relative_path_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_timm("test_resnet", tmp_path / "file.pth")
    monkeypatch.chdir(tmp_path)
    found = registry.resolved(settings(weights="file.pth"))
    assert isinstance(found, PretrainedSettings)
    assert found.weights == str(tmp_path / "file.pth")


# Sizes and colours


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_small_images_are_enlarged_inside_the_model(mode: str) -> None:
    model = built(settings(weights="random", size=64, interpolation=mode))
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        larger = F.interpolate(model.normalise(images), (64, 64), mode=mode, align_corners=False)
        assert torch.equal(model.features(images), model.network(larger))


def test_grey_images_are_shown_in_three_equal_colours() -> None:
    spec = dataclasses.replace(SPEC, channels=1, mean=(0.5,), std=(0.25,))
    model = built(settings(weights="random"), spec)
    images = torch.randint(0, 256, (2, 1, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        assert torch.equal(model.features(images), model.network(model.normalise(images).repeat(1, 3, 1, 1)))


def test_grey_images_go_into_the_coloured_body_of_a_run(tmp_path: Path) -> None:
    coloured = own_checkpoint(tmp_path / "own.safetensors").eval()
    grey = dataclasses.replace(SPEC, channels=1, mean=(0.5,), std=(0.25,))
    model = built(registry.resolved(PretrainedSettings(weights=str(tmp_path / "own.safetensors"))), grey)
    images = torch.randint(0, 256, (2, 1, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        wanted = coloured.body(model.normalise(images).repeat(1, 3, 1, 1))
        torch.testing.assert_close(model.features(images), wanted)


def test_images_larger_than_the_body_are_refused() -> None:
    with pytest.raises(ModelError, match=r"64x64 pixels, and the body .* 32x32(.|\n)*data.size=32(.|\n)*model.size=64"):
        built(settings(weights="random"), dataclasses.replace(SPEC, height=64, width=64))


def test_a_body_too_large_for_the_images_is_refused() -> None:
    with pytest.raises(
        ModelError, match=r"inception_resnet_v2 cannot take images of 32 pixels(.|\n)*larger model.size"
    ):
        built(settings("inception_resnet_v2", "random"))


# Heads


def test_a_deep_head_has_three_normalised_layers() -> None:
    head = built(settings(weights="random", head="deep", dropout=0.25)).head
    widths = [layer.out_features for layer in head.modules() if isinstance(layer, nn.Linear)]
    assert widths == [1024, 512, 256, 3]
    assert sum(isinstance(layer, nn.BatchNorm1d) for layer in head.modules()) == 3
    assert [layer.p for layer in head.modules() if isinstance(layer, nn.Dropout)] == [0.25] * 3


def test_a_linear_head_may_drop_features() -> None:
    head = built(settings(weights="random", dropout=0.5)).head
    assert [type(layer) for layer in head.children()] == [nn.Dropout, nn.Linear]


# A model of ours


@pytest.mark.parametrize("chosen", [OWN, MLPSettings(hidden=(8, 4)), SpeedNetSettings(widths=(4, 4, 4))])
def test_the_body_of_a_checkpoint_of_ours_is_taken_over(chosen: Any, tmp_path: Path) -> None:
    spec = dataclasses.replace(SPEC, classes=("one", "two"), mean=(0.1, 0.2, 0.3), licence="cc0")
    source = own_checkpoint(tmp_path / "best.safetensors", chosen, spec)
    found = registry.resolved(PretrainedSettings(weights=str(tmp_path / "best.safetensors")))
    assert isinstance(found, PretrainedSettings)
    assert (found.body, found.size, found.mean, found.licence) == (chosen, 32, (0.1, 0.2, 0.3), "cc0")
    model = built(found)
    assert model.head.get_parameter("weight").shape[0] == 3
    theirs = source.body.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in model.network.state_dict().items())


def test_the_body_of_a_run_is_its_best_model_s(tmp_path: Path) -> None:
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "run" / "run.json").write_text("{}")
    with pytest.raises(ModelError, match="has no model yet"):
        built(PretrainedSettings(weights=str(tmp_path / "run")))
    own_checkpoint(tmp_path / "run" / "checkpoints" / "best.safetensors")
    assert registry.resolved(PretrainedSettings(weights=str(tmp_path / "run"))).body == OWN  # type: ignore[union-attr]


def test_a_pretrained_body_that_was_trained_further_is_taken_over(tmp_path: Path) -> None:
    first = registry.resolved(settings("test_vit", "random", size=32, mean=(0.4,) * 3, std=(0.2,) * 3))
    source = own_checkpoint(tmp_path / "best.safetensors", first)
    found = built(PretrainedSettings(weights=str(tmp_path / "best.safetensors")))
    assert isinstance(found.settings, PretrainedSettings)
    assert (found.settings.body, found.settings.mean) == ("test_vit", (0.4,) * 3)
    theirs = source.network.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in found.network.state_dict().items())


def test_a_body_other_than_that_of_the_run_is_refused(tmp_path: Path) -> None:
    own_checkpoint(tmp_path / "best.safetensors")
    with pytest.raises(ModelError, match=r"Leave model\.body away"):
        built(settings("resnet18", tmp_path / "best.safetensors"))


def test_the_body_of_a_custom_model_is_refused(tmp_path: Path) -> None:
    custom = CustomSettings(target="eyebright.models.custom:example_body", features=32)
    own_checkpoint(tmp_path / "best.safetensors", custom)
    with pytest.raises(ModelError, match="custom model, whose body only its own code can make"):
        built(PretrainedSettings(weights=str(tmp_path / "best.safetensors")))


def test_a_checkpoint_needs_no_other_file(tmp_path: Path) -> None:
    save_timm("test_resnet", tmp_path / "file.pth")
    chosen = registry.resolved(settings(weights=tmp_path / "file.pth"))
    model = built(chosen)
    weights.save(model, tmp_path / "best.safetensors")
    (tmp_path / "file.pth").unlink()
    again = weights.load(tmp_path / "best.safetensors", expected=chosen)
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        assert torch.equal(again(images), model(images))


# What is missing or wrong


def test_weights_that_are_not_here_are_named_with_page_and_place(monkeypatch: pytest.MonkeyPatch) -> None:
    pattern = r"test_resnet.r160_in1k are not on this machine(.|\n)*huggingface.co/timm/test_resnet.r160_in1k/"
    with pytest.raises(ModelError, match=pattern + r"(.|\n)*FOLDER/test_resnet.r160_in1k.safetensors"):
        built(settings())
    monkeypatch.setenv("EYEBRIGHT_WEIGHTS", "/mirror")
    with pytest.raises(ModelError, match=pattern + r"(.|\n)*/mirror/test_resnet.r160_in1k.safetensors"):
        built(settings())


def test_weights_that_nobody_publishes() -> None:
    with pytest.raises(ModelError, match="nobody publishes weights for densenet264d"):
        built(settings("densenet264d"))
    with pytest.raises(ModelError, match="nobody publishes weights for a network of Eyebright's own"):
        built(settings(OWN))
    with pytest.raises(ModelError, match="the body has no name"):
        built(settings(None))


@pytest.mark.parametrize("name", ["test_resnet.r160_in1k.safetensors", "test_resnet.pth"])
def test_a_mirror_is_a_folder_of_files_by_name(name: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"holds no weights of test_resnet.r160_in1k"):
        built(settings(weights=tmp_path))
    save_timm("test_resnet", tmp_path / name)
    assert built(settings(weights=tmp_path)).network is not None


def test_the_caches_of_timm_are_looked_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    tensors = save_timm("resnet18", folder / "resnet18-f37072fd.pth")
    model = built(settings("resnet18.tv_in1k"))
    assert torch.equal(model.network.get_parameter("conv1.weight"), tensors["conv1.weight"])
    assert isinstance(model.settings, PretrainedSettings)
    assert model.settings.licence == "bsd-3-clause"
    asked: list[tuple[str, str]] = []

    def cached(repository: str, name: str) -> str:
        asked.append((repository, name))
        return str(folder / "resnet18-f37072fd.pth")

    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", cached)
    built(settings("resnet18"))
    assert asked[0] == ("timm/resnet18.a1_in1k", "model.safetensors")


@pytest.mark.parametrize(
    ("body", "pattern"),
    [
        ("resnt18", r"knows no network 'resnt18'(.|\n)*Did you mean 'resnet18'"),
        ("resnet18.a9_in1k", r"knows no weights 'a9_in1k' of resnet18(.|\n)*Did you mean 'a[123]_in1k'"),
        ("hf-hub:timm/resnet18", "knows no network"),
        ("local-dir:/tmp", "knows no network"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(body: str, pattern: str) -> None:
    with pytest.raises(ModelError, match=pattern):
        built(settings(body, "random"))
    with pytest.raises(ModelError):
        registry.skeleton(settings(body.partition(".")[0] + "_", "random"), SPEC)


def test_a_path_that_is_nothing(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"there is no file or folder .*missing.pth(.|\n)*Name a .safetensors"):
        built(settings(weights=tmp_path / "missing.pth"))


def test_random_weights_have_no_digest() -> None:
    with pytest.raises(ModelError, match=r"(?s)random weights.*model\.sha256=null"):
        registry.resolved(settings(weights="random", sha256="0" * 64))


def test_a_file_with_another_digest_is_refused(tmp_path: Path) -> None:
    save_timm("test_resnet", tmp_path / "file.pth")
    with pytest.raises(ModelError, match=r"not the file that the recipe was made with(.|\n)*model.sha256=null"):
        built(settings(weights=tmp_path / "file.pth", sha256="0" * 64))


class Executable:
    """What a stranger could put into a pickle."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, ("executed",)


@pytest.mark.parametrize(
    ("name", "content", "pattern"),
    [
        ("file.pth", b"", "cannot be read as weights"),
        ("file.pth", b"PK\x03\x04 not a whole zip", "cannot be read as weights"),
        ("file.safetensors", b"", "not a whole safetensors file"),
        ("file.safetensors", b"\xff" * 100, "not a whole safetensors file"),
        ("file.npz", b"x", "no file of weights that can be read"),
        ("file.pth", pickle.dumps(Executable(), protocol=2), "code is not run"),
    ],
)
def test_a_file_that_is_no_weights(
    name: str, content: bytes, pattern: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises((ModelError, CheckpointError), match=pattern) as caught:
        built(settings(weights=tmp_path / name))
    assert name in str(caught.value)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("content", [torch.zeros(3), {"a": 1}, {}, [1, 2]])
def test_a_file_that_holds_something_else(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "file.pth")
    with pytest.raises(ModelError, match="is no dictionary of tensors"):
        built(settings(weights=tmp_path / "file.pth"))


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file.safetensors"
    save_timm("test_resnet", path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(EyebrightError, match=r"file\.safetensors"):
        built(settings(weights=path))


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    save_timm("test_vit", tmp_path / "file.pth")
    with pytest.raises(ModelError, match=r"file.pth does not hold the weights of test_resnet(.|\n)*model.body"):
        built(settings(weights=tmp_path / "file.pth"))


def test_a_file_that_lacks_something_or_has_more_is_refused(tmp_path: Path) -> None:
    tensors = save_timm("test_resnet", tmp_path / "file.pth")
    torch.save({name: value for name, value in tensors.items() if name != "layer1.0.bn1.weight"}, tmp_path / "less.pth")
    torch.save(tensors | {"layer9.weight": torch.zeros(1)}, tmp_path / "more.pth")
    for name, tensor in (("less.pth", "layer1.0.bn1.weight"), ("more.pth", "layer9.weight")):
        with pytest.raises(ModelError, match=rf"does not hold the weights of test_resnet(.|\n)*{tensor}"):
            built(settings(weights=tmp_path / name))


def test_what_timm_reads_leniently_is_checked_all_the_same(tmp_path: Path) -> None:
    tensors = save_timm("dla46x_c", tmp_path / "file.pth")  # its family is read without asking what is missing
    torch.save({name: value for name, value in tensors.items() if "level3" not in name}, tmp_path / "less.pth")
    with pytest.raises(ModelError, match=r"it has no values for level3"):
        built(settings("dla46x_c", tmp_path / "less.pth", size=64))


def test_without_timm_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm.models", None)
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(MissingExtraError, match=r"eyebright\[pretrained\]"):
        built(settings(weights="random"))
