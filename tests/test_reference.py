"""docs/reference.md says what the code says, and nobody has to remember to bring it up to date."""

from __future__ import annotations

import dataclasses

import pytest

import eyebright as eb
from docs.write_reference import PAGE, reference
from eyebright.core.recipe import options
from eyebright.core.settings.augment import AugmentSettings
from eyebright.core.settings.data import DataSettings
from eyebright.core.settings.training import TrainingSettings


@pytest.fixture(scope="module")
def page() -> str:
    return reference()


def test_the_committed_page_is_that_of_the_code(page: str) -> None:
    assert PAGE.read_text(encoding="utf-8") == page, "run: python docs/write_reference.py"


@pytest.mark.parametrize("settings", [DataSettings, AugmentSettings, TrainingSettings])
def test_every_field_is_explained(settings: type, page: str) -> None:
    for field in dataclasses.fields(settings):
        rows = [line for line in page.splitlines() if line.startswith(f"| `{field.name}` |")]
        assert rows
        assert not [row for row in rows if row.endswith("|  |")]


def test_every_public_name_and_recipe_is_there(page: str) -> None:
    assert [name for name in eb.__all__ if f"### eb.{name}\n" not in page] == ["__version__"]
    assert [name for name in eb.recipes() if f"| `{name}` |" not in page] == []


@pytest.mark.parametrize("group", ["model", "optimizer", "schedule", "tracking"])
def test_every_entry_of_a_group_has_its_fields(page: str, group: str) -> None:
    assert [name for name in options(group) if f"`{group}.name={name}`" not in page] == []
