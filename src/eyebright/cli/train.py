"""`eyebright train`: the main job, from a recipe or a folder of images to a run with a report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eyebright.cli.budget import train_in
from eyebright.cli.cluster import On, Workers, cluster
from eyebright.cli.images import given, images_of
from eyebright.cli.terminal import Bar, complain, hush, output, remarks, show_log
from eyebright.core.errors import MissingExtraError, RecipeError, TrackingError

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
    minutes: Annotated[
        float | None, typer.Option(metavar="N", min=0, help="Choose recipe and epochs so that all is done by then.")
    ] = None,
    on: On = None,
    workers: Workers = None,
) -> None:
    """Train a model, judge it on the test images and write a report. Says how long it will take, then how long it took.

    \b
    eyebright train cifar10/regularized_cnn
    eyebright train cifar10/ladder_cnn epochs=5 optimizer.lr=3e-4
    eyebright train path/to/photos
    eyebright train cifar10 --minutes 5
    eyebright train --resume runs/cifar10/ladder_cnn/20260101-120000-1a2b
    torchrun --nproc-per-node 2 -m eyebright train cifar10/ladder_cnn
    eyebright train cifar10/ladder_cnn --on ray://cluster:10001 --workers 2
    """
    show_log()
    changes = given(source=data, root=data_root, on_bad_image=on_bad_image)
    if minutes is not None:
        if resume or data:
            raise RecipeError("--minutes plans a training that begins.", "Leave --minutes away; it goes on as planned.")
        if on or workers:
            raise RecipeError("--minutes plans for this machine.", "Leave --on and --workers away, or --minutes.")
        run, _, scores = train_in(minutes, what, overrides or [], changes, out)
        _finish(run, None, scores)  # images would take their own time
        return
    from eyebright.data.load import load
    from eyebright.training.distributed import joined
    from eyebright.training.fit import judge, new_folder
    from eyebright.training.measure.forecast import Forecast

    if on is not None or workers is not None:
        begun, chosen = _asked(what, overrides or [], changes, resume, out, data, trust)
        run = _train_on_cluster(begun, chosen, out or new_folder(chosen), on, workers)
        _finish(run, None, run.scores)  # the images may be far away
        return
    with joined() as world:
        if not world.first:
            hush()
        elif world.size > 1:
            remarks().print(f"{world.size} processes, each with its share of every batch")
        begun, chosen = _asked(what, overrides or [], changes, resume, out, data, trust)
        with world.first_ahead(), Bar() as bar:
            splits = images_of(begun, changes, bar) if begun else load(chosen.data, progress=bar)
        forecast = Forecast(splits, remarks())
        run = _train(begun, chosen, splits, out or world.agreed(new_folder(chosen)), forecast)
        scores = judge(run, splits)
        forecast.judged()
    if world.first:
        _finish(run, splits, scores)


def _asked(
    what: str | None,
    overrides: list[str],
    changes: dict[str, Any],
    resume: Path | None,
    out: Path | None,
    data: str | None,
    trust: bool,
) -> tuple[Run | None, Recipe]:
    """The run to go on with, if there is one, and the recipe with the place of its images."""
    from eyebright.training.run import Run

    if data and not resume:
        raise RecipeError("--data is for a run that is resumed.", "Name the images instead: eyebright train FOLDER")
    if resume and (what or overrides or out):
        raise RecipeError("--resume continues a run as it was begun.", "Leave recipe, FIELD=VALUE and --out away.")
    if resume:
        begun = Run.open(resume, trust=trust)
        return begun, begun.recipe.replace(**changes)
    if what:
        return None, choose(what, overrides, changes)
    raise RecipeError("nothing to train.", "Name a recipe or a folder of images; see: eyebright recipes")


def _train_on_cluster(begun: Run | None, chosen: Recipe, folder: Path, on: str | None, workers: int | None) -> Run:
    """As `_train`, and judged."""
    from eyebright.cluster.training import train as train_there
    from eyebright.training.progress import ProgressBar

    path = begun.path if begun else folder
    if begun:
        begun.check_trust()
    try:
        with cluster(on):
            remarks().print(f"run: {path}", soft_wrap=True)
            return train_there(chosen, path, workers=workers, callbacks=[ProgressBar(remarks())])
    except KeyboardInterrupt:
        _tell_how_to_resume(path)
        raise


def _train(begun: Run | None, chosen: Recipe, splits: Splits, folder: Path, forecast: Forecast) -> Run:
    """A new run in `folder`, or the rest of the one that was begun."""
    from eyebright.training.fit import fit, resume
    from eyebright.training.progress import ProgressBar

    watchers = (ProgressBar(remarks()), forecast)
    try:
        if begun:
            return resume(begun, splits, callbacks=watchers)
        return fit(chosen, splits, folder=folder, callbacks=watchers)
    except KeyboardInterrupt:
        _tell_how_to_resume(begun.path if begun else folder)
        raise


def _tell_how_to_resume(path: Path) -> None:
    if (path / "run.json").is_file():  # else it had not begun
        remarks().print(f"stopped. Continue exactly with: eyebright train --resume {path}", soft_wrap=True)


def choose(what: str, overrides: list[str], changes: dict[str, Any]) -> Recipe:
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


def _finish(run: Run, splits: Splits | None, scores: dict[str, Scores]) -> None:
    """Print, report; with images, where they are given and few enough."""
    from eyebright.insight.findings import affordable, findings

    score = list(scores.values())[-1]  # test, unless the data has none
    print_confusion(score)
    output().print(str(score), markup=False)
    output().print()
    for each, found in scores.items():
        output().print(f"{each:<10} accuracy {found.accuracy}")
    if splits is not None and affordable(run, splits):
        with Bar() as bar:
            write_report(run, findings(run, splits, progress=bar))
    else:
        write_report(run)
        output().print(f"images, maps and neighbours: eyebright report {run.path}", soft_wrap=True)
    _publish(run)


def _publish(run: Run) -> None:
    """Give the tracker, if there is one, what the training ended with. The run is there whether it answers or not."""
    from eyebright.training.tracking.trackers import publish

    try:
        place = publish(run)
    except TrackingError as error:
        complain(error)
        return
    if place:
        output().print(f"tracked: {place}", soft_wrap=True)


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
