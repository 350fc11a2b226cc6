"""`eyebright evaluate`, `predict` and `report`: what a finished run is good for."""

from __future__ import annotations

import csv
import dataclasses
import enum
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eyebright.cli.terminal import Bar, output, remarks, show_log
from eyebright.cli.train import write_report

if TYPE_CHECKING:
    from eyebright.evaluation.classify import Answer


class Format(enum.StrEnum):
    """How `predict` prints."""

    table = "table"
    json = "json"
    csv = "csv"


class OnBad(enum.StrEnum):
    """What `predict` does with a file that is no image."""

    error = "error"
    skip = "skip"


def evaluate(
    run: Annotated[Path, typer.Argument(metavar="RUN")],
    data: Annotated[str | None, typer.Option(help="Where the images are now, if they were moved.")] = None,
    data_root: Annotated[str | None, typer.Option(help="Folder of the known data sets.")] = None,
    trust: Annotated[bool, typer.Option("--trust", help="Run the code that a custom model names.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Judge a run's best model anew on its training, validation and test images.

    \b
    eyebright evaluate runs/digits/cnn/20260101-120000-1a2b
    """
    from eyebright.data.load import load
    from eyebright.training.fit import judge
    from eyebright.training.run import Run

    show_log()
    opened = Run.open(run, trust=trust)
    place = {"data.source": data, "data.root": data_root}
    changes = {name: value for name, value in place.items() if value is not None}
    with Bar() as bar:
        splits = load(opened.recipe.replace(**changes).data, progress=bar)
    scores = judge(opened, splits)
    if as_json:
        sys.stdout.write(json.dumps({split: score.to_dict() for split, score in scores.items()}, indent=2) + "\n")
        return
    for split, score in scores.items():
        output().print(f"{split}\n{score}\n")


def predict(
    run: Annotated[Path, typer.Argument(metavar="RUN")],
    images: Annotated[list[str], typer.Argument(metavar="IMAGE|FOLDER...")],
    top: Annotated[int, typer.Option(min=1, help="Classes to print for each image.")] = 3,
    form: Annotated[Format, typer.Option("--format", help="How to print.")] = Format.table,
    on_bad_image: Annotated[OnBad, typer.Option(help="Stop at a file that is no image, or go on.")] = OnBad.error,
    trust: Annotated[bool, typer.Option("--trust", help="Run the code that a custom model names.")] = False,
) -> None:
    """Classify image files, and folders of them.

    \b
    eyebright predict runs/digits/cnn/20260101-120000-1a2b photo.jpg holiday/ --top 3
    eyebright predict RUN holiday/ --format csv > answers.csv
    """
    from eyebright.evaluation.classify import classify
    from eyebright.training.run import Run

    answers = classify(Run.open(run, trust=trust).model, images, top=top, on_bad_image=on_bad_image.value)
    _PRINTERS[form](answers)


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN")],
) -> None:
    """Write the report of a run again, from what it kept.

    \b
    eyebright report runs/digits/cnn/20260101-120000-1a2b
    """
    from eyebright.training.run import Run

    write_report(Run.open(run))


def _print_table(answers: Iterable[Answer]) -> None:
    from rich.markup import escape

    for answer in answers:
        if answer.problem:
            remarks().print(f"[red]skipped[/] {escape(answer.problem)}", markup=True, soft_wrap=True)
            continue
        pairs = zip(answer.classes, answer.probabilities, strict=True)
        guesses = "  ".join(f"{name} {probability:6.1%}" for name, probability in pairs)
        output().print(f"{answer.name}  {guesses}", soft_wrap=True)


def _print_json(answers: Iterable[Answer]) -> None:
    for answer in answers:  # a line an image: a million of them can be read as they come
        sys.stdout.write(json.dumps(dataclasses.asdict(answer), ensure_ascii=False) + "\n")


def _print_csv(answers: Iterable[Answer]) -> None:
    writer = csv.writer(sys.stdout)
    writer.writerow(["name", "rank", "class", "probability", "problem"])
    for answer in answers:
        if answer.problem:
            writer.writerow([answer.name, "", "", "", answer.problem])
        for rank, (name, probability) in enumerate(zip(answer.classes, answer.probabilities, strict=True), start=1):
            writer.writerow([answer.name, rank, name, f"{probability:.6f}", ""])


_PRINTERS = {Format.table: _print_table, Format.json: _print_json, Format.csv: _print_csv}
