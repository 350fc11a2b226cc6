"""Write docs/reference.md from the code itself: `python docs/write_reference.py`. A test keeps the two together."""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

import eyebright as eb
from eyebright.cli.main import app
from eyebright.core.recipe import GROUPS, Recipe, descriptions, options

PAGE = Path(__file__).with_name("reference.md")

_WIDTH = 110  # characters of the text of a command's help
_HEAD = """# Reference

Made from the code by `python docs/write_reference.py`: the recipes and their fields, the commands, the Python names.

- [Recipes](#recipes), [fields of a recipe](#fields-of-a-recipe)
- [Commands](#commands)
- [Python](#python)
"""

# What the names in annotations stand for, in words.
_WORDS = {
    "Edge": "integer from 1 to 4096",
    "Body": "text or settings of a network",
    "JsonValue": "anything",
    "Any": "anything",
    "None": "null",
    "bool": "true or false",
    "str": "text",
    "PositiveFraction": "number above 0, up to 1",
    "PositiveFloat": "number above 0",
    "Positive": "integer above 0",
    "NotNegativeFloat": "number, 0 or more",
    "NotNegative": "integer, 0 or more",
    "OpenFraction": "number from 0 to below 1",
    "Fraction": "number from 0 to 1",
}


def reference() -> str:
    """The whole page."""
    parts = [_HEAD, *_recipes(), *_fields(), *_commands(), *_python()]
    return "\n".join(parts).rstrip() + "\n"


def _recipes() -> Iterator[str]:
    yield "## Recipes\n\n`eyebright train NAME`, or `eyebright recipes NAME` to see all of its fields.\n"
    yield "| name | what it is |\n|---|---|"
    for name, description in descriptions().items():
        yield f"| `{name}` | {description} |"
    yield ""


def _fields() -> Iterator[str]:
    yield (
        "## Fields of a recipe\n\nSet one by `GROUP.FIELD=VALUE`, or by `FIELD=VALUE` where the name is unique; take "
        "another entry of a group\nby `GROUP=ENTRY`. `null` is nothing.\n"
    )
    hints = typing.get_type_hints(Recipe)
    for group in GROUPS:
        yield f"### {group}\n\nEntries: {', '.join(f'`{name}`' for name in options(group))}.\n"
        for settings in _settings(hints[group]):
            yield from _table(group, settings)


def _settings(hint: object) -> tuple[type, ...]:
    """The settings classes among which an annotation chooses."""
    return typing.get_args(hint) or (typing.cast(type, hint),)


def _table(group: str, settings: type) -> Iterator[str]:
    """The fields of one class of settings."""
    summary, meanings = _described(settings)
    fields = {field.name: field for field in dataclasses.fields(settings)}
    if fields.pop("name", None):
        chosen = typing.get_args(typing.get_type_hints(settings)["name"])
        yield f"**{', '.join(f'`{group}.name={name}`' for name in chosen)}.** {summary}\n"
    else:
        yield f"{summary}\n"
    if fields:
        yield "| field | default | values | meaning |\n|---|---|---|---|"
        for field in fields.values():
            cells = (f"`{field.name}`", _default(field), _values(settings, field), meanings.get(field.name, ""))
            yield f"| {' | '.join(cell.replace('|', ', ') for cell in cells)} |"
        yield ""


def _described(settings: type) -> tuple[str, dict[str, str]]:
    """The first paragraph of a docstring, and what it says of each attribute."""
    text = inspect.getdoc(settings) or ""
    summary, _, rest = text.partition("\n\nAttributes\n----------\n")
    meanings: dict[str, str] = {}
    for names, meaning in re.findall(r"^(\w[\w, ]*) : (.*(?:\n[ ]+.*)*)", rest, re.MULTILINE):
        for name in names.split(", "):
            meanings[name] = " ".join(meaning.split())
    return " ".join(summary.split()), meanings


def _default(field: dataclasses.Field[object]) -> str:
    if field.default_factory is not dataclasses.MISSING:
        value: object = field.default_factory()
    elif field.default is dataclasses.MISSING:
        return "required"
    else:
        value = field.default
    if hasattr(value, "default"):  # pydantic's own description of a field
        factory = getattr(value, "default_factory", None)
        value = factory() if factory else value.default
    plain = list(value) if isinstance(value, tuple) else value
    return "`null`" if plain is None else f"`{str(plain).lower() if isinstance(plain, bool) else plain}`"


def _values(settings: type, field: dataclasses.Field[object]) -> str:
    """The annotation, as one reads it."""
    text = str(field.type)
    for name in re.findall(r"\w+", text):
        named = vars(sys.modules[settings.__module__]).get(name)
        if typing.get_origin(named) is typing.Literal:
            text = re.sub(rf"\b{name}\b", " or ".join(map(str, typing.get_args(named))), text)
    text = re.sub(r"Annotated\[int, Field\(ge=(\d+)\)\]", r"integer, \1 or more", text)
    text = re.sub(r"Annotated\[(.+), (?:Field|BeforeValidator)\(.*\)\]", r"\1", text)
    text = re.sub(r"Literal\[([^\]]+)\]", lambda found: re.sub(r"[\"']", "", found[1]).replace(", ", " or "), text)
    for name, words in _WORDS.items():
        text = re.sub(rf"\b{name}\b", words, text)
    text = text.replace("tuple[", "list[").replace(", ...]", "]").replace("dict[text, ", "mapping of text to [")
    return text.replace(" | ", " or ")


def _commands() -> Iterator[str]:
    yield "## Commands\n"
    for name, command in _each(typer.main.get_command(app), "eyebright"):
        context = command.context_class(command, info_name=name, terminal_width=_WIDTH, max_content_width=_WIDTH)
        yield f"### {name}\n\n```text\n{command.get_help(context)}\n```\n"


def _each(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Commands by name; typer has a copy of click of its own, whose types are private."""
    parts: dict[str, Any] | None = getattr(command, "commands", None)
    if parts is None:
        yield name, command
        return
    for part, each in parts.items():
        yield from _each(each, f"{name} {part}")


def _python() -> Iterator[str]:
    yield "## Python\n\n`import eyebright as eb`; every name is resolved on first use.\n"
    for name in eb.__all__:
        value = getattr(eb, name)
        if not callable(value):
            continue
        yield f"### eb.{name}\n\n```text\n{_signature(name, value)}\n\n{inspect.getdoc(value)}\n```\n"


def _signature(name: str, value: object) -> str:
    """As it is called; of what nobody makes by hand, the name alone."""
    if inspect.isclass(value):
        return f"class {name}"
    return f"{name}{inspect.signature(typing.cast(typing.Callable[..., object], value))}"


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
