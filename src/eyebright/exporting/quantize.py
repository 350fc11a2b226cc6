"""Static quantisation to int8: weights and activations in eight bits, a fourth of the size."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from eyebright.data.image_set import ImageSet
from eyebright.exporting.graph import EVIDENCE, IMAGES, LOGITS
from eyebright.exporting.silence import quiet

if TYPE_CHECKING:
    from onnx import GraphProto

_CALIBRATED_ON = 512  # images: the ranges of activations no longer grow with more
_BATCH = 32
# What costs time; the rest stays in float32.
_OPERATORS = ["Conv", "MatMul", "Gemm"]


def quantized(content: bytes, images: ImageSet) -> bytes:
    """The same network with int8 weights, a scale for each channel, and uint8 activations.

    Ranges of activations are those that the images reach. The preprocessing is left as it is.

    Parameters
    ----------
    content : of an ONNX file by `to_onnx`.
    images : of the model's size, like those that will be asked about: the validation images.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # untyped
        """Batches of images, as the quantiser asks for them."""

        def __init__(self) -> None:
            self.batches = _batches(images)

        def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
            return next(self.batches, None)

    proto = onnx.load_model_from_string(content)
    with tempfile.TemporaryDirectory() as folder, quiet():  # it advises steps that have been taken
        path = Path(folder) / "int8.onnx"
        quantize_static(
            proto,
            path,
            Reader(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=_OPERATORS,
            nodes_to_exclude=_exact(proto.graph),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        return path.read_bytes()


def _exact(graph: GraphProto) -> list[str]:
    """Layers of few products that most flips come from: a first convolution, and the last layer."""
    first = [node.name for node in graph.node if node.op_type in _OPERATORS][:1]
    return [
        node.name
        for node in graph.node
        if {LOGITS, EVIDENCE} & set(node.output) or (node.op_type == "Conv" and node.name in first)
    ]


def _batches(images: ImageSet) -> Iterator[dict[str, NDArray[np.uint8]]]:
    chosen = images.take(np.linspace(0, len(images) - 1, min(len(images), _CALIBRATED_ON)).astype(np.int64))
    for start in range(0, len(chosen), _BATCH):
        yield {IMAGES: chosen.take(range(start, min(start + _BATCH, len(chosen)))).images}
