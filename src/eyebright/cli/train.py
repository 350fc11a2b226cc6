"""`eyebright train`: the main job, from a recipe or a folder of images to a run with a report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eyebright.cli.terminal import Bar, complain, output, remarks, show_log
from eyebright.core.errors import MissingExtraError, RecipeError

if TYPE_CHECKING:
    from eyebright.core.recipe import Recipe
    from eyebright.data.image_set import Splits
    from eyebright.evaluation.scores import Scores
    from eyebright.insight.findings import Findings
    from eyebright.training.measure.forecast import Forecast
    from eyebright.training.run import Run

# A confusion matrix of more classes is wider than a terminal; confusion_matrix.png and the report have it.
_SHOWN_CLASSES = 12
_SHOWN_LETTERS = 6


def train(
    what: Annotated[
        str | None, typer.Argument(metavar="[RECIPE|FOLDER|ZIP]", help="A recipe, or images to learn from.")
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[FIELD=VALUE]...", help="Fields of the recipe to change.")
    ] = None,
    resume: Annotated[Path | None, typer.Option(metavar="RUN", help="Continue this run exactly.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the run; default: runs/NAME/TIME.")] = None,
    data_root: Annotated[str | None, typer.Option(help="Folder of the known data sets.")] = None,
    data: Annotated[str | None, typer.Option(help="With --resume: where the images are now.")] = None,
    trust: Annotated[bool, typer.Option("--trust", help="Run the code that a resumed custom model names.")] = False,
    on_bad_image: Annotated[str | None, typer.Option(help="error (default) or skip.")] = None,
) -> None:
    """Train a model, judge it on the test images and write a report. Says how long it will take, then how long it took.

    \b
    eyebright train cifar10/regularized_cnn
    eyebright train cifar10/ladder_cnn epochs=5 optimizer.lr=3e-4
    eyebright train path/to/photos
    eyebright train --resume runs/cifar10/ladder_cnn/20260101-120000-1a2b
    """
    from eyebright.training.fit import fit, new_folder
    from eyebright.training.fit import resume as continue_run
    from eyebright.training.measure.forecast import Forecast
    from eyebright.training.progress import ProgressBar
    from eyebright.training.run import Run

    show_log()
    place = {"data.source": data, "data.root": data_root, "data.on_bad_image": on_bad_image}
    changes = {name: value for name, value in place.items() if value is not None}
    if data and not resume:
        raise RecipeError("--data is for a run that is resumed.", "Name the images instead: eyebright train FOLDER")
    if resume:
        if what or overrides or out:
            raise RecipeError("--resume continues a run as it was begun.", "Leave recipe, FIELD=VALUE and --out away.")
        run = Run.open(resume, trust=trust)
        chosen = run.recipe.replace(**changes)
    elif what:
        chosen = _choose(what, overrides or [], changes)
    else:
        raise RecipeError("nothing to train.", "Name a recipe or a folder of images; see: eyebright recipes")
    with Bar() as bar:
        from eyebright.data.load import load

        splits = load(chosen.data, progress=bar)
    folder = resume or out or new_folder(chosen)
    forecast = Forecast(splits, remarks())
    watchers = (ProgressBar(remarks()), forecast)
    try:
        if resume:
            run = continue_run(run, splits, callbacks=watchers)
        else:
            run = fit(chosen, splits, folder=folder, callbacks=watchers)
    except KeyboardInterrupt:
        if (folder / "run.json").is_file():  # else it had not begun
            remarks().print(f"stopped. Continue exactly with: eyebright train --resume {folder}", soft_wrap=True)
        raise
    _finish(run, splits, forecast)


def _choose(what: str, overrides: list[str], changes: dict[str, Any]) -> Recipe:
    """A recipe by name or file; for images, the recipe that suits them, saying which and why."""
    from eyebright.core.recipe import recipe, recipes

    images = Path(what)
    if images.is_dir() or images.suffix.lower() == ".zip":
        from eyebright.training.suggest import suggest

        suggestion = suggest(images)
        remarks().print(f"recipe {suggestion.recipe}: {suggestion.reason}", soft_wrap=True)
        return recipe(suggestion.recipe, overrides, **{"data.source": str(images.resolve())}, **changes)
    path_like = images.exists() or what.endswith("/") or what.startswith((".", "/", "~"))
    if path_like and what not in recipes() and images.suffix not in {".yaml", ".yml"}:
        raise RecipeError(
            f"{what!r} is neither a recipe nor a folder or zip of images (seen from {Path.cwd()}).",
            "Check the path, or see: eyebright recipes",
        )
    return recipe(what, overrides, **changes)


def _finish(run: Run, splits: Splits, forecast: Forecast) -> None:
    """Judge, print, report."""
    from eyebright.insight.findings import affordable, findings
    from eyebright.training.fit import judge

    scores = judge(run, splits)
    forecast.judged()
    score = list(scores.values())[-1]  # test, unless the data has none
    print_confusion(score)
    output().print(str(score), markup=False)
    output().print()
    for each, found in scores.items():
        output().print(f"{each:<10} accuracy {found.accuracy}")
    if affordable(run, splits):
        with Bar() as bar:
            write_report(run, findings(run, splits, progress=bar))
    else:
        write_report(run)
        output().print(f"images, maps and neighbours: eyebright report {run.path}", soft_wrap=True)


def print_confusion(scores: Scores) -> None:
    """The confusion matrix as a table, where a terminal has room for it."""
    from eyebright.cli.lists import table

    if len(scores.classes) > _SHOWN_CLASSES:
        return
    matrix = table("given \\ predicted", *(name[:_SHOWN_LETTERS] for name in scores.classes))
    for name, row in zip(scores.classes, scores.confusion.tolist(), strict=True):
        matrix.add_row(name, *(str(count) if count else "" for count in row))
    for column in matrix.columns[1:]:
        column.justify = "right"
    output().print(matrix)


def write_report(run: Run, findings: Findings | None = None, out: Path | None = None) -> None:
    """The report and the figures into the run's folder, or the report alone to `out`.

    Without their packages, say how to get them.
    """
    from eyebright.reporting.report import report

    made = report(run, findings)
    try:
        path = made.write(out or run.path / "report.html")
        if out is None:
            made.write_figures(run.path)
    except MissingExtraError as error:
        complain(error)
        return
    output().print(f"report: {path}", soft_wrap=True)
