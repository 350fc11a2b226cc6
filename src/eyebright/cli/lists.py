"""`eyebright runs`, `models` and `recipes`: what there is."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eyebright.cli.terminal import complain, output, remarks
from eyebright.core.errors import EyebrightError, ModelError

if TYPE_CHECKING:
    from rich.table import Table

    from eyebright.training.run import Run


def recipes(
    name: Annotated[str | None, typer.Argument(metavar="[RECIPE]", help="Print this one, composed.")] = None,
) -> None:
    """List the recipes, or print one as YAML.

    \b
    eyebright recipes
    eyebright recipes cifar10/ladder_cnn > mine.yaml
    """
    from eyebright.core.recipe import descriptions, recipe

    if name:
        output().print(recipe(name).to_yaml(), end="", soft_wrap=True)
        return
    listing = table("recipe", "what it is")
    for each, description in descriptions().items():
        listing.add_row(each, description)
    output().print(listing)


def runs(
    folder: Annotated[Path, typer.Argument(help="Where to look.")] = Path("runs"),
) -> None:
    """List the runs below a folder, oldest first.

    \b
    eyebright runs
    """
    from eyebright.training.run import runs as find

    listing = table("run", "status", "epochs", "validation accuracy", "test accuracy")
    found = find(folder)
    problems = []
    for run in found:
        try:
            listing.add_row(str(run.path), *_summary(run))
        except EyebrightError as error:  # one damaged run does not hide the others
            listing.add_row(str(run.path), "damaged")
            problems.append(error)
    if found:
        output().print(listing)
        for problem in problems:
            complain(problem)
    else:
        remarks().print(f"no runs below {folder}. Begin one with: eyebright train digits/cnn", soft_wrap=True)


def _summary(run: Run) -> tuple[str, ...]:
    """Status, epochs, best validation accuracy, test accuracy."""
    from eyebright.evaluation.intervals import proportion
    from eyebright.reporting.report import best_epoch

    history, test = run.history, run.scores.get("test")
    best = best_epoch(history, run.recipe.training.monitor)
    n = run.data["validation"]["n"]
    validation = None if best is None else proportion(round(history[best]["validation_accuracy"] * n), n)
    return (
        run.status,
        f"{len(history)}/{run.recipe.training.epochs}",
        "" if validation is None else str(validation),
        "" if test is None else str(test.accuracy),
    )


def models(
    size: Annotated[int, typer.Option(min=1, help="Edge of the images, in pixels.")] = 32,
    grey: Annotated[bool, typer.Option("--grey", help="One channel instead of RGB.")] = False,
    classes: Annotated[int, typer.Option(min=2, help="Number of classes.")] = 10,
    measure: Annotated[bool, typer.Option(help="Measure the speed on this machine.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the models with parameters, multiply-adds and measured speed.

    \b
    eyebright models
    eyebright models --size 96 --no-measure
    """
    from eyebright.core import device
    from eyebright.core.input_spec import InputSpec
    from eyebright.core.settings.model import CustomSettings, PretrainedSettings
    from eyebright.models.profile import profile, throughput
    from eyebright.models.registry import build, example_settings

    channels = 1 if grey else 3
    spec = InputSpec(size, size, channels, (0.5,) * channels, (0.25,) * channels, tuple(map(str, range(classes))))
    plan = device.choose()
    rows: list[dict[str, Any]] = []
    for settings in example_settings():
        if isinstance(settings, CustomSettings | PretrainedSettings):
            continue  # what they cost is the user's choice
        try:
            model = build(settings, spec)
        except ModelError as error:  # images too small for this one; the others may fit
            complain(error)
            continue
        row = dataclasses.asdict(profile(model))
        if measure:
            speed = throughput(model, plan)
            row |= {"training_images_per_second": speed.training, "inference_images_per_second": speed.inference}
        rows.append(row)
    if as_json:
        sys.stdout.write(json.dumps(rows, indent=2) + "\n")
        return
    listing = table("model", "parameters", "multiply-adds", *(["training images/s", "inference images/s"] * measure))
    for column in listing.columns[1:]:
        column.justify = "right"
    for row in rows:
        numbers = [value for name, value in row.items() if name not in {"name", "trainable"}]
        listing.add_row(row["name"], *(f"{number:,.0f}" for number in numbers))
    output().print(listing)
    remarks().print(f"images {size}x{size}x{channels}, {classes} classes, batches of 128; {plan}", soft_wrap=True)


def table(*columns: str) -> Table:
    """A table with these headings, the one look of all lists."""
    from rich import box
    from rich.table import Table

    first, *others = columns
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    made.add_column(first, overflow="fold")  # names are for copying: never shortened
    for other in others:
        made.add_column(other)
    return made
