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

from eyebright.cli.cluster import On, Workers, cluster
from eyebright.cli.images import given, images_of
from eyebright.cli.terminal import Bar, complain, output, remarks, show_log
from eyebright.cli.train import write_report
from eyebright.core.errors import ClusterError, EyebrightError, RunError

if TYPE_CHECKING:
    from eyebright.evaluation.answer import Answer
    from eyebright.exporting.bulk import Summary
    from eyebright.exporting.bundle import Bundle
    from eyebright.training.run import Run


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
    from eyebright.training.fit import judge
    from eyebright.training.run import Run

    show_log()
    opened = Run.open(run, trust=trust)
    scores = judge(opened, images_of(opened, given(source=data, root=data_root)))
    if as_json:
        sys.stdout.write(json.dumps({split: score.to_dict() for split, score in scores.items()}, indent=2) + "\n")
        return
    for split, score in scores.items():
        output().print(f"{split}\n{score}\n")


def predict(
    run: Annotated[Path, typer.Argument(metavar="RUN|BUNDLE")],
    images: Annotated[list[str], typer.Argument(metavar="IMAGE|FOLDER...")],
    top: Annotated[int, typer.Option(min=1, help="Classes to give for each image.")] = 3,
    out: Annotated[
        Path | None, typer.Option(help="Table to write (.parquet, .csv, .jsonl), of any number of images.")
    ] = None,
    form: Annotated[Format, typer.Option("--format", help="How to print.")] = Format.table,
    on_bad_image: Annotated[
        OnBad | None,
        typer.Option(help="Stop at a file that is no image, or go on; default: error, with --on skip."),
    ] = None,
    trust: Annotated[bool, typer.Option("--trust", help="Run the code that a custom model names.")] = False,
    on: On = None,
    workers: Workers = None,
) -> None:
    """Classify image files, and folders of them.

    \b
    eyebright predict runs/digits/cnn/20260101-120000-1a2b photo.jpg holiday/ --top 3
    eyebright predict RUN holiday/ --format csv > answers.csv
    eyebright predict model.onnx photos/ --out answers.parquet --on-bad-image skip
    eyebright predict model.onnx /shared/photos --out /shared/answers --on ray://cluster:10001
    """
    from eyebright.exporting.bundle import is_bundle, open_bundle

    if on is not None or workers is not None:
        _predict_on_cluster(run, images, out, top, on_bad_image or OnBad.skip, on, workers)
        return
    on_bad_image = on_bad_image or OnBad.error
    if is_bundle(run):  # no torch then: the answer is there at once
        from eyebright.exporting.bulk import answer_files

        bundle = open_bundle(run)
        if out is not None:
            _write_answers(bundle, images, out, top, on_bad_image)
            return
        _PRINTERS[form](answer_files(bundle, images, top=top, on_bad_image=on_bad_image.value))
        return
    if out is not None:
        raise _no_bundle(run, "--out")
    from eyebright.evaluation.classify import classify
    from eyebright.training.run import Run

    answers = classify(Run.open(run, trust=trust).model, images, top=top, on_bad_image=on_bad_image.value)
    _PRINTERS[form](answers)


def _write_answers(bundle: Bundle, images: list[str], out: Path, top: int, on_bad_image: OnBad) -> None:
    from eyebright.exporting.bulk import predict_files

    with Bar() as bar:
        found = predict_files(bundle, images, out, top=top, on_bad_image=on_bad_image.value, progress=bar)
    _say(found, out)


def _predict_on_cluster(
    bundle: Path,
    images: list[str],
    out: Path | None,
    top: int,
    on_bad_image: OnBad,
    on: str | None,
    workers: int | None,
) -> None:
    from eyebright.cluster.prediction import predict_files
    from eyebright.exporting.bundle import is_bundle

    if not is_bundle(bundle):
        raise _no_bundle(bundle, "--on")
    if out is None:
        raise ClusterError("a cluster writes its answers into a folder.", "Name it with --out.")
    with cluster(on), Bar() as bar:
        found = predict_files(
            bundle, images, out, top=top, on_bad_image=on_bad_image.value, workers=workers, progress=bar
        )
    _say(found, out)


def _no_bundle(path: Path, option: str) -> RunError:
    return RunError(
        f"{option} is for bundles, and {path} is none.", f"Make one: eyebright export {path} model.onnx. Then use that."
    )


def _say(found: Summary, out: Path) -> None:
    for problem in found.problems:
        remarks().print(f"skipped {problem}", soft_wrap=True)
    if found.unreadable > len(found.problems):
        remarks().print(f"... and {found.unreadable - len(found.problems):,} more: see the column problem")
    resumed = f", {found.resumed:,} of them by an earlier call" if found.resumed else ""
    output().print(f"answers: {out} ({found.images:,} images{resumed}; {found.unreadable:,} skipped)", soft_wrap=True)


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN [RUN]", help="A run, or two to compare: baseline first.")],
    out: Annotated[Path | None, typer.Option(help="File to write; default: in the folder of the last run.")] = None,
    data: Annotated[str | None, typer.Option(help="Where the images are now, if they were moved.")] = None,
    data_root: Annotated[str | None, typer.Option(help="Folder of the known data sets.")] = None,
    trust: Annotated[bool, typer.Option("--trust", help="Run the code that a custom model names.")] = False,
    images: Annotated[bool, typer.Option(help="Show the images, and what only they and the model can tell.")] = True,
) -> None:
    """Write a page that shows why a model is wrong: its mistakes, what it looked at, what it mistakes them for.

    With two runs the page puts them side by side. It is one file that needs no network. What cannot be had, such as
    images that are gone, is named on the page.

    \b
    eyebright report runs/digits/cnn/20260101-120000-1a2b
    eyebright report runs/cifar10/simple_cnn/20260101-120000-1a2b runs/cifar10/regularized_cnn/20260101-130000-3c4d
    """
    from eyebright.training.run import Run

    show_log()
    if len(runs) > 2:
        raise RunError(f"a page compares two runs and not {len(runs)}.", "Name the baseline and one other run.")
    changes = given(source=data, root=data_root)
    opened = [Run.open(path, trust=trust) for path in runs]
    if len(opened) == 2:
        _report_on_two(opened[0], opened[1], changes, images, out)
    else:
        _report_on_one(opened[0], changes, images, out)


def _report_on_one(run: Run, changes: dict[str, str], images: bool, out: Path | None) -> None:
    from eyebright.insight.findings import Findings, findings
    from eyebright.insight.parts import Missing

    found = None
    if images:
        with Bar() as bar:
            try:
                found = findings(run, images_of(run, changes, bar), progress=bar)
            except EyebrightError as error:  # the numbers are worth a page; it says what is not there, and why
                complain(error)
                found = Findings(missing=(Missing.of("the images", error),))
    write_report(run, found, out)


def _report_on_two(first: Run, second: Run, changes: dict[str, str], images: bool, out: Path | None) -> None:
    from eyebright.insight.parts import Missing
    from eyebright.reporting.side_by_side import side_by_side

    made = None
    missing: tuple[Missing, ...] = ()
    if images:
        try:
            made = side_by_side(first, second, images_of(first, changes))
        except EyebrightError as error:
            missing = (Missing.of("the images", error),)
    # What is wrong with the runs themselves is met again here, and ends the command.
    made = made or side_by_side(first, second, missing=missing)
    path = made.write(out or second.path / "side_by_side.html")
    output().print(f"report: {path}", soft_wrap=True)


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
