"""`Definition`: what a sweep was asked to do. It is kept in sweep.yaml, and by every study that machines share."""

from __future__ import annotations

import dataclasses
import logging
import re
import urllib.parse
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, final, get_args

import yaml

from eyebright.core.errors import RecipeError, SweepError, nearest
from eyebright.core.files import write_text
from eyebright.core.recipe import Recipe
from eyebright.data.image_set import Splits
from eyebright.sweeps import space as spaces
from eyebright.sweeps.space import Choice, Interval, Space

Search = Literal["grid", "tpe", "random", "cmaes"]
Pruner = Literal["none", "median", "asha", "hyperband"]
FILE = "sweep.yaml"
HIDDEN = "***"  # stands for a password
# As libpq, MySQL's drivers and ODBC name it.
_PASSWORD_OF_QUERY = re.compile(r"(?i)\b((?:ssl)?(?:password|passwd|pwd)=)[^&;]*")

# More trainings than anybody waits for; naming them all would fill the memory before it fills the time.
_MOST_COMBINATIONS = 10_000
# From here on a search finds about as good a point in a fraction of the time.
_MANY_COMBINATIONS = 100

_logger = logging.getLogger("eyebright")


@final
@dataclasses.dataclass(frozen=True)
class Definition:
    """What a sweep was asked to do.

    Attributes
    ----------
    recipe : of all trials, but for the fields that are swept.
    space : the fields that are swept.
    search : "grid" tries every point; the others propose some.
    trials : how many; None: until the time is over.
    pruner : what stops a trial that falls behind.
    study : the name of the study in its storage.
    storage : URL of the database that keeps the study, without a password; None: a file in the sweep's folder.
    """

    recipe: Recipe
    space: Space
    search: Search
    trials: int | None
    pruner: Pruner
    study: str
    storage: str | None = None

    @property
    def epochs(self) -> int:
        """Of the longest trial."""
        values = self.space.get("training.epochs")
        if values is None:
            return self.recipe.training.epochs
        return max(values.values) if isinstance(values, Choice) else int(values.high)

    @property
    def planned(self) -> list[dict[str, Any]]:
        """The points that are set from the beginning, as a study keeps them.

        All of a grid; of a search the recipe itself, where it lies in the space.
        """
        own = spaces.own_values(self.space, self.recipe)
        points = spaces.combinations(self.space) if self.search == "grid" else [own] if own else []
        return [{field: self.space[field].encoded(value) for field, value in point.items()} for point in points]

    def to_dict(self) -> dict[str, Any]:
        """As YAML and JSON hold it."""
        return {
            "study": self.study,
            "storage": self.storage,
            "search": self.search,
            "trials": self.trials,
            "pruner": self.pruner,
            "space": spaces.to_plain(self.space),
            "recipe": self.recipe.to_dict(),
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Definition:
        """The inverse of `to_dict`."""
        fields = {name: plain[name] for name in ("study", "storage", "search", "trials", "pruner")}
        return cls(recipe=Recipe.from_dict(plain["recipe"]), space=spaces.from_plain(plain["space"]), **fields)

    def refuse_other(self, other: Definition) -> None:
        """Refuse to work on a study that was begun with something else.

        The length may differ, and where each machine has its data sets.

        Raises
        ------
        SweepError : names what differs.
        """
        one, two = self._compared(), other._compared()
        different = [name for name in one if one[name] != two[name]]
        if different:
            raise SweepError(
                f"the study {self.study!r} was begun with another {' and another '.join(different)}.",
                "Give the same command on all machines, or another --study.",
            )

    def _compared(self) -> dict[str, Any]:
        plain = self.to_dict()
        choices = self.recipe.choices
        choices["data"].pop("root")
        return {name: plain[name] for name in ("search", "pruner", "space")} | {"recipe": choices}


def define(
    recipe: Recipe,
    fields: Space,
    *,
    search: str = "grid",
    trials: int | None = None,
    pruner: str | None = None,
    endless: bool = False,
) -> Definition:
    """Check what a sweep is asked to do, as far as that is possible without images.

    Parameters
    ----------
    recipe : of all trials.
    fields : the values of the swept fields; a field whose name is unique may stand without its group.
    search, trials, pruner : see `Definition`; default: no pruner for a grid, else the median.
    endless : whether something else than the number of trials ends a search.

    Raises
    ------
    RecipeError : a field or a value does not exist or does not fit.
    SweepError : the search and the space do not go together, or there is nothing to try.
    """
    _known(search, Search, "search")
    space = spaces.located(fields, recipe)
    if search == "grid":
        trials = _grid_size(space, recipe, trials)
    else:
        _check_search(search, space, trials, endless)
    if "seed" in space:
        _logger.warning("the seed is swept: to choose among seeds is to choose luck, which the test does not repeat.")
    chosen = pruner or ("none" if search == "grid" else "median")
    _known(chosen, Pruner, "pruner")
    return Definition(recipe, space, search, trials, chosen, study="")  # type: ignore[arg-type]  # both are checked


def refuse_without_validation(recipe: Recipe, splits: Splits) -> None:
    """Refuse to choose by nothing.

    Raises
    ------
    RecipeError : there is no validation image.
    """
    if not len(splits.validation):
        raise RecipeError(
            f"a sweep chooses by validation images, and {recipe.data.source} has none here.",
            f"Hold some out: {recipe.data.holding_out('validation')}",
        )


def without_password(url: str) -> str:
    """The URL of a database as files and messages may show it.

    Raises
    ------
    SweepError : it is none.
    """
    parts = urllib.parse.urlsplit(url)
    if not parts.scheme or "://" not in url:
        raise SweepError(
            f"{url!r} is not the URL of a database.", "Give one such as postgresql+psycopg://USER@HOST/DATABASE"
        )
    shown = url  # the parts joined again would lose the empty place of a file's URL
    if parts.password:
        user, _, place = parts.netloc.rpartition("@")
        shown = shown.replace(parts.netloc, f"{user.partition(':')[0]}:{HIDDEN}@{place}", 1)
    before, mark, query = shown.partition("?")
    return before + mark + _PASSWORD_OF_QUERY.sub(rf"\1{HIDDEN}", query)


def trial_folder(folder: Path, number: int) -> Path:
    """The folder of a trial's run, below that of its sweep."""
    return folder / "trials" / f"{number:04d}"


def read(folder: Path) -> tuple[Definition, dict[str, Any]]:
    """The definition in a sweep's folder, and its results; {} before there are any.

    Raises
    ------
    SweepError : the folder holds no sweep, or a damaged one.
    RecipeError : its recipe is damaged.
    """
    path = folder / FILE
    if not path.is_file():
        raise SweepError(f"{folder} is not a sweep: it holds no {FILE}.", "Name the folder that the sweep printed.")
    try:
        plain = yaml.safe_load(path.read_text(encoding="utf-8"))
        return Definition.from_dict(plain), plain.get("results") or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError, AttributeError, KeyError, TypeError) as error:
        raise SweepError(f"{path} is damaged: {error!r}.", "Begin a new sweep.") from error


def write(folder: Path, definition: Definition, results: Mapping[str, Any] | None = None) -> None:
    """Keep both, atomically."""
    plain = definition.to_dict() | ({"results": dict(results)} if results else {})
    write_text(folder / FILE, yaml.safe_dump(plain, sort_keys=False, allow_unicode=True))


def _grid_size(space: Space, recipe: Recipe, trials: int | None) -> int:
    count = spaces.size(space)
    if trials is not None:
        raise SweepError(
            f"a grid tries all of its {count:,} combinations, not {trials}.",
            f"Leave --trials away, or search: --search tpe --trials {trials}",
        )
    if count > _MOST_COMBINATIONS:
        raise SweepError(f"{count:,} combinations are too many.", "Search the same space: --search tpe --trials 50")
    if count > _MANY_COMBINATIONS:
        _logger.warning("%s combinations; --search tpe --trials 50 would try 50 of them.", f"{count:,}")
    for point in spaces.combinations(space):
        recipe.replace(**point)  # some fields exist for some models only: better said now than after the first trial
    return count


def _check_search(search: str, space: Space, trials: int | None, endless: bool) -> None:
    if trials is None and not endless:
        raise SweepError(f"a search by {search} has no end of its own.", "Say how long: --trials 50 or --minutes 60")
    if trials is not None and trials < 1:
        raise SweepError(f"{trials} trials find nothing.", "Ask for one at least.")
    intervals = [field for field, values in space.items() if isinstance(values, Interval)]
    if search == "cmaes" and len(intervals) < 2:
        raise SweepError(
            "cmaes learns how numbers go together, so it needs two intervals at least.",
            "Write FIELD=interval(LOW,HIGH) for two fields, or take --search tpe",
        )


def _known(name: str, valid: Any, what: str) -> None:
    if name not in get_args(valid):
        raise SweepError(f"there is no {what} called {name!r}.", nearest(name, get_args(valid)))
