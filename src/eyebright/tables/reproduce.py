"""`reproduce`: run a whole published table, seed by seed, and put our numbers beside theirs."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eyebright.audit.case import Remark
from eyebright.audit.training_doctor import examine
from eyebright.core.errors import DivergedError, ModelError, RecipeError
from eyebright.core.recipe import Recipe, recipe
from eyebright.core.settings.data import DataSettings
from eyebright.data.image_set import Splits
from eyebright.data.load import load, located
from eyebright.data.progress import Progress
from eyebright.tables.reproduction import Reproduction, RowResult, lines, order
from eyebright.tables.table import PublishedTable, Row, table
from eyebright.training.callbacks import Callback
from eyebright.training.completion import completed, known
from eyebright.training.run import Run


def reproduce(  # noqa: PLR0913 - what to run, how much of it, where, and who watches
    name: str | Path,
    overrides: Sequence[str] = (),
    /,
    *,
    seeds: int = 3,
    rows: Sequence[str] | None = None,
    out: str | Path | None = None,
    data_root: str | None = None,
    callbacks: Sequence[Callback] | None = None,
    progress: Progress | None = None,
) -> Reproduction:
    """Run a published table, and compare.

    Called again after an interruption, a crash or kill -9, it goes on exactly where it stopped: finished runs stay as
    they are. `table.md` and `table.json` in the folder are brought up to date after every run. A finished run of the
    same recipe and seed in the folder of a table beside this one is copied instead of trained again.

    Parameters
    ----------
    name : a table of `eyebright.tables.table.tables()`, or the path of a YAML file.
    overrides : fields of all recipes to change, as on the command line, such as `["data.limit=500"]` for a quick look.
    seeds : trainings of each row: 0, 1, 2, ...
    rows : names of the rows to run; default: all. What earlier calls have made of the others is shown beside them.
    out : folder; default: `runs/tables/NAME`.
    data_root : folder of the known data sets.
    callbacks : watchers of each training; default: a progress bar.
    progress : told which run begins: `progress("dropout, seed 1", 3, 12)`.

    Raises
    ------
    RecipeError : there is no such table, row or recipe.
    RunError : the folder holds runs of other recipes.
    DataError : the images cannot be read.
    """
    if seeds < 1:
        raise RecipeError(f"seeds={seeds} runs nothing.", "Give one seed at least; three show how much they matter.")
    chosen = table(name)
    session = _Session(
        chosen,
        rows=tuple(map(chosen.row, rows)) if rows is not None else chosen.rows,
        seeds=tuple(range(seeds)),
        overrides=tuple(overrides),
        data_root=data_root,
        folder=Path(out) if out is not None else Path("runs") / "tables" / chosen.name,
        callbacks=callbacks,
    )
    planned = session.planned()
    session.adopt()
    for number, (row, planned_recipe) in enumerate(planned):
        if progress is not None:
            progress(f"{row.name}, seed {planned_recipe.seed}", number, len(planned))
        session.complete(row, planned_recipe)
        session.reproduction().write()
    return session.reproduction()


class _Images:
    """The images that were loaded last: seeds, and rows with the same data, share them."""

    def __init__(self) -> None:
        self._settings: DataSettings | None = None
        self._splits: Splits | None = None

    def load(self, settings: DataSettings) -> Splits:
        wanted = located(settings)
        if self._splits is None or self._settings != wanted:
            self._splits = None  # two data sets need not fit into memory together
            self._settings, self._splits = wanted, load(wanted)
        return self._splits


@dataclasses.dataclass
class _Session:
    """The runs of a table, as they come."""

    table: PublishedTable
    rows: tuple[Row, ...]
    seeds: tuple[int, ...]
    overrides: tuple[str, ...]
    data_root: str | None
    folder: Path
    callbacks: Sequence[Callback] | None
    images: _Images = dataclasses.field(default_factory=_Images)
    runs: dict[str, dict[int, Run]] = dataclasses.field(default_factory=dict)
    failures: dict[str, dict[int, str]] = dataclasses.field(default_factory=dict)
    remarks: dict[str, dict[int, tuple[Remark, ...]]] = dataclasses.field(default_factory=dict)

    def planned(self) -> list[tuple[Row, Recipe]]:
        """All runs, a whole table of one seed before the next; composed first, so that a mistake is told at once."""
        return [(row, self._recipe(row, seed)) for seed in self.seeds for row in self.rows]

    def _recipe(self, row: Row, seed: int) -> Recipe:
        changes: dict[str, Any] = {"seed": seed}
        if self.data_root is not None:
            changes["data.root"] = self.data_root
        if row.weights_of is not None:
            changes["model.weights"] = str(self._run_folder(row.weights_of, seed).absolute())
        return recipe(row.recipe, [*row.overrides, *self.overrides], **changes)

    def _run_folder(self, row: str, seed: int) -> Path:
        return self.folder / row / f"seed-{seed}"

    def adopt(self) -> None:
        """Take the finished runs of the other rows."""
        for row in self.table.rows:
            for seed in self.seeds if row not in self.rows else ():
                with contextlib.suppress(RecipeError):  # changes that are meant for the chosen rows may not fit others
                    run = known(self._recipe(row, seed), self._run_folder(row.name, seed))
                    if run is not None:
                        self._keep(row, run)

    def complete(self, row: Row, chosen: Recipe) -> None:
        """Run it, or what is left of it."""
        splits = functools.partial(self.images.load, chosen.data)  # asked only when something is left to do
        folder = self._run_folder(row.name, chosen.seed)
        self._borrow(chosen, folder)
        try:
            run = completed(chosen, folder, splits, callbacks=self.callbacks)
        except (DivergedError, ModelError) as error:  # such as weights that are not here; the other rows have results
            self.failures.setdefault(row.name, {})[chosen.seed] = f"{error.cause} {error.remedy}".strip()
            return
        self._keep(row, run)

    def _borrow(self, chosen: Recipe, folder: Path) -> None:
        """Where nothing is begun yet, copy the finished run of the same recipe from a table beside this one.

        A copy, so that the table's folder can be moved, and so that other rows can begin with its weights.
        """
        if folder.exists():
            return
        for other in sorted(self.folder.absolute().parent.glob(f"*/*/{folder.name}")):
            if known(chosen, other) is not None:
                unfinished = folder.with_name(f".{folder.name}")
                shutil.rmtree(unfinished, ignore_errors=True)
                shutil.copytree(other, unfinished)
                unfinished.rename(folder)
                return

    def _keep(self, row: Row, run: Run) -> None:
        self.runs.setdefault(row.name, {})[run.recipe.seed] = run
        if row.fails:
            images = self.images.load(run.recipe.data)
            self.remarks.setdefault(row.name, {})[run.recipe.seed] = examine(run, images)

    def reproduction(self) -> Reproduction:
        """What there is so far."""
        orders = (
            order(claim, self.runs.get(claim.better, {}), self.runs.get(claim.than, {})) for claim in self.table.claims
        )
        return Reproduction(
            table=self.table,
            seeds=self.seeds,
            overrides=self.overrides,
            folder=self.folder,
            rows=tuple(self._result(row) for row in self.table.rows if row in self.rows or row.name in self.runs),
            orders=tuple(found for found in orders if found is not None),
        )

    def _result(self, row: Row) -> RowResult:
        runs = self.runs.get(row.name, {})
        return RowResult(
            row=row,
            runs={seed: str(run.path) for seed, run in runs.items()},
            lines=lines(self.table, row, list(runs.values())),
            failures=self.failures.get(row.name, {}),
            remarks=self.remarks.get(row.name, {}),
        )
