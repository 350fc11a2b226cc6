"""Where a study is kept: a database in a file, or one that several machines share."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import optuna
import sqlalchemy
from optuna.storages import RDBStorage
from sqlalchemy.engine import URL

from eyebright.core.errors import StorageError, SweepError
from eyebright.sweeps.definition import without_password

# Seconds between two signs of life of a trial, and after how many without one it is given up for lost: a machine
# that is busy, or a network that is away for some minutes, is no death.
_BEAT, _GRACE = 30, 600
# Seconds that a process waits for another that writes into the same file.
_PATIENCE = 60

Lost = Callable[[optuna.Study, optuna.trial.FrozenTrial], None]


def file_url(path: Path) -> str:
    """The URL of a database in a file."""
    url = URL.create("sqlite", database=str(path.absolute())).render_as_string(hide_password=False)
    return url.replace("{", "{{").replace("}", "}}")  # Optuna takes a URL for a template


@contextlib.contextmanager
def opened(url: str, *, shared: bool = False, lost: Lost | None = None) -> Iterator[RDBStorage]:
    """A database of studies, with its tables.

    Parameters
    ----------
    url : of the database.
    shared : whether other machines use it, so that only signs of life tell which trials are still run.
    lost : called for each trial that was given up.

    Raises
    ------
    SweepError : the URL names no database that this machine can speak to.
    StorageError : the database does not answer, or refuses; in the context too.
    """
    try:
        storage = _connected(url, shared, lost)
        try:
            yield storage
        finally:
            storage.remove_session()
            storage.engine.dispose()
    except (optuna.exceptions.StorageInternalError, sqlalchemy.exc.SQLAlchemyError) as error:
        reason = str(error.__cause__ or error).splitlines()[0]
        raise StorageError(
            f"the study at {without_password(url)} cannot be read or written: {reason}",
            "Mend that and resume the sweep: no finished trial is lost.",
        ) from error


def _connected(url: str, shared: bool, lost: Lost | None) -> RDBStorage:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # of the signs of life
            return RDBStorage(
                url,
                engine_kwargs={"connect_args": {"timeout": _PATIENCE}} if url.startswith("sqlite") else None,
                heartbeat_interval=_BEAT if shared else None,
                grace_period=_GRACE if shared else None,
                heartbeat_stale_trial_callback=lost,
            )
    except (ImportError, sqlalchemy.exc.NoSuchModuleError, sqlalchemy.exc.ArgumentError) as error:
        raise SweepError(
            f"this machine cannot speak to {without_password(url)}: {error}",
            "Name a driver that is installed, such as postgresql+psycopg://... after: pip install 'psycopg[binary]'",
        ) from error


@contextlib.contextmanager
def unannounced() -> Iterator[None]:
    """Optuna announces each new study on the terminal; not in here."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(verbosity)
