"""The command `eyebright`: parse, call, print. Commands import what they need when they run."""

from __future__ import annotations

import io
import sys

import typer

from eyebright.cli import (
    bench,
    compare,
    data,
    doctor,
    explain,
    export,
    judge,
    lists,
    reproduce,
    serve,
    sweep,
    sync,
    train,
    transfer,
)
from eyebright.cli.terminal import complain
from eyebright.core.errors import EyebrightError, StorageError

_HELP = """Trains image classifiers, shows why they are wrong, and ships them.

\b
eyebright train digits/cnn                   a first run, in seconds, no download
eyebright train cifar10/ladder_cnn epochs=5  a recipe, with a field changed
eyebright train path/to/photos               a folder of images, one subfolder a class
eyebright predict RUN photo.jpg              what the model says
eyebright COMMAND --help                     more examples
"""

app = typer.Typer(
    name="eyebright",
    help=_HELP,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # rich's panels would double the time that --help takes
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("train")(train.train)
app.command("sweep")(sweep.sweep)
app.command("evaluate")(judge.evaluate)
app.command("predict")(judge.predict)
app.command("explain")(explain.explain)
app.command("report")(judge.report)
app.command("export")(export.export)
app.command("compare")(compare.compare)
app.command("doctor")(doctor.doctor)
app.command("reproduce")(reproduce.reproduce)
app.command("sync")(sync.sync)
app.command("transfer")(transfer.transfer)
app.command("runs")(lists.runs)
app.command("models")(lists.models)
app.command("recipes")(lists.recipes)
app.command("bench")(bench.bench)
app.command("serve")(serve.serve)
app.add_typer(data.app, name="data")

# Exit codes: 2 as for a wrong option, 130 as a shell reports Ctrl-C.
_USER_ERROR, _INTERRUPTED = 2, 130


def main() -> None:
    """Run the command line; an error that the user can mend becomes two lines and exit code 2."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # a class or file name that the terminal's encoding lacks
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        app()
    except EyebrightError as error:
        complain(error)
        sys.exit(_USER_ERROR)
    except OSError as error:  # what no part foresaw, such as results that are sent to a full disk
        complain(StorageError(f"the operating system refused: {error}.", "Check the path, its rights and the space."))
        sys.exit(_USER_ERROR)
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
