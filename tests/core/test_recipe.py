"""Recipes: composition, overrides, and errors that help."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from eyebright.core.errors import RecipeError
from eyebright.core.recipe import GROUPS, RECIPES, Recipe, descriptions, locate, options, recipe, recipes
from eyebright.core.settings.model import LadderCNNSettings, MLPSettings, PretrainedSettings, ResNetSettings
from eyebright.core.settings.optimizer import SGDSettings
from eyebright.core.settings.tracking import MLflowSettings

COMPLETE = [name for name in recipes() if not name.startswith("folder/")]


@pytest.mark.parametrize("name", COMPLETE)
def test_every_recipe_composes_and_survives_yaml(name: str) -> None:
    composed = recipe(name)
    assert Recipe.from_dict(yaml.safe_load(composed.to_yaml())) == composed
    assert composed.name == name
    assert composed.description


def test_folder_recipes_ask_for_their_images() -> None:
    with pytest.raises(RecipeError, match=r"data\.source.*no value"):
        recipe("folder/small")
    assert recipe("folder/small", **{"data.source": "photos"}).data.source == "photos"


@pytest.mark.parametrize("group", GROUPS)
def test_every_entry_of_a_group_fits(group: str) -> None:
    for choice in options(group):
        if (group, choice) not in {("data", "folder"), ("model", "custom")}:  # these ask for a value
            assert recipe("cifar10/ladder_cnn", [f"{group}={choice}"]) is not None


def test_overrides_in_hydras_grammar() -> None:
    changed = recipe("cifar10/ladder_cnn", ["epochs=5", "optimizer.lr=3e-4", "model.widths=[8,16]", "seed=3"])
    assert changed.training.epochs == 5
    assert changed.optimizer.lr == pytest.approx(3e-4)
    assert isinstance(changed.model, LadderCNNSettings)
    assert changed.model.widths == (8, 16)
    assert changed.seed == 3


def test_python_overrides_equal_those_of_the_command_line() -> None:
    shell = recipe("digits/cnn", ["epochs=2", "optimizer=sgd", "optimizer.lr=0.5"])
    python = recipe("digits/cnn", epochs=2, optimizer="sgd", **{"optimizer.lr": 0.5})
    assert shell == python
    assert isinstance(python.optimizer, SGDSettings)


def test_another_entry_brings_its_own_defaults() -> None:
    """The ladder's switches and AdamW's learning rate mean nothing to an MLP under SGD."""
    changed = recipe("cifar10/ladder_cnn", ["model=mlp", "optimizer=sgd"])
    assert changed.model == MLPSettings()
    assert changed.optimizer == SGDSettings()


def test_a_written_recipe_may_build_on_ours(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("defaults:\n  - /base\n  - override /model: mlp\n  - _self_\nname: mine\ntraining: {epochs: 2}\n")
    mine = recipe(path, ["batch_size=32"])
    assert (mine.name, mine.training.epochs, mine.training.batch_size) == ("mine", 2, 32)
    whole = tmp_path / "whole.yaml"
    whole.write_text(mine.to_yaml())
    assert recipe(whole) == mine


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("epcohs=3", "no field is called 'epcohs'.*'epochs'"),
        ("optimizer.lrr=1", r"no field 'optimizer\.lrr'.*'lr'"),
        ("model=mlpp", "no model called 'mlpp'.*'mlp'"),
        ("model.name=vgg", "no model called 'vgg'.*Valid names"),
        ("lr=0", r"optimizer\.lr=0 does not fit"),
        ("lr=nan", r"optimizer\.lr=nan does not fit"),
        ("dropout=much", r"model\.dropout='much' does not fit"),
        ("epochs=1,2", "several values"),
        ("~seed", "cannot be deleted"),
        ("epochs", "cannot read the override 'epochs'"),
        ("seed.x=3", "'seed', which is a plain value"),
        ("foo.bar=1", "no field 'foo'"),
    ],
)
def test_a_wrong_override_is_refused_with_help(override: str, message: str) -> None:
    with pytest.raises(RecipeError, match=f"(?s){message}"):
        recipe("cifar10/ladder_cnn", [override])


def test_stages_may_be_named_with_and_without_a_share() -> None:
    for override, expected in (
        ("unfreeze=[layer4]", {"layer4": 0.0}),
        ("unfreeze={layer4:0.25}", {"layer4": 0.25}),
        ("unfreeze=[]", {}),
        ("unfreeze=null", None),
    ):
        assert recipe("cifar10/resnet18_frozen", [override]).training.unfreeze == expected


def test_a_body_is_a_name_or_a_network_of_ours() -> None:
    changed = recipe("cifar10/mlp", ["model=pretrained", "body=convnext_tiny"])
    assert changed.model == PretrainedSettings(body="convnext_tiny")
    changed = recipe("cifar10/mlp", ["model=pretrained", "model.body={name: resnet20}", "model.weights=a/run"])
    assert changed.model == PretrainedSettings(body=ResNetSettings(name="resnet20"), weights="a/run")
    assert Recipe.from_dict(changed.to_dict()) == changed
    for override, message in (
        ("model.body={name: vgg}", r"model\.body=.* does not fit: Input tag 'vgg'"),
        ("model.body={name: wide_resnet, depht: 3}", r"no field 'model\.body\.depht'"),
        ("model.weights=3", r"model\.weights=3 does not fit"),
    ):
        with pytest.raises(RecipeError, match=message):
            recipe("cifar10/mlp", ["model=pretrained", override])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("cifar10/ladr_cnn", None, "'cifar10/ladder_cnn'"),
        ("missing.yaml", None, "no recipe file"),
        ("list.yaml", "- 1\n", "holds no fields"),
        ("broken.yaml", "a: [1\n", "is not a recipe"),
        ("strange.yaml", "defaults:\n  - /no_such_base\n", "does not compose"),
    ],
)
def test_a_wrong_recipe_is_refused_with_help(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: str | None, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if content is not None:
        Path(name).write_text(content)
    with pytest.raises(RecipeError, match=message):
        recipe(name)


@given(lr=st.floats(1e-6, 10), epochs=st.integers(1, 1000), flip=st.booleans())
def test_replace_changes_what_it_names_and_nothing_else(lr: float, epochs: int, flip: bool) -> None:
    plain = Recipe.from_dict({"data": {"source": "digits"}, "model": {"name": "mlp"}})
    changed = plain.replace(lr=lr, epochs=epochs, **{"augment.flip": flip})
    assert (changed.optimizer.lr, changed.training.epochs, changed.augment.flip) == (lr, epochs, flip)
    restored = changed.replace(lr=plain.optimizer.lr, epochs=plain.training.epochs, flip=plain.augment.flip)
    assert restored == plain


def test_replace_swaps_entries_as_the_command_line_does() -> None:
    assert recipe("cifar10/ladder_cnn").replace(model="mlp", epochs=2) == recipe(
        "cifar10/ladder_cnn", model="mlp", epochs=2
    )


def test_a_custom_model_asks_for_its_target() -> None:
    with pytest.raises(RecipeError, match=r"model\.target.*no value"):
        recipe("cifar10/mlp", ["model=custom"])
    chosen = recipe("cifar10/mlp", ["model=custom", "model.target=mine:body", "model.features=7"])
    assert chosen.model.name == "custom"


@pytest.mark.parametrize("name", ["/etc/x", "../x", "a/../b", "", "a//b"])
def test_a_name_that_leaves_the_runs_folder_is_refused(name: str) -> None:
    with pytest.raises(RecipeError, match="name="):
        recipe("digits/cnn", name=name)


def test_our_recipes_are_found_below_a_path_with_signs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = tmp_path / "it's (new), [a]=b"
    shutil.copytree(RECIPES, odd)
    monkeypatch.setattr("eyebright.core.recipe.RECIPES", odd)
    mine = tmp_path / "mine.yaml"
    mine.write_text("defaults:\n  - /base\n  - override /model: mlp\n  - _self_\n")
    assert recipe(mine).model == MLPSettings()


def test_descriptions_name_every_recipe() -> None:
    assert list(descriptions()) == recipes()
    assert all(descriptions().values())


def test_a_field_below_a_plain_value_is_refused_by_its_full_name() -> None:
    with pytest.raises(RecipeError, match=r"'data\.source', which is a plain value") as caught:
        recipe("digits/mlp", **{"data.source.x": 1})
    assert caught.value.remedy == "Write data.source=..."


@pytest.mark.parametrize("wrong", ["data.size=5000", "data.size=99999999999999999999", "model.widths=[]"])
def test_values_that_no_machine_or_model_bears_are_refused(wrong: str) -> None:
    with pytest.raises(RecipeError, match="does not fit"):
        recipe("cifar10/ladder_cnn", [wrong])


def test_tracking_is_no_choice_of_the_experiment() -> None:
    plain = recipe("digits/cnn")
    tracked = recipe("digits/cnn", ["tracking=mlflow", "tracking.uri=http://localhost:5000"])
    assert isinstance(tracked.tracking, MLflowSettings)
    assert tracked.tracking.uri == "http://localhost:5000"
    assert tracked.choices == plain.choices
    assert "tracking" not in plain.choices


def test_recipes_from_before_tracking_still_load() -> None:
    old = recipe("digits/cnn").to_dict()
    del old["tracking"]
    assert Recipe.from_dict(old) == recipe("digits/cnn")


def test_fields_are_located_by_their_last_name() -> None:
    found = recipe("digits/cnn")
    assert locate(found, "epochs") == "training.epochs"
    assert locate(found, "optimizer.lr") == "optimizer.lr"
    assert locate(found, "model") == "model"
    with pytest.raises(RecipeError, match="Did you mean 'epochs'"):
        locate(found, "epoch")
