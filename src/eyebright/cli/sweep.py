"""`eyebright sweep`: try many values of some fields, choose by validation, say what the choice is worth."""

from __future__ import annotations

import collections
import contextlib
import enum
import functools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eyebright.cli.cluster import On, Workers, cluster
from eyebright.cli.terminal import Bar, complain, output, remarks, show_log
from eyebright.core.errors import MissingExtraError, RecipeError, SweepError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from eyebright.core.recipe import Recipe
    from eyebright.core.settings.data import DataSettings
    from eyebright.data.image_set import Splits
    from eyebright.sweeps.executor import Executor
    from eyebright.sweeps.price import Price
    from eyebright.sweeps.space import Values
    from eyebright.sweeps.standing import Sweep

_SHOWN_TRIALS = 5  # of the best; the report lists all
_SHOWN_FAILURES = 3


class Search(enum.StrEnum):
    """What proposes the next trial."""

    grid = "grid"
    tpe = "tpe"
    random = "random"
    cmaes = "cmaes"


class Pruner(enum.StrEnum):
    """What stops a trial that falls behind."""

    none = "none"
    median = "median"
    asha = "asha"
    hyperband = "hyperband"


def sweep(
    what: Annotated[
        str | None, typer.Argument(metavar="[RECIPE|FOLDER|ZIP]", help="A recipe, or images to learn from.")
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[FIELD=VALUE,VALUE]...", help="Fields to try values of, or to set for all trials."),
    ] = None,
    search: Annotated[Search, typer.Option(help="grid tries all combinations, the others propose some.")] = Search.grid,
    trials: Annotated[int | None, typer.Option(min=1, help="How many a search proposes.")] = None,
    minutes: Annotated[float | None, typer.Option(min=0, help="Begin no trial that would end later.")] = None,
    pruner: Annotated[
        Pruner | None, typer.Option(help="What stops a trial that falls behind; default: none, of a search median.")
    ] = None,
    resume: Annotated[Path | None, typer.Option(metavar="SWEEP", help="Go on with this sweep.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the sweep; default: sweeps/NAME/TIME.")] = None,
    storage: Annotated[str | None, typer.Option(metavar="URL", help="A database that several machines share.")] = None,
    study: Annotated[str | None, typer.Option(metavar="NAME", help="Name there; one that is there is joined.")] = None,
    data_root: Annotated[str | None, typer.Option(help="Folder of the known data sets.")] = None,
    trust: Annotated[bool, typer.Option("--trust", help="Run the code that a resumed sweep may hold.")] = False,
    on: On = None,
    workers: Workers = None,
) -> None:
    """Try many values of some fields, choose the best by validation, test it once, and write a report.

    \b
    eyebright sweep cifar10/regularized_cnn optimizer.lr=1e-4,1e-3,1e-2 batch_size=32,64,128 dropout=0.3,0.5
    eyebright sweep cifar10/resnet20 'optimizer.lr=tag(log,interval(1e-4,1e-1))' 'dropout=interval(0,0.6)' \\
        'batch_size=range(32,257,32)' --search tpe --trials 50 --minutes 60
    eyebright sweep --resume sweeps/cifar10/resnet20/20260101-120000-1a2b
    eyebright sweep cifar10/resnet20 optimizer.lr=1e-3,1e-2,1e-1 --on ray://cluster:10001
    """
    from eyebright.sweeps.progress import SweepProgress
    from eyebright.sweeps.sweep import new_folder, resume_sweep
    from eyebright.sweeps.sweep import sweep as begin_sweep

    show_log()
    work: Callable[..., Sweep]
    if resume:
        if what or overrides or out or study or pruner or data_root or search != Search.grid:
            raise SweepError(
                "--resume goes on with a sweep as it was begun.",
                "Give it with --trials, --minutes, --storage, --trust, --on and --workers only.",
            )
        folder, work = resume, functools.partial(resume_sweep, resume, trust=trust)
    else:
        chosen, fields = _chosen(what, overrides or [], data_root)
        folder = out or new_folder(chosen)
        work = functools.partial(
            begin_sweep,
            chosen,
            fields,
            search=search.value,
            pruner=pruner.value if pruner else None,
            folder=folder,
            study=study,
        )
    remarks().print(f"sweep: {folder}", soft_wrap=True)
    given = {"trials": trials, "minutes": minutes, "storage": storage, "watcher": SweepProgress(remarks())}
    try:
        with _place(on, workers) as executor:
            found = work(**given, splits=_loaded, executor=executor)
    except KeyboardInterrupt:
        if (folder / "sweep.yaml").is_file():  # else it had not begun
            remarks().print(f"stopped. Continue exactly with: eyebright sweep --resume {folder}", soft_wrap=True)
        raise
    _finish(found)


def _chosen(what: str | None, overrides: list[str], data_root: str | None) -> tuple[Recipe, dict[str, Values]]:
    """The recipe of all trials, and the fields that are swept."""
    from eyebright.cli.train import choose
    from eyebright.sweeps.space import read

    if what is None:
        raise RecipeError("nothing to sweep.", "Name a recipe or a folder of images; see: eyebright recipes")
    fixed, fields = read(overrides)
    return choose(what, fixed, {"data.root": data_root} if data_root else {}), fields


@contextlib.contextmanager
def _place(on: str | None, workers: int | None) -> Iterator[Executor | None]:
    """Where trials are run: here (None), or on a cluster for a while."""
    if on is None and workers is None:
        yield None
        return
    with cluster(on):
        from eyebright.cluster.trials import executor

        yield executor(workers=workers)


def _loaded(settings: DataSettings) -> Splits:
    from eyebright.data.load import load

    with Bar() as bar:
        return load(settings, progress=bar)


def _finish(found: Sweep) -> None:
    """Print the best, what the choice is worth, and what failed; report."""
    if found.price is None:
        running = len(found.of("running"))
        output().print(
            f"{running} trials are still run by other processes; the last of them tests the winner.\n"
            f"Where one died: eyebright sweep --resume {found.path}",
            soft_wrap=True,
        )
        return
    _print_best(found)
    _print_price(found, found.price)
    failed = found.of("failed")
    for trial in failed[:_SHOWN_FAILURES]:
        output().print(f"failed: trial {trial.number}: {trial.outcome.failure}", soft_wrap=True)
    if len(failed) > _SHOWN_FAILURES:
        output().print(f"and {len(failed) - _SHOWN_FAILURES} more failed; the report names them.")
    output().print(f"best recipe: {found.path / 'best.yaml'}", soft_wrap=True)
    _report(found)


def _print_best(found: Sweep) -> None:
    from eyebright.cli.lists import table
    from eyebright.sweeps.space import short_names, shown

    names = short_names(found.definition.space)
    listing = table("trial", *names.values(), "validation accuracy", "epoch")
    for trial in found.ranked[:_SHOWN_TRIALS]:
        values = (shown(trial.values[field]) for field in names)
        listing.add_row(str(trial.number), *values, str(trial.accuracy), str(trial.outcome.epoch))
    output().print(listing)
    counts = collections.Counter(trial.state for trial in found.trials)
    output().print(f"{len(found.trials)} trials: {', '.join(f'{n} {state}' for state, n in counts.items())}")


def _print_price(found: Sweep, price: Price) -> None:
    """How far the best can be trusted."""
    winner = found.winner
    if winner is None:
        return
    output().print(f"winner: {winner.path}", soft_wrap=True)
    output().print(f"validation accuracy {price.validation}, which chose it")
    if price.test is None or price.fall is None:
        output().print("there are no test images: how good it is on others is not known.")
        return
    output().print(f"test accuracy       {price.test}, which chose nothing")
    fall, low, high = (100 * value for value in price.fall)
    output().print(
        f"price of choosing   the best of {price.compared}: luck alone would show up to {100 * price.luck:.1f} points "
        f"too many; validation minus test is {fall:+.1f} [{low:+.1f}, {high:+.1f}] points",
        soft_wrap=True,
    )
    output().print(_against_default(found, price), soft_wrap=True)


def _against_default(found: Sweep, price: Price) -> str:
    if price.against_default is not None:
        gap, p = price.against_default.difference, price.against_default.p
        ends = f"{100 * gap.value:+.1f} [{100 * gap.low:+.1f}, {100 * gap.high:+.1f}]"
        return f"against the recipe  {ends} points on the test images, p={p:.2g}"
    if found.default is not None and found.best is not None and found.default.number == found.best.number:
        return "the winner is the recipe as it was."
    failure = found.results["default"].get("failure", "the two were not tested on the same images")
    return f"the recipe as it was cannot be compared: {failure}"


def _report(found: Sweep) -> None:
    from eyebright.reporting.sweep_report import sweep_report

    try:
        path = sweep_report(found).write(found.path / "sweep.html")
    except MissingExtraError as error:
        complain(error)
        return
    output().print(f"report: {path}", soft_wrap=True)
