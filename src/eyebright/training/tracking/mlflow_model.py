"""The code that MLflow keeps with a model and runs when the model is loaded ("models from code"). Not to be imported.

In: a table with a column `image`: image files as bytes, their paths as `pathlib.Path`, or uint8 pixels (H, W, C);
outside of MLflow's schema also uint8 pixels (N, H, W, C). Served, an image is its file in base64. A path that is mere
text is refused, for it may come from somebody who asks a server, and who is not to choose among the server's files.
Out: a column of probabilities for each class.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
import pandas as pd
import torch
from mlflow.models import set_model
from mlflow.pyfunc import PythonModelContext
from numpy.typing import NDArray

from eyebright.core.errors import DataError
from eyebright.data.decode import load_image
from eyebright.models import weights

_IMAGES_AT_A_TIME = 64


class ImageClassifier(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
    """Resizes as in training, and answers in fp32 as an exported model does."""

    def load_context(self, context: PythonModelContext) -> None:
        """Read the weights."""
        path = Path(context.artifacts["weights"])
        # To load a model of MLflow is to run its code; so a custom network's is meant too.
        self.model = weights.load(path, expected=weights.read_header(path).settings)

    def predict(self, model_input: pd.DataFrame) -> pd.DataFrame:
        """Probabilities (N, K) float32, a column a class.

        Raises
        ------
        DataError : the input is none of those that the module names.
        BadImageError : a file cannot be decoded.
        """
        given: Any = model_input
        if isinstance(given, pd.DataFrame):
            given = given["image"]
        found = [np.zeros((0, len(self.model.spec.classes)), dtype=np.float32)]
        with torch.inference_mode():
            for first in range(0, len(given), _IMAGES_AT_A_TIME):
                some = [self._pixels(image) for image in list(given[first : first + _IMAGES_AT_A_TIME])]
                images = torch.from_numpy(np.stack(some)).permute(0, 3, 1, 2)  # (B, C, H, W)
                found.append(self.model(images).softmax(dim=1).numpy())
        return pd.DataFrame(np.concatenate(found), columns=list(self.model.spec.classes))

    def _pixels(self, image: Any) -> NDArray[np.uint8]:
        spec = self.model.spec
        if isinstance(image, Path | bytes):
            return load_image(image, spec)
        shape = (spec.height, spec.width, spec.channels)
        if isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.shape == shape:
            return image
        what = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise DataError(
            f"{what} is no image.",
            f"Give a file as bytes, its path as pathlib.Path, or uint8 pixels {shape} (height, width, channels).",
        )


set_model(ImageClassifier())
