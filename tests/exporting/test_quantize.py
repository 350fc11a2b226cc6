"""Eight bits."""

from __future__ import annotations

import numpy as np
import onnx

from eyebright.data.image_set import Splits
from eyebright.exporting.bundle import Bundle
from eyebright.exporting.graph import LOGITS, Graph
from eyebright.exporting.quantize import quantized


def test_convolutions_take_eight_bits_and_answers_stay_close(traced: bytes, bundle: Bundle, splits: Splits) -> None:
    small = quantized(traced, splits.validation)
    weights = [tensor for tensor in onnx.load_model_from_string(small).graph.initializer if len(tensor.dims) == 4]
    kinds = {tuple(tensor.dims): tensor.data_type for tensor in weights}
    assert kinds[32, 32, 3, 3] == onnx.TensorProto.INT8
    assert kinds[32, 3, 3, 3] == onnx.TensorProto.FLOAT  # the first: it reads the pixels
    graph = Graph.load(small, "int8")
    exact, found = bundle.logits(splits.test.images), graph.run(splits.test.images, [LOGITS])[0]
    assert 0 < np.abs(exact - found).max() < 0.1 * np.abs(exact).max()
    assert graph.outputs == bundle.graph.outputs
    larger = np.repeat(splits.test.images, 3, axis=1)
    assert graph.run(larger, [LOGITS])[0].shape == (45, 3)
