"""Every remedy is an override that runs, and that changes the recipe, however many were taken before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from eyebright.audit import remedies
from eyebright.audit.remedies import Remedy
from eyebright.core.recipe import Recipe, recipe, recipes
from eyebright.core.settings.optimizer import learning_rates
from eyebright.models.registry import example_settings
from tests.audit.conftest import plain

REMEDIES: dict[str, Callable[[Recipe], Remedy]] = {
    "brake": remedies.brake,
    "push": lambda chosen: remedies.push(chosen, longer=False),
    "longer": lambda chosen: remedies.push(chosen, longer=True),
    "shortcut": remedies.shortcut,
    "slower": remedies.slower,
    "faster": lambda chosen: remedies.faster(chosen, 0.01),
}


def test_each_remedy_runs_by_the_name_of_the_recipe() -> None:
    for remedy in REMEDIES.values():
        made = remedy(plain())
        assert recipe("digits/mlp", made.overrides) != plain()
        assert made.change.endswith(".")


@pytest.mark.parametrize("name", [name for name in recipes() if not name.startswith("folder/")])
def test_each_remedy_runs_with_every_built_in_recipe(name: str, tmp_path: Path) -> None:
    before, file = plain(name), tmp_path / "recipe.yaml"
    file.write_text(before.to_yaml())
    for remedy in REMEDIES.values():
        assert recipe(file, remedy(before).overrides) != before


@pytest.mark.parametrize("model", example_settings(), ids=lambda settings: settings.name)
@pytest.mark.parametrize("remedy", ["brake", "push", "shortcut"])
def test_a_ladder_of_remedies_can_be_climbed_for_every_model(remedy: str, model: object, tmp_path: Path) -> None:
    chosen = Recipe.from_dict(plain().to_dict() | {"model": model})
    file = tmp_path / "recipe.yaml"
    taken: list[str] = []
    for _ in range(4):
        file.write_text(chosen.to_yaml())
        taken += REMEDIES[remedy](chosen).overrides
        chosen = recipe(file, [taken[-1]])
    assert taken[0] != taken[1]


def test_brakes_come_in_order() -> None:
    chosen = plain("cifar10/simple_cnn")
    taken: list[str] = []
    for _ in range(7):
        taken += remedies.brake(chosen).overrides
        field, _, value = taken[-1].partition("=")
        chosen = chosen.replace(**{field: value})
    assert taken == [
        "augment=standard",
        "model=regularized_cnn",
        "optimizer.weight_decay=0.0005",
        "training.label_smoothing=0.1",
        "augment.cutmix=1.0",
        "training.patience=5",
        "training.patience=2",
    ]


@pytest.mark.parametrize(
    ("source", "expected"), [("digits", "digits"), ("mnist", "digits"), ("emotions", "faces"), ("photos", "standard")]
)
def test_augmentation_leaves_the_class_what_it_is(source: str, expected: str) -> None:
    assert remedies.brake(plain(**{"data.source": source})).overrides == (f"augment={expected}",)


@pytest.mark.parametrize(
    ("moved", "expected"), [(0.0, 1.0), (1e-9, 1.0), (0.0003, 1.0), (0.003, 0.1), (0.03, 0.01), (0.049, 0.01)]
)
def test_a_learning_rate_is_raised_as_far_as_the_weights_lag_behind(moved: float, expected: float) -> None:
    (override,) = remedies.faster(plain(), moved).overrides  # from 0.001
    assert float(override.removeprefix("optimizer.lr=")) == pytest.approx(expected)


def test_all_rates_of_an_optimiser_change_together() -> None:
    muon = plain(optimizer="muon")
    lower = muon.replace(**dict(change.split("=") for change in remedies.slower(muon).overrides))
    before, after = learning_rates(muon.optimizer), learning_rates(lower.optimizer)
    assert before.keys() == {"lr", "head_lr", "vector_lr"}
    assert after == pytest.approx({name: rate / 10 for name, rate in before.items()})
