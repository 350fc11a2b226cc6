"""`PublishedTable`: a table that somebody published, row by row, with the recipe that does the same here.

The tables lie as YAML in the folder `published`; anybody can write one of their own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, TypeAdapter, ValidationError

from eyebright.core.errors import RecipeError, nearest
from eyebright.core.settings.fields import settings
from eyebright.tables.quantities import quantity

TABLES = Path(__file__).resolve().parent / "published"

# A published number: one, or the ends of a range.
Published = float | tuple[float, float]
_Name = Annotated[str, Field(pattern=r"^\w+$")]  # it becomes a folder


@settings
class Row:
    """One line of a table.

    Attributes
    ----------
    name : short, for folders and `--rows`.
    title : as the table calls it.
    recipe : what is run here.
    overrides : fields of the recipe to change, as on the command line.
    weights_of : an earlier row from whose run, of the same seed, a pretrained model takes its body.
    theirs : published numbers by quantity, in its unit; see `eyebright.tables.quantities`.
    fails : fault that the training doctor is to find, where the published row failed.
    protocol : what is special about the row, such as images that are left out.
    changed : what we do differently from the source.
    """

    name: _Name
    title: str
    recipe: str
    overrides: tuple[str, ...] = ()
    weights_of: str | None = None
    theirs: dict[str, Published] = Field(default_factory=dict)
    fails: str | None = None
    protocol: str = ""
    changed: str = ""


@settings
class Claim:
    """An order that the table claims, or that we do: one row has the higher test accuracy."""

    better: str
    than: str


@settings
class PublishedTable:
    """A table.

    Attributes
    ----------
    name : that of its file.
    title : what it is about.
    source : where the numbers come from, and how they were measured as far as that is known.
    protocol : the one that every row follows here.
    asks : quantities that are shown for every row, besides those with a published number.
    rows, claims : see there.
    notes : what a reader must know.
    """

    name: str
    title: str
    source: str
    protocol: str
    rows: Annotated[tuple[Row, ...], Field(min_length=1)]
    asks: tuple[str, ...] = ("accuracy",)
    claims: tuple[Claim, ...] = ()
    notes: tuple[str, ...] = ()

    def row(self, name: str) -> Row:
        """The row of this name.

        Raises
        ------
        RecipeError : there is none.
        """
        names = {row.name: row for row in self.rows}
        if name not in names:
            raise RecipeError(f"table {self.name} has no row {name!r}.", nearest(name, names))
        return names[name]

    def quantities(self, row: Row) -> tuple[str, ...]:
        """What is shown of a row."""
        return tuple(dict.fromkeys([*self.asks, *row.theirs]))


def tables() -> list[str]:
    """Names of the tables that Eyebright brings."""
    return sorted(path.stem for path in TABLES.glob("*.yaml"))


def table(name: str | Path) -> PublishedTable:
    """The table of that name, or in that YAML file.

    Raises
    ------
    RecipeError : there is none, or it cannot be understood; names the field.
    """
    path = Path(name)
    if path.suffix not in {".yaml", ".yml"}:
        if str(name) not in tables():
            raise RecipeError(f"there is no table {str(name)!r}.", nearest(str(name), tables()))
        path = TABLES / f"{name}.yaml"
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RecipeError(f"{path} is not a table: {error}", "It must be YAML in UTF-8.") from error
    made = _validated(tree, path)
    for number, row in enumerate(made.rows):
        for each in made.quantities(row):
            quantity(each)
        if row.weights_of is not None and made.row(row.weights_of) not in made.rows[:number]:
            raise RecipeError(f"{path}: {row.name} takes its weights from a later row.", "Put that row before it.")
    for claim in made.claims:
        made.row(claim.better)
        made.row(claim.than)
    return made


def _validated(tree: Any, path: Path) -> PublishedTable:
    if not isinstance(tree, dict):
        raise RecipeError(f"{path} is not a table: it holds no fields.", f"Compare it with one in {TABLES}.")
    try:
        made = TypeAdapter(PublishedTable).validate_python({"name": path.stem} | tree)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise RecipeError(f"{path}: {field}: {first['msg']}.", f"Compare it with one in {TABLES}.") from None
    names = [row.name for row in made.rows]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise RecipeError(f"{path} has two rows called {twice[0]!r}.", "Give each a name of its own.")
    return made
