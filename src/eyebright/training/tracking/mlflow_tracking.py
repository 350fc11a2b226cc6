"""Copies a training to MLflow while it runs, from a thread that no step waits for."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import threading

from eyebright.core.device import Plan
from eyebright.core.errors import EyebrightError
from eyebright.core.settings.tracking import MLflowSettings
from eyebright.training.callbacks import Callback
from eyebright.training.run import Run
from eyebright.training.tracking import mlflow_store
from eyebright.training.tracking.entry import entry_of
from eyebright.training.tracking.system import SystemLog

_logger = logging.getLogger("eyebright")

# Seconds between two copies; a tracker that does not answer is left alone for twice as long each time, up to the
# second number. A copy takes some 20 ms of processor time, so that a shorter interval would be felt.
_INTERVAL, _LONGEST = 10.0, 60.0
# Seconds that the end of a training waits for the last copy.
_PATIENCE = 20.0


class MLflowTracking(Callback):
    """Watches the folder of a training. Whatever happens to MLflow, the training goes on, and nothing is lost.

    Parameters
    ----------
    settings : which MLflow.
    """

    def __init__(self, settings: MLflowSettings) -> None:
        self.settings = settings
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None
        self._environment = contextlib.ExitStack()
        self._system: SystemLog | None = None

    def started(self, run: Run, plan: Plan) -> None:  # noqa: ARG002 (the contract of a callback)
        """Import MLflow, the only thing that the training waits for, and leave the rest to a thread.

        Raises
        ------
        MissingExtraError : MLflow is not installed.
        """
        mlflow_store.require(self.settings)
        _logger.info("tracking: %s", mlflow_store.page(self.settings))
        self._environment.enter_context(mlflow_store.environment())
        self._thread = threading.Thread(target=self._follow, args=(run,), name="eyebright-tracking", daemon=True)
        self._thread.start()

    def stopped(self, run: Run) -> None:
        """Wait a little for the last copy, and say what it could not send."""
        if self._thread is None:
            return
        self._ending.set()
        self._thread.join(_PATIENCE)
        self._environment.close()
        with contextlib.suppress(EyebrightError):  # a damaged run: the training itself says so
            left = mlflow_store.left(run.path, entry_of(run), self.settings)
            if left or self._thread.is_alive():
                _logger.warning("%d epoch%s not yet synced: eyebright sync %s", left, "s"[: left != 1], run.path)

    def _follow(self, run: Run) -> None:
        """Copy until the training ends, and once more."""
        pause, ended = _INTERVAL, False
        while True:
            problem = self._copy(run, ended=ended)
            if problem and pause == _INTERVAL:
                _logger.warning("%s The training goes on; what is new is kept in %s.", problem, run.path)
            elif not problem and pause > _INTERVAL:
                _logger.info("tracking: MLflow has taken what it had missed.")
            if ended:
                return
            pause = min(2 * pause, _LONGEST) if problem else _INTERVAL
            ended = self._ending.wait(pause)

    def _copy(self, run: Run, *, ended: bool) -> str:
        """What went wrong, if anything; whatever it is, it must not reach the training."""
        try:
            self._system = self._system or SystemLog(run.path)
            self._system.write()
            entry = entry_of(run)
            if not ended:  # run.json may still tell of the process before this one
                entry = dataclasses.replace(entry, status="running")
            mlflow_store.copy(run.path, entry, self.settings, files=False)
        except EyebrightError as error:
            return error.cause
        except Exception as error:  # noqa: BLE001 (a fault of ours is no reason to lose a training)
            return f"tracking failed: {error!r}."
        return ""
