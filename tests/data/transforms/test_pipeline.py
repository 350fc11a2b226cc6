"""Transforms of other libraries: what may be named, what comes out, and what is said when it does not fit."""

from __future__ import annotations

import logging
import os
import random
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import albumentations
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import JsonValue

from eyebright.core import torchvision_operators
from eyebright.core.errors import MissingExtraError, RecipeError
from eyebright.core.randomness import stream
from eyebright.core.recipe import recipe
from eyebright.core.settings.augment import AugmentSettings
from eyebright.data.augment import augment
from eyebright.data.transforms import pipeline as module
from eyebright.data.transforms.pipeline import check, pipeline

FLIP = {"_target_": "albumentations.HorizontalFlip", "p": 0.5}
ELASTIC = {"_target_": "torchvision.transforms.v2.ElasticTransform", "sigma": 1.0}
NOTEBOOK_ENDING: list[dict[str, Any]] = [
    {"_target_": "albumentations.Normalize", "mean": [0.5, 0.5, 0.5], "std": [0.2, 0.2, 0.2]},
    {"_target_": "albumentations.pytorch.ToTensorV2"},
]


@pytest.fixture(autouse=True)
def _build_anew() -> Iterator[None]:
    module._built.cache_clear()
    yield
    module._built.cache_clear()


def table_e() -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = recipe("digits/mlp", ["augment=table_e"]).to_dict()["augment"]["pipeline"]
    return entries


def photos(number: int = 6, shape: tuple[int, int, int] = (20, 24, 3)) -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, (number, *shape), dtype=np.uint8)


def made(entries: Any, pixels: NDArray[np.uint8], first_seed: int = 0) -> NDArray[np.uint8]:
    return pipeline(entries, pixels.shape[1:])(pixels, np.arange(first_seed, first_seed + len(pixels)))


def test_table_e_is_what_albumentations_makes_with_the_same_generators() -> None:
    """The published pipeline as a notebook writes it, for images of 20 x 24: 110 % are 22 x 26.4 pixels."""
    direct = [
        albumentations.PadIfNeeded(min_height=22, min_width=26),
        albumentations.RandomCrop(height=20, width=24),
        albumentations.HorizontalFlip(p=0.5),
        albumentations.Rotate(limit=15),
        albumentations.CoarseDropout(
            num_holes_range=(1, 5), hole_height_range=(0.10, 0.25), hole_width_range=(0.10, 0.25)
        ),
    ]
    pixels = photos(12)
    out = made([*table_e(), *NOTEBOOK_ENDING], pixels, first_seed=5)
    for seed, (source, found) in enumerate(zip(pixels, out, strict=True), start=5):
        generators = np.random.default_rng(seed), random.Random(seed)
        image = source
        for transform in direct:
            transform.set_random_state(*generators)
            image = transform(image=image)["image"]
        assert np.array_equal(found, image)
    assert not np.array_equal(out, pixels)


def test_torchvision_is_what_it_makes_with_the_same_seed() -> None:
    torchvision_operators.ensure()
    from torchvision.transforms import v2

    inner = [{"_target_": "torchvision.transforms.v2.RandomErasing", "p": 1.0, "value": "random"}, ELASTIC]
    entries = [
        {"_target_": "torchvision.transforms.v2.RandomCrop", "size": ["100% of height", "100% of width"], "padding": 2},
        {"_target_": "torchvision.transforms.v2.RandomOrder", "transforms": inner},
    ]
    steps = [v2.RandomErasing(p=1.0, value="random"), v2.ElasticTransform(sigma=1.0)]
    direct = v2.Compose([v2.RandomCrop([20, 24], padding=2), v2.RandomOrder(steps)])
    pixels = photos()
    state = torch.random.get_rng_state()
    out = made(entries, pixels, first_seed=9)
    assert torch.equal(torch.random.get_rng_state(), state)  # the training's own draws go on as if nothing had been
    for seed, (source, found) in enumerate(zip(pixels, out, strict=True), start=9):
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            image = direct(torch.from_numpy(source).permute(2, 0, 1))
        assert np.array_equal(found, image.permute(1, 2, 0).numpy())


def test_no_two_transforms_draw_the_same_numbers() -> None:
    """Albumentations' own seeding would mirror an image both ways or not at all."""
    pixels = photos(1).repeat(100, axis=0)
    out = made([FLIP, {"_target_": "albumentations.VerticalFlip", "p": 0.5}], pixels)
    assert len(np.unique(out, axis=0)) == 4


def test_nested_transforms_of_both_libraries_run_in_turn() -> None:
    one_of = {
        "_target_": "albumentations.OneOf",
        "transforms": [FLIP, {"_target_": "albumentations.Transpose"}],
        "p": 1,
    }
    compose = {"_target_": "albumentations.Compose", "transforms": [one_of, FLIP]}
    pixels = photos(20, (16, 16, 3))
    out = made([compose, ELASTIC, {"_target_": "albumentations.augmentations.geometric.flip.VerticalFlip"}], pixels)
    assert out.shape == pixels.shape
    assert out.dtype == np.uint8
    assert np.array_equal(out, made([compose, ELASTIC, {"_target_": "albumentations.VerticalFlip"}], pixels))


def test_pixels_depend_on_their_seed_and_on_nothing_else() -> None:
    pixels = photos(24)
    entries = [*table_e(), ELASTIC]
    together = made(entries, pixels)
    built = pipeline(entries, pixels.shape[1:])
    with ThreadPoolExecutor(4) as pool:
        alone = list(pool.map(lambda i: built(pixels[i : i + 1], np.array([i]))[0], reversed(range(24))))
    assert np.array_equal(together, alone[::-1])
    assert np.array_equal(pixels, photos(24))  # left as they are
    assert not np.array_equal(together, made(entries, pixels, first_seed=100))


@pytest.mark.parametrize("channels", [1, 3])
def test_grey_images_keep_their_one_channel(channels: int) -> None:
    pixels = photos(4, (16, 16, channels))
    jitter = {"_target_": "torchvision.transforms.v2.ColorJitter", "brightness": 0.5}
    assert made([*table_e(), jitter, *NOTEBOOK_ENDING], pixels).shape == pixels.shape


@pytest.mark.parametrize(
    ("share", "pixels"), [("110% of height", 22), ("110 % of width", 26), ("12.5% of width", 3), ("100% of height", 20)]
)
def test_a_share_is_in_whole_pixels_of_the_image(share: str, pixels: int) -> None:
    shape = (20, 24, 3)
    entries = [{"_target_": "albumentations.CropAndPad", "px": share, "keep_size": False}]
    with pytest.raises(RecipeError, match=rf"gives {20 + 2 * pixels}x{24 + 2 * pixels}x3 uint8"):
        pipeline(entries, shape)


def test_what_the_model_does_itself_is_left_out_and_said(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "eyebright")
    whole = {"_target_": "albumentations.Compose", "transforms": [*table_e(), *NOTEBOOK_ENDING]}
    pixels = photos()
    assert np.array_equal(made([whole], pixels), made(table_e(), pixels))
    check([whole], (20, 24, 3))
    assert "Normalize and ToTensorV2 at its end left out" in caplog.text
    caplog.clear()
    torchvision = [{"_target_": f"torchvision.transforms.v2.{name}"} for name in ("ToDtype", "Normalize")]
    check([ELASTIC, *torchvision], (20, 24, 3))
    assert "ToDtype and Normalize at its end left out" in caplog.text
    caplog.clear()
    check(table_e(), (20, 24, 3))
    check([], (20, 24, 3))
    assert not caplog.text


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "os.Compose",
        "stranger.Transform",
        "albumentations_stranger.Transform",
        "albumentations.core.serialization.load",
        "albumentations.check_version.check_for_updates",
        "albumentations.stranger.HorizontalFlip",
        "albumentations.np.load",
        "albumentations.BboxParams",
        "torchvision.datasets.FakeData",
        "torchvision.transforms.v2.functional.resize",
        "eyebright.core.recipe.recipe",
    ],
)
def test_nothing_but_transforms_is_ever_made(target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "stranger.py").write_text("raise SystemExit('a stranger ran code')")
    monkeypatch.syspath_prepend(tmp_path)
    entry = {"_target_": target, "transforms": [FLIP]}
    for entries in ([entry], [{"_target_": "albumentations.OneOf", "transforms": [FLIP, entry]}]):
        with pytest.raises(RecipeError, match=r"none of the transforms that a recipe may name|has no transform"):
            pipeline(entries, (8, 8, 3))
    assert "stranger" not in sys.modules


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        ({"_target_": "albumentations.HorizontlFlip"}, r"has no transform .*\nDid you mean 'HorizontalFlip'"),
        ({"_target_": "torchvision.transforms.v2.RandomRotate"}, r"Did you mean 'RandomRotation'"),
        ({"_target_": "A.Rotate"}, r"albumentations and torchvision\.transforms\.v2; no other code"),
        ({"transforms": []}, r"pipeline\[1\] names no transform"),
        ({"_target_": 3}, r"pipeline\[1\] names no transform"),
        ({"_target_": "albumentations.Rotate", "limit": "far"}, r"pipeline\[1\] \(albumentations\.Rotate\).*limit"),
        ({"_target_": "albumentations.Rotate", "limits": 15}, r"Argument\(s\) 'limits' are not valid"),
        ({"_target_": "albumentations.OneOf", "transform": []}, r"unexpected keyword argument 'transform'"),
        ({"_target_": "torchvision.transforms.v2.RandomRotation"}, r"missing 1 required positional argument"),
        ({"_target_": "albumentations.Pad", "padding": "110%"}, r"padding='110%' is no share.*\nWrite 110% of height"),
        ({"_target_": "albumentations.Resize", "height": 9, "width": 8}, r"\(albumentations\.Resize\) gives 9x8x3"),
        ({"_target_": "albumentations.RandomCrop", "height": 9, "width": 9}, r"RandomCrop\) fails on .* 8x8x3 uint8"),
        ({"_target_": "albumentations.FDA", "reference_images": []}, r"FDA"),
        ({"_target_": "torchvision.transforms.v2.Grayscale"}, r"Grayscale\) gives 8x8x1 uint8"),
        ({"_target_": "torchvision.transforms.v2.ToPILImage"}, r"ToPILImage\) gives a Image"),
        ({"_target_": "torchvision.transforms.v2.FiveCrop", "size": 8}, r"FiveCrop\) gives a tuple"),
        ({"_target_": "torchvision.transforms.v2.MixUp", "num_classes": 3}, r"MixUp\) fails"),
        (
            {"_target_": "albumentations.Compose", "transforms": [FLIP], "bbox_params": {"format": "coco"}},
            "bbox_params",
        ),
        ({"_target_": "albumentations.OneOf", "transforms": [FLIP, ELASTIC]}, r"transforms\[1\].* cannot stand inside"),
    ],
)
def test_an_error_names_the_place_and_the_transform(entry: dict[str, Any], complaint: str) -> None:
    with pytest.raises(RecipeError, match=rf"(?s){complaint}"):
        pipeline([FLIP, entry, FLIP], (8, 8, 3))


def test_the_transform_that_changed_the_image_last_is_named() -> None:
    crop = {"_target_": "albumentations.RandomCrop", "height": 8, "width": "90% of width"}
    whole = {"_target_": "albumentations.Compose", "transforms": [table_e()[0], crop, FLIP]}
    with pytest.raises(RecipeError, match=r"pipeline\[0\]\.transforms\[1\] \(albumentations\.RandomCrop\) gives 8x7x3"):
        pipeline([whole], (8, 8, 3))
    with pytest.raises(RecipeError, match=r"(?s)Normalize\) gives 8x8x3 float32.*normalising is for the model"):
        pipeline([*NOTEBOOK_ENDING[:1], FLIP], (8, 8, 3))


@pytest.mark.parametrize("package", ["albumentations", "torchvision"])
def test_a_missing_package_is_named(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [package, *(name for name in sys.modules if name.startswith(f"{package}.transforms"))]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match=rf"'{package}', which is not installed"):
        pipeline([FLIP, ELASTIC], (8, 8, 3))


def test_a_batch_gets_a_seed_an_image_and_the_pipeline_comes_first() -> None:
    pixels = photos(5, (8, 8, 3))
    images, labels = torch.from_numpy(pixels).permute(0, 3, 1, 2), torch.tensor([0, 1, 2, 0, 1])
    entries: list[dict[str, JsonValue]] = [{"_target_": "albumentations.RandomBrightnessContrast", "p": 1.0}]
    place = (3, 1, 4)
    seeds = stream("pipeline", *place).integers(2**63, size=5)
    alone = pipeline(entries, (8, 8, 3))(pixels, seeds)
    ours = AugmentSettings(shift=0.25, mixup=1.0)
    both = AugmentSettings(pipeline=tuple(entries), shift=0.25, mixup=1.0)
    expected = augment(torch.from_numpy(alone).permute(0, 3, 1, 2), labels, ours, classes=3, place=place)
    found = augment(images, labels, both, classes=3, place=place)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_a_recipe_holds_its_pipeline() -> None:
    given = "augment.pipeline=[{_target_: albumentations.Rotate, limit: 15}, {_target_: albumentations.NoOp}]"
    changed = recipe("digits/mlp", [given])
    assert changed.augment.pipeline == (
        {"_target_": "albumentations.Rotate", "limit": 15},
        {"_target_": "albumentations.NoOp"},
    )
    assert type(changed).from_dict(changed.to_dict()) == changed
    assert changed.replace(augment="table_e").replace(augment="none").augment == AugmentSettings()
    with pytest.raises(RecipeError, match="pipeline"):
        recipe("digits/mlp", ["augment.pipeline=[albumentations.Rotate]"])


def test_table_e_without_dropout_differs_in_that_alone() -> None:
    without = recipe("digits/mlp", ["augment=table_e_no_dropout"]).to_dict()["augment"]["pipeline"]
    assert [*without, table_e()[-1]] == table_e()
    assert table_e()[-1]["_target_"] == "albumentations.CoarseDropout"


def test_the_import_changes_no_variable_and_asks_no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    from eyebright.data.transforms.albumentations_library import Albumentations

    for before in (None, "0"):
        with monkeypatch.context() as patch:
            patch.delenv("NO_ALBUMENTATIONS_UPDATE", raising=False)
            if before is not None:
                patch.setenv("NO_ALBUMENTATIONS_UPDATE", before)
            for name in [name for name in sys.modules if name.split(".")[0] == "albumentations"]:
                patch.delitem(sys.modules, name)
            assert "HorizontalFlip" in Albumentations().classes()
            assert os.environ.get("NO_ALBUMENTATIONS_UPDATE") == before
            assert sys.modules["albumentations.check_version"].opener is None
