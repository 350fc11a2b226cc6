"""`Recipe`: every choice of an experiment, composed by Hydra from YAML, validated once, frozen.

A recipe file names one entry of each group (`data`, `model`, `augment`, `optimizer`, `schedule`,
`training`, `tracking`) and overrides fields of them. The command line and Python may override again:
`model=mlp` swaps an entry, `optimizer.lr=3e-4` sets a field, and a field whose name is unique may be
given without its group (`epochs=5`).
"""

from __future__ import annotations

import dataclasses
import functools
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, TypeAdapter, ValidationError

from eyebright.core.errors import RecipeError, nearest
from eyebright.core.settings.augment import AugmentSettings
from eyebright.core.settings.data import DataSettings
from eyebright.core.settings.fields import NotNegative, settings
from eyebright.core.settings.model import ModelSettings
from eyebright.core.settings.optimizer import AdamSettings, OptimizerSettings
from eyebright.core.settings.schedule import ConstantSettings, ScheduleSettings
from eyebright.core.settings.tracking import NoTrackingSettings, TrackingSettings
from eyebright.core.settings.training import TrainingSettings

# Inside the package, so that an installed Eyebright has them too.
RECIPES = Path(__file__).resolve().parents[1] / "recipes"
GROUPS = ("data", "model", "augment", "optimizer", "schedule", "training", "tracking")


@settings
class Recipe:
    """Every choice of an experiment.

    Attributes
    ----------
    name : what it is called in the list of runs.
    description : one sentence.
    data, model, augment, optimizer, schedule, training : the choices, a group each.
    tracking : where the training is copied to; no choice of the experiment, for it changes nothing of its result.
    seed : of initial weights, batches, augmentation and dropout.
    """

    data: DataSettings
    model: ModelSettings
    augment: AugmentSettings = AugmentSettings()
    optimizer: OptimizerSettings = AdamSettings()
    schedule: ScheduleSettings = ConstantSettings()
    training: TrainingSettings = TrainingSettings()
    tracking: TrackingSettings = NoTrackingSettings()
    seed: NotNegative = 0
    name: Annotated[str, Field(pattern=r"^\w[\w. -]*(/\w[\w. -]*)*$")] = "unnamed"  # it becomes a folder below runs/
    description: str = ""

    def __repr__(self) -> str:
        return self.to_yaml()

    def to_dict(self) -> dict[str, Any]:
        """Nested dictionaries and lists that YAML and JSON can hold; `from_dict` is the inverse."""
        plain: dict[str, Any] = _plain(dataclasses.asdict(self))
        first = {key: plain.pop(key) for key in ("name", "description", "seed")}
        return first | plain

    @property
    def choices(self) -> dict[str, Any]:
        """What the result depends on, as `to_dict` gives it: without name, description and tracking."""
        return {key: value for key, value in self.to_dict().items() if key not in {"name", "description", "tracking"}}

    def to_yaml(self) -> str:
        """The whole recipe as YAML, ready to be run."""
        return yaml.safe_dump(self.to_dict(), sort_keys=False, allow_unicode=True)

    @classmethod
    def from_dict(cls, tree: Mapping[str, Any]) -> Recipe:
        """Validate nested dictionaries.

        Raises
        ------
        RecipeError : names the field, what is wrong with it, and the nearest valid one.
        """
        try:
            return TypeAdapter(cls).validate_python(dict(tree))
        except ValidationError as error:
            raise _explain(error, tree) from None

    def replace(self, **changes: Any) -> Recipe:
        """A copy with some fields or entries changed, as on the command line: `replace(epochs=5, model="mlp")`."""
        tree = self.to_dict()
        _change(tree, changes)
        return self.from_dict(tree)


def recipe(name: str | Path, overrides: Sequence[str] = (), /, **changes: Any) -> Recipe:
    """Compose a recipe.

    Parameters
    ----------
    name : a built-in recipe (`cifar10/regularized_cnn`) or the path of a YAML file.
    overrides : as on the command line, `["optimizer.lr=3e-4", "model=mlp"]`, in Hydra's grammar.
    changes : the same in Python, `epochs=10` or `**{"optimizer.lr": 3e-4}`.

    Raises
    ------
    RecipeError : the recipe, a field or a value does not exist or does not fit.
    """
    tree = _compose(str(name))
    _change(tree, _parse(overrides) | changes)
    return Recipe.from_dict(tree)


def locate(recipe: Recipe, name: str) -> str:
    """The full name of a field that may be given without its group: "epochs" is "training.epochs".

    Raises
    ------
    RecipeError : no field has that name, or several have.
    """
    return ".".join(_locate(name, recipe.to_dict()))


def _change(tree: dict[str, Any], given: Mapping[str, Any]) -> None:
    """Swap entries of groups, then set fields, in place."""
    choices = {key: value for key, value in given.items() if key in GROUPS and isinstance(value, str)}
    for group, choice in choices.items():
        if choice not in options(group):
            raise RecipeError(f"there is no {group} called {choice!r}.", nearest(choice, options(group)))
    for group, choice in choices.items():  # the whole entry: what the recipe had set fitted the old one
        tree[group] = _read_yaml(RECIPES / group / f"{choice}.yaml")
    _apply(tree, {key: value for key, value in given.items() if key not in choices})


def recipes() -> list[str]:
    """Names of the built-in recipes."""
    files = (path.relative_to(RECIPES) for path in RECIPES.glob("*/*.yaml"))
    return sorted(path.with_suffix("").as_posix() for path in files if path.parts[0] not in GROUPS)


def descriptions() -> dict[str, str]:
    """What each built-in recipe is, without composing it."""
    return {name: str(_read_yaml(RECIPES / f"{name}.yaml").get("description", "")) for name in recipes()}


def options(group: str) -> list[str]:
    """Names of the entries of a group, such as "optimizer"."""
    return sorted(path.stem for path in (RECIPES / group).glob("*.yaml"))


def _compose(name: str) -> dict[str, Any]:
    """The nested dictionaries of a recipe file."""
    path = Path(name)
    written = path.suffix in {".yaml", ".yml"}
    if written and not path.is_file():
        raise RecipeError(f"there is no recipe file {name}.", "Check the path, or see: eyebright recipes")
    if not written and name not in recipes():
        raise RecipeError(f"there is no recipe {name!r}.", nearest(name, recipes()))
    if written:
        tree = _read_yaml(path)
        if "defaults" not in tree:  # already composed, such as recipe.yaml of a run
            return tree
        return _compose_with_hydra(path.resolve().parent, path.stem)
    return _compose_with_hydra(RECIPES, name)


def _compose_with_hydra(folder: Path, config: str) -> dict[str, Any]:
    # Hydra takes a fifth of a second to import, so only composing pays for it.
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    ours = f"file://{RECIPES}".replace("\\", "\\\\").replace("'", "\\'")  # quoted: a path may hold commas and brackets
    search = [] if folder == RECIPES else [f"hydra.searchpath=['{ours}']"]
    outer = GlobalHydra.instance().hydra  # a caller may itself run under Hydra
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(folder), version_base="1.3"):
            composed = OmegaConf.to_container(compose(config, overrides=search), resolve=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise RecipeError(f"recipe {config!r} does not compose: {error}", "Compare it with a built-in one.") from error
    finally:
        GlobalHydra.instance().hydra = outer
    return typing.cast("dict[str, Any]", composed)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RecipeError(f"{path} is not a recipe: {error}", "It must be YAML in UTF-8.") from error
    if not isinstance(tree, dict):
        raise RecipeError(f"{path} is not a recipe: it holds no fields.", "See one with: eyebright recipes NAME")
    return tree


def _parse(overrides: Iterable[str]) -> dict[str, Any]:
    """`key=value` strings in Hydra's grammar as a dictionary of Python values."""
    overrides = list(overrides)
    if not overrides:
        return {}
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    parser = OverridesParser.create()
    parsed: dict[str, Any] = {}
    for text in overrides:
        try:
            override = parser.parse_override(text)
        except HydraException as error:
            reason = str(error).splitlines()[0]
            raise RecipeError(f"cannot read the override {text!r}: {reason}", "Write FIELD=VALUE.") from None
        if override.is_sweep_override():
            raise RecipeError(
                f"{text!r} gives several values, but one run takes one.", "Quote a text that holds a comma: 'a,b'"
            )
        if override.is_delete():
            raise RecipeError(f"{text!r}: a field cannot be deleted.", "Set it to null where that is allowed.")
        parsed[override.key_or_group] = override.value()
    return parsed


def _apply(tree: dict[str, Any], changes: Mapping[str, Any]) -> None:
    """Set fields of the nested dictionaries in place; a unique bare name finds its group."""
    for name, value in changes.items():
        *parents, leaf = _locate(name, tree)
        node = tree
        for depth, parent in enumerate(parents, start=1):
            node = node.setdefault(parent, {})
            if not isinstance(node, dict):
                field = ".".join(parents[:depth])
                raise RecipeError(f"{name!r} goes through {field!r}, which is a plain value.", f"Write {field}=...")
        node[leaf] = value


def _locate(name: str, tree: Mapping[str, Any]) -> list[str]:
    """The path of a field given with or without its group."""
    if "." in name or name in _fields(Recipe):
        return name.split(".")
    homes = [group for group in GROUPS if name in _fields(_group_class(group, tree)) and name != "name"]
    if len(homes) == 1:
        return [homes[0], name]
    if homes:
        raise RecipeError(f"{name!r} is a field of {' and '.join(homes)}.", f"Write {homes[0]}.{name}=...")
    every = {field for group in GROUPS for field in _fields(_group_class(group, tree))} | set(_fields(Recipe))
    raise RecipeError(f"no field is called {name!r}.", nearest(name, every))


def _fields(settings_class: type[Any]) -> list[str]:
    return [field.name for field in dataclasses.fields(settings_class)]


@functools.cache
def _alternatives(group: str) -> dict[str, type[Any]]:
    """The settings classes of a group by the `name` that selects them ("" where there is no choice)."""
    hint = typing.get_type_hints(Recipe)[group]
    found: dict[str, type[Any]] = {}
    for member in typing.get_args(hint) or (hint,):
        name_hint = typing.get_type_hints(member).get("name")
        found |= dict.fromkeys(typing.get_args(name_hint) if name_hint else ("",), member)
    return found


def _group_class(group: str, tree: Mapping[str, Any]) -> type[Any]:
    """The settings class that `tree` has chosen for `group`."""
    alternatives = _alternatives(group)
    value = tree.get(group)
    chosen = value.get("name") if isinstance(value, Mapping) else None
    return alternatives.get(str(chosen)) or next(iter(alternatives.values()))


def _explain(error: ValidationError, tree: Mapping[str, Any]) -> RecipeError:
    """The first of pydantic's complaints, in the user's terms."""
    first = error.errors()[0]
    steps = _written(first["loc"], tree, missing=first["type"] == "missing")
    field = ".".join(steps)
    group = steps[0]
    if first["type"] in {"unexpected_keyword_argument", "extra_forbidden"}:
        inner = _fields(_group_class(group, tree)) if len(steps) == 2 else []
        known = _fields(Recipe) if len(steps) == 1 else inner
        return RecipeError(f"there is no field {field!r}.", nearest(steps[-1], known))
    if first["type"] in {"union_tag_invalid", "union_tag_not_found"} and len(steps) == 1:
        valid = [name for name in _alternatives(group) if name]
        value = tree.get(group)
        name = value.get("name") if isinstance(value, Mapping) else value
        return RecipeError(f"there is no {group} called {name!r}.", nearest(str(name), valid))
    if first["type"] == "missing":
        return RecipeError(f"the field {field!r} has no value.", f"Give one: {field}=...")
    return RecipeError(f"{field}={first['input']!r} does not fit: {first['msg']}.", f"Give another value: {field}=...")


def _written(path: Sequence[str | int], tree: Mapping[str, Any], *, missing: bool) -> list[str]:
    """The steps of a path that the user wrote: unions put the name of the chosen alternative into it."""
    steps: list[str] = []
    node: Any = tree
    for number, step in enumerate(path, start=1):
        entry = isinstance(node, list | tuple) and isinstance(step, int)
        if entry or (isinstance(node, Mapping) and step in node):
            node = node[step]
        elif not (missing and number == len(path)):
            continue
        steps.append(str(step))
    return steps


def _plain(value: Any) -> Any:
    """Tuples to lists, at every depth: YAML has no tuples."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
