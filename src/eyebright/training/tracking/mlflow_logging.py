"""A run's best model as a model of MLflow: `mlflow.pyfunc.load_model("runs:/RUN/model")`, `mlflow models serve`.

It holds the weights (safetensors) and a small file of code that reads them, and no pickle.
"""

from __future__ import annotations

import importlib.metadata
import io
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from eyebright.core.input_spec import InputSpec
from eyebright.models import weights

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel
    from mlflow.entities import Run as MLflowRun
    from mlflow.models import ModelSignature

_NAME = "model"
_CODE = Path(__file__).with_name("mlflow_model.py")

# The tag by which a model is found again, whose upload was broken off.
_DIGEST = "eyebright.weights"


def log_model(client: MlflowClient, run: MLflowRun, checkpoint: Path, digest: str) -> None:
    """Give MLflow the model of `checkpoint`, whose content has this digest, as a product of `run`."""
    from mlflow.entities import LoggedModelOutput

    model = _unfinished(client, run, digest) or client.create_logged_model(
        run.info.experiment_id,
        name=_NAME,
        source_run_id=run.info.run_id,
        tags={_DIGEST: digest},
        model_type="image classifier",
    )
    with tempfile.TemporaryDirectory() as folder:
        save_model(checkpoint, Path(folder) / _NAME, model)
        client.log_model_artifacts(model.model_id, str(Path(folder) / _NAME))
    client.log_outputs(run.info.run_id, [LoggedModelOutput(model.model_id, step=0)])
    client.finalize_logged_model(model.model_id, "READY")


def save_model(checkpoint: Path, path: Path, logged: LoggedModel | None = None) -> None:
    """Write the model of `checkpoint` into the new folder `path`, as MLflow lays models out.

    Parameters
    ----------
    checkpoint : best.safetensors of a run.
    path : does not exist yet.
    logged : what the tracker calls it.
    """
    with warnings.catch_warnings():
        # Of MLflow about code of its own, when it is imported, and of pandas about MLflow's.
        warnings.filterwarnings("ignore", message=".*Any type hint", category=UserWarning)
        warnings.filterwarnings("ignore", message="Operation with range", category=DeprecationWarning)
        _save(checkpoint, path, logged)


def _save(checkpoint: Path, path: Path, logged: LoggedModel | None) -> None:
    import mlflow.pyfunc
    import pandas as pd
    from mlflow.models import Model

    spec = weights.read_header(checkpoint).spec
    named = Model()
    if logged is not None:
        named = Model(artifact_path=logged.artifact_location, run_id=logged.source_run_id, model_id=logged.model_id)
    mlflow.pyfunc.save_model(
        path=str(path),
        mlflow_model=named,
        python_model=str(_CODE),
        artifacts={"weights": str(checkpoint.resolve())},
        signature=signature(spec),
        input_example=pd.DataFrame({"image": [_example(spec)]}),
        pip_requirements=[f"{name}=={_version(name)}" for name in ("eyebright", "mlflow", "torch")],
    )


def signature(spec: InputSpec) -> ModelSignature:
    """An image file in, a probability for each class out."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    return ModelSignature(
        inputs=Schema([ColSpec("binary", "image")]),
        outputs=Schema([ColSpec("float", name) for name in spec.classes]),
    )


def _unfinished(client: MlflowClient, run: MLflowRun, digest: str) -> LoggedModel | None:
    where = f"source_run_id = '{run.info.run_id}' AND tags.`{_DIGEST}` = '{digest}'"
    found = client.search_logged_models([run.info.experiment_id], where, max_results=1)
    return found[0] if found else None


def _example(spec: InputSpec) -> bytes:
    """A black image of the model's size, as PNG."""
    written = io.BytesIO()
    Image.new("L" if spec.channels == 1 else "RGB", (spec.width, spec.height)).save(written, "PNG")
    return written.getvalue()


def _version(name: str) -> str:
    """Without the part after "+", which names a build that no index has."""
    return importlib.metadata.version(name).partition("+")[0]
