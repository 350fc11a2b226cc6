"""`Graph`: an exported network that ONNX Runtime computes. No torch."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from eyebright.core.errors import BundleError, MissingExtraError, ModelError
from eyebright.core.processor import available_threads

if TYPE_CHECKING:
    import onnxruntime

# Names that every exported graph gives to its input and outputs. "evidence" is there where the class-activation map of
# a network is exact: a mean over the map, then a linear layer.
IMAGES, LOGITS, PROBABILITIES, EMBEDDING, EVIDENCE = "images", "logits", "probabilities", "embedding", "evidence"

# The one key of the file's metadata under which a bundle in a single file keeps the rest.
METADATA_KEY = "eyebright"

_BATCH = 64  # images computed at a time: beyond it throughput no longer grows, but memory does
_SILENT = 4  # severity of ONNX Runtime's log: what fails raises too, and it warns of what nobody can change


@dataclasses.dataclass(frozen=True, eq=False)
class Graph:
    """A loaded network; safe to use from several threads.

    Attributes
    ----------
    session : of ONNX Runtime, on the CPU: the certificate is about no other.
    """

    session: onnxruntime.InferenceSession

    @classmethod
    def load(cls, content: bytes, source: str, threads: int | None = None) -> Graph:
        """Read an ONNX file.

        Parameters
        ----------
        content : of the file. As bytes it can name no other file to be read.
        source : what errors call it.
        threads : that compute one batch; default: those this process may use.

        Raises
        ------
        BundleError : it is not an ONNX file, or is one that ONNX Runtime cannot compute.
        MissingExtraError : ONNX Runtime is not installed.
        """
        try:
            import onnxruntime
        except ImportError as error:
            raise MissingExtraError("onnxruntime", "export") from error

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or available_threads()
        options.log_severity_level = _SILENT
        # Threads that wait in a loop take the cores from those that decode images.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            return cls(onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"]))
        except Exception as error:  # it has a class for each of its codes, and no common one
            raise BundleError(
                f"{source} is not a network that ONNX Runtime can compute: {error}",
                "Copy it again from where it came, or export the run again: eyebright export RUN OUT",
            ) from error

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs."""
        return tuple(output.name for output in self.session.get_outputs())

    @property
    def metadata(self) -> dict[str, Any] | None:
        """What a bundle in a single file keeps in it; None where the file holds the network only."""
        text = self.session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
        if text is None:
            return None
        try:
            value: dict[str, Any] = json.loads(text)
        except ValueError:
            return {}
        return value

    def run(self, images: NDArray[np.uint8], outputs: Sequence[str]) -> tuple[NDArray[np.float32], ...]:
        """Compute some of the outputs for images (N, H, W, C) uint8 of one size, whatever it is.

        Raises
        ------
        ModelError : the array is no such images.
        """
        channels = self.session.get_inputs()[0].shape[3]
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != channels or 0 in images.shape[1:]:
            raise ModelError(
                f"the model takes images (N, H, W, {channels}) uint8 but got {images.shape} {images.dtype}.",
                "Read files with Bundle.load, which gives such arrays, or stack arrays of one size.",
            )
        starts = range(0, max(1, len(images)), _BATCH)
        parts = [self.session.run(list(outputs), {IMAGES: images[start : start + _BATCH]}) for start in starts]
        return parts[0] if len(parts) == 1 else tuple(map(np.concatenate, zip(*parts, strict=True)))
