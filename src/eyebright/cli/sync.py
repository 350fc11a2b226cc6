"""`eyebright sync`: give a tracker what it missed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eyebright.cli.terminal import complain, output
from eyebright.core.errors import EyebrightError, TrackingError

if TYPE_CHECKING:
    from eyebright.core.settings.tracking import MLflowSettings


def sync(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Runs, or folders of sweeps.")],
    uri: Annotated[
        str | None, typer.Option(help="MLflow to copy to, http://HOST:PORT or sqlite:///FILE; default: as trained.")
    ] = None,
) -> None:
    """Copy to the tracker what it does not have: epochs that it missed, scores, report, figures, model.

    What it has is not sent again. With --uri, runs that were trained without a tracker can be copied too.

    \b
    eyebright sync runs/digits/cnn/20260101-120000-1a2b
    eyebright sync runs/digits/cnn/* --uri http://localhost:5000
    """
    from eyebright.core.settings.tracking import MLflowSettings

    chosen = MLflowSettings(uri=uri) if uri else None
    failed = False
    for run in runs:
        try:
            output().print(f"{run}: {_sync(run, chosen)}", soft_wrap=True)
        except EyebrightError as error:  # the other runs may still be copied
            complain(error)
            failed = True
    if failed:
        raise typer.Exit(2)


def _sync(folder: Path, chosen: MLflowSettings | None) -> str:
    from eyebright.training.run import Run
    from eyebright.training.tracking import sweep_entry
    from eyebright.training.tracking.trackers import publish

    if sweep_entry.is_entry(folder):
        return sweep_entry.copy(folder, chosen)
    if (folder / "sweep.yaml").is_file():
        raise TrackingError(
            f"{folder} was swept without a tracker.",
            f"Copy its trials: eyebright sync {folder}/trials/???? --uri http://HOST:PORT",
        )
    place = publish(Run.open(folder), chosen)
    if not place:
        raise TrackingError(f"{folder} was trained without a tracker.", "Name one: --uri http://HOST:PORT")
    return place
