"""The recipes that begin with published weights, on a few small images, through the path that the real files take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from eyebright.core.recipe import recipe
from eyebright.core.settings.model import PretrainedSettings
from eyebright.data.image_set import Splits
from eyebright.training.fit import fit
from tests.models.timm_files import save_timm

slow = pytest.mark.slow  # large networks, which take seconds to be made and written


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mirror")


@pytest.fixture
def mirror(files: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which weights are looked for."""
    monkeypatch.setenv("EYEBRIGHT_WEIGHTS", str(files))
    return files


@pytest.mark.parametrize(
    ("name", "changes", "moves"),
    [
        ("cifar10/resnet18_frozen", {}, False),
        pytest.param("cifar10/resnet18_unfrozen", {}, True, marks=slow),
        pytest.param("cifar10/densenet121_frozen", {}, False, marks=slow),
        pytest.param("cifar10/densenet121_unfrozen", {}, True, marks=slow),
        pytest.param("cifar10/densenet121_no_dropout", {}, True, marks=slow),
        # Smaller ones of the same families: their weights are written three times.
        ("cifar10/vit_b16_frozen", {"model.body": "vit_tiny_patch16_224.augreg_in21k_ft_in1k"}, False),
        ("cifar10/vit_b16_unfrozen", {"model.body": "vit_tiny_patch16_224.augreg_in21k_ft_in1k"}, True),
        ("folder/pretrained", {"model.body": "convnext_atto.d2_in1k"}, False),
        pytest.param("cifar10/inception_resnet_v2_frozen", {"model.size": 75}, False, marks=slow),
    ],
)
def test_a_recipe_runs_from_a_mirror(
    name: str, changes: dict[str, Any], moves: bool, shades: Splits, tmp_path: Path, mirror: Path
) -> None:
    small = {"model.size": 32, "data.source": "shades", "epochs": 1, "batch_size": 8, "threads": 1}
    chosen = recipe(name, **(small | changes)).model
    assert isinstance(chosen, PretrainedSettings)
    path = mirror / f"{chosen.body}.safetensors"
    if not path.exists():
        sized: dict[str, Any] = {"img_size": chosen.size} if "vit" in str(chosen.body) else {}
        save_timm(str(chosen.body), path, **sized)
    few = Splits(shades.train.take(range(16)), shades.validation.take([]), shades.test.take([]))
    run = fit(recipe(name, **(small | changes)), few, folder=tmp_path / "run", callbacks=[])
    trained = run.model
    assert isinstance(trained.settings, PretrainedSettings)
    assert trained.settings.sha256 is not None
    assert trained.settings.licence
    start, found = load_file(path), trained.network.state_dict()
    assert any(not value.equal(start[key]) for key, value in found.items()) is moves
