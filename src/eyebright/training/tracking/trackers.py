"""Which tracker a recipe names, and what it is asked to do."""

from __future__ import annotations

from eyebright.core.settings.tracking import MLflowSettings, TensorBoardSettings, TrackingSettings
from eyebright.training.callbacks import Callback
from eyebright.training.run import Run
from eyebright.training.tracking import mlflow_store, tensorboard_tracking
from eyebright.training.tracking.entry import entry_of
from eyebright.training.tracking.mlflow_tracking import MLflowTracking


def ready(tracking: TrackingSettings) -> TrackingSettings:
    """The settings with an address that means the same in every folder, once their tracker can be used.

    Raises
    ------
    MissingExtraError : its package is not installed.
    """
    match tracking:
        case MLflowSettings():
            mlflow_store.require(tracking)
            return mlflow_store.located(tracking)
        case TensorBoardSettings():
            tensorboard_tracking.require()
    return tracking


def watchers(tracking: TrackingSettings) -> list[Callback]:
    """What has to watch a training."""
    match tracking:
        case MLflowSettings():
            return [MLflowTracking(tracking)]
        case TensorBoardSettings():
            return [tensorboard_tracking.TensorBoardTracking()]
    return []


def publish(run: Run, tracking: TrackingSettings | None = None) -> str:
    """Give the tracker what it does not have yet: numbers, and of a training that is over also files, scores and model.

    To be called when there is something new, such as after `judge` or a report; what the tracker has is not sent
    again. A run that is not tracked is left alone.

    Parameters
    ----------
    run : in any state.
    tracking : where to; default: where its recipe says.

    Returns
    -------
    How to look at it; "" where the run is not tracked.

    Raises
    ------
    TrackingError : the tracker does not answer, or refuses.
    MissingExtraError : its package is not installed.
    """
    match tracking or run.recipe.tracking:
        case MLflowSettings() as chosen:
            mlflow_store.require(chosen)
            mlflow_store.copy(run.path, entry_of(run), chosen, files=True)
            return mlflow_store.page(chosen)
        case TensorBoardSettings():
            return f"tensorboard --logdir {tensorboard_tracking.write_events(run)}"
    return ""
