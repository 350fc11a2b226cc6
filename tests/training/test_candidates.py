from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eyebright.core.errors import RecipeError
from eyebright.core.recipe import recipes
from eyebright.data.sources.base import SOURCES
from eyebright.training.candidates import _KNOWN, candidates, is_images


def folder(path: Path, side: int) -> Path:
    for name in ("red", "blue"):
        (path / name).mkdir(parents=True)
        Image.fromarray(np.zeros((side, side, 3), np.uint8)).save(path / name / "0.png")
    return path


@pytest.mark.parametrize("source", sorted(SOURCES))
def test_every_known_set_has_candidates_that_rise(source: str) -> None:
    found, reason = candidates(source, [], {})
    assert reason == f"{source} is known."
    assert {each.recipe.data.source for each in found} == {source}
    assert all(each.steps >= 1 for each in found)
    assert {entry.recipe for entry in _KNOWN.get(source, ())} <= set(recipes())


@pytest.mark.parametrize(("side", "sizes"), [(32, [32, 32, 32]), (200, [64, 96, 160])])
def test_a_folder_gets_those_for_its_size(tmp_path: Path, side: int, sizes: list[int]) -> None:
    images = folder(tmp_path / "photos", side)
    found, reason = candidates(str(images), ["optimizer.lr=0.5"], {"data.on_bad_image": "skip"})
    assert "2 images" in reason
    assert [each.recipe.data.size for each in found] == sizes
    assert {(each.recipe.data.source, each.recipe.optimizer.lr) for each in found} == {(str(images), 0.5)}
    assert {each.recipe.data.on_bad_image for each in found} == {"skip"}
    assert [each.steps for each in found] == sorted(each.steps for each in found)


def test_a_recipe_is_its_own_only_candidate() -> None:
    (found,), reason = candidates("digits/cnn", ["batch_size=32"], {})
    assert (found.recipe.name, found.recipe.training.batch_size, found.steps) == ("digits/cnn", 32, 1)
    assert reason.startswith("digits/cnn is given")
    with pytest.raises(RecipeError, match="Did you mean 'digits/cnn'"):
        candidates("digits/cn", [], {})


def test_images_are_told_from_recipes(tmp_path: Path) -> None:
    assert is_images("cifar10")
    assert is_images(str(tmp_path))
    assert is_images("photos.ZIP")
    assert not is_images("cifar10/mlp")
