"""Group `tracking`: where a training is copied to while it runs. It changes nothing of what is trained."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from eyebright.core.settings.fields import settings


@settings
class NoTrackingSettings:
    """The folder of the run, and nothing else."""

    name: Literal["none"] = "none"


@settings
class MLflowSettings:
    """A tracking server of MLflow, or a database of its own.

    Attributes
    ----------
    uri : `http://HOST:PORT` of a tracking server, or `sqlite:///FILE`; default: MLFLOW_TRACKING_URI, else the file
        mlruns.db of the folder in which the training begins.
    experiment : under which MLflow lists the run.
    parent : the entry of the sweep that this run is a trial of, see `eyebright.training.tracking.sweep_entry`.
    """

    name: Literal["mlflow"] = "mlflow"
    uri: str | None = None
    experiment: Annotated[str, Field(min_length=1)] = "eyebright"
    parent: str | None = None


@settings
class TensorBoardSettings:
    """Event files in the folder `tensorboard` of the run."""

    name: Literal["tensorboard"] = "tensorboard"


TrackingSettings = Annotated[
    NoTrackingSettings | MLflowSettings | TensorBoardSettings,
    Field(discriminator="name"),
]
