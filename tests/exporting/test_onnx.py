"""What every registered model promises of its ONNX file. Each is traced once, which takes PyTorch seconds."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import softmax
from torch import Tensor, nn

from eyebright.core.errors import ExportError
from eyebright.core.input_spec import InputSpec
from eyebright.core.settings.model import CustomSettings, ModelSettings
from eyebright.data.decode import fit
from eyebright.exporting.bundle import Bundle
from eyebright.exporting.graph import EMBEDDING, EVIDENCE, LOGITS, PROBABILITIES, Graph
from eyebright.exporting.onnx import halved, to_onnx, with_metadata
from eyebright.models import registry
from eyebright.models.classifier import Classifier

SPEC = InputSpec(32, 32, 3, (0.4, 0.5, 0.6), (0.2, 0.25, 0.3), ("cat", "dog", "frog"), "pad", "bicubic")
TEMPERATURE = 1.7


def images(count: int, height: int = 32, width: int = 32) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def expected(model: Classifier, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    with torch.inference_mode():
        logits: NDArray[np.float32] = model(torch.from_numpy(pixels.copy()).permute(0, 3, 1, 2)).numpy()
        return logits


@pytest.mark.slow  # the tracer
@pytest.mark.parametrize("settings", registry.example_settings(), ids=registry.names())
def test_it_answers_as_the_model_does(settings: ModelSettings) -> None:
    model = registry.build(settings, SPEC).eval()
    content = to_onnx(model, TEMPERATURE)
    graph = Graph.load(content, "test.onnx", threads=1)
    pixels = images(5)
    logits, probabilities, embedding = graph.run(pixels, [LOGITS, PROBABILITIES, EMBEDDING])
    wanted = expected(model, pixels)
    # An untrained network may give logits of any size; what counts is the difference relative to them.
    close = 1e-5 * max(1.0, float(np.abs(wanted).max()))
    np.testing.assert_allclose(logits, wanted, atol=close)
    assert (logits.argmax(axis=1) == wanted.argmax(axis=1)).all()
    np.testing.assert_allclose(probabilities, softmax(logits / TEMPERATURE, axis=1), atol=1e-5)
    with torch.inference_mode():
        features = model.features(torch.from_numpy(pixels).permute(0, 3, 1, 2)).numpy()
    np.testing.assert_allclose(embedding, features, atol=1e-5 * max(1.0, float(np.abs(features).max())))
    if EVIDENCE in graph.outputs:
        (evidence,) = graph.run(pixels, [EVIDENCE])  # (N, K, h, w): its mean is the logit but for the bias
        assert isinstance(model.head, nn.Linear)
        bias = model.head.bias.detach().numpy()
        np.testing.assert_allclose(evidence.mean(axis=(2, 3)) + bias, wanted, atol=2 * close)
    for height, width in ((45, 32), (20, 90)):
        other = images(2, height, width)
        fitted = np.stack([fit(image, 32, 32, SPEC.resize, SPEC.interpolation) for image in other])
        np.testing.assert_allclose(graph.run(other, [LOGITS])[0], expected(model, fitted), atol=close)


def test_the_file_tells_nothing_of_the_machine_that_made_it(traced: bytes) -> None:
    onnx.checker.check_model(traced)
    assert b"site-packages" not in traced
    assert b"eyebright/" not in traced


def test_images_of_the_models_size_are_not_touched(traced: bytes) -> None:
    proto = onnx.load_model_from_string(traced)
    (choice,) = [node for node in proto.graph.node if node.op_type == "If"]
    (branch,) = [attribute.g for attribute in choice.attribute if attribute.name == "then_branch"]
    assert [node.op_type for node in branch.node] == ["Identity"]


def test_halved_weights_take_half_the_size_and_answer_almost_the_same(traced: bytes, bundle: Bundle) -> None:
    small = halved(traced)
    pixels = np.random.default_rng(1).integers(0, 256, (20, 8, 8, 3), dtype=np.uint8)
    logits, exact = Graph.load(small, "small").run(pixels, [LOGITS])[0], bundle.logits(pixels)
    assert len(traced) - len(small) > 0.4 * 4 * 32 * 32 * 9  # most weights are those of the second convolution
    assert 0 < np.abs(logits - exact).max() < 0.01 * np.abs(exact).max()


def test_metadata_comes_back(traced: bytes) -> None:
    assert Graph.load(traced, "without").metadata is None
    assert Graph.load(with_metadata(traced, '{"é": 1}'), "with").metadata == {"é": 1}


class Unwritable(nn.Module):
    """Its path depends on the pixels, which no graph can say."""

    def forward(self, x: Tensor) -> Tensor:
        features = x.mean(dim=(2, 3))
        return features if bool(features.sum() > 0) else features * 2


def unwritable_body(spec: InputSpec) -> nn.Module:
    return Unwritable()


def test_a_network_that_cannot_be_traced_is_an_error_with_a_remedy() -> None:
    settings = CustomSettings(target=f"{__name__}:unwritable_body", features=3)
    model = Classifier(Unwritable(), nn.Linear(3, 3), SPEC, settings).train()
    with pytest.raises(ExportError, match="PyTorch cannot write the network 'custom' as a graph"):
        to_onnx(model)
    assert model.training
