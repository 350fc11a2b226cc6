from __future__ import annotations

from pathlib import Path

import pytest

from eyebright.core.errors import RecipeError
from eyebright.core.recipe import recipe
from eyebright.tables.table import PublishedTable, table, tables

from .conftest import TABLE


@pytest.mark.parametrize("name", tables())
def test_every_row_of_every_table_has_a_recipe_that_composes(name: str) -> None:
    found = table(name)
    assert found.name == name
    assert {claim.better for claim in found.claims} <= {row.name for row in found.rows}
    for row in found.rows:
        recipe(row.recipe, row.overrides)


def test_the_tables_of_the_field_are_there() -> None:
    assert [name[:2] for name in tables()] == ["a_", "b_", "c_", "d_", "e_"]
    ladder = table("c_ladder")
    assert ladder.row("plain").fails == "vanishing_gradients"
    assert [ladder.row(name).theirs["accuracy"] for name in ("batch_norm", "dropout", "augmentation")] == [78, 80, 86]
    simple = table("d_simple_regularized").row("simple").theirs
    assert (simple["recall of cat"], simple["recall of frog"]) == (53, 80)


def test_quantities_are_those_asked_for_and_those_published(example: PublishedTable) -> None:
    assert example.quantities(example.row("mlp")) == ("accuracy", "F1")
    assert table("b_small_cnn").quantities(table("b_small_cnn").row("fast")) == ("accuracy", "training time")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("accuracy: 50", "acuracy: 50", "no quantity is called 'acuracy'"),
        ("accuracy: 50", "accuracy: much", "rows.0.theirs"),
        ("than: mlp", "than: mlb", "no row 'mlb'"),
        ("changed: Nothing.", "weights_of: cnn", "mlp takes its weights from a later row"),
        ("changed: Nothing.", "weights_of: cmn", "no row 'cmn'"),
        ("name: cnn", "name: mlp", "two rows called 'mlp'"),
        ("title: Two", "titel: Two", "title: Field required"),
        ("name: mlp", "name: ../mlp", "rows.0.name"),
        (TABLE, "nothing", "holds no fields"),
        (TABLE, "{", "is not a table"),
    ],
)
def test_a_table_with_a_mistake_says_where(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "example.yaml"
    path.write_text(TABLE.replace(old, new))
    with pytest.raises(RecipeError, match=message):
        table(path)


def test_an_unknown_table_or_row_gets_the_nearest_name(example: PublishedTable, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="Did you mean 'c_ladder'"):
        table("ladder")
    with pytest.raises(RecipeError, match="Did you mean 'cnn'"):
        example.row("cn")
    with pytest.raises(RecipeError, match="is not a table"):
        table(tmp_path / "none.yaml")
