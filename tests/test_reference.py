"""docs/reference.md says what the code says, and nobody has to remember to bring it up to date."""

from __future__ import annotations

import dataclasses

import pytest

import eyebright as eb
from docs.write_reference import PAGE, reference
from eyebright.core.settings.augment import AugmentSettings
from eyebright.core.settings.data import DataSettings
from eyebright.core.settings.training import TrainingSettings


def test_the_committed_page_is_that_of_the_code() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference(), "run: python docs/write_reference.py"


@pytest.mark.parametrize("settings", [DataSettings, AugmentSettings, TrainingSettings])
def test_every_field_is_explained(settings: type) -> None:
    page = reference()
    for field in dataclasses.fields(settings):
        rows = [line for line in page.splitlines() if line.startswith(f"| `{field.name}` |")]
        assert rows
        assert not [row for row in rows if row.endswith("|  |")]


def test_every_public_name_and_recipe_is_there() -> None:
    page = reference()
    assert [name for name in eb.__all__ if f"### eb.{name}\n" not in page] == ["__version__"]
    assert [name for name in eb.recipes() if f"| `{name}` |" not in page] == []
