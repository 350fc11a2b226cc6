"""Writing a classifier as ONNX, with its preprocessing inside the graph."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import torch

from eyebright.core.errors import ExportError, MissingExtraError
from eyebright.data.streaming import Decoding
from eyebright.exporting.graph import EMBEDDING, EVIDENCE, IMAGES, LOGITS, METADATA_KEY, PROBABILITIES
from eyebright.exporting.network import Resize, Shipped, averaged_map
from eyebright.exporting.silence import quiet
from eyebright.models.classifier import Classifier, evaluating

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto

OPSET = 18  # of December 2022: every runtime of today reads it, the browser's too
_FITTED = "fitted"  # images of the model's size, between resizing and network
_HALVED_FROM = 256  # numbers; smaller tensors save nothing


def to_onnx(model: Classifier, temperature: float = 1.0, *, any_size: bool = True) -> bytes:
    """The content of an ONNX file: images uint8 (N, H, W, C) to logits, probabilities and embedding.

    Where the class-activation map is exact, a fourth output "evidence" (N, K, h, w) has those of all classes.

    Parameters
    ----------
    model : on the CPU; given back as it was.
    temperature : divides the logits before the softmax.
    any_size : whether images of other sizes are resized; those of the model's size pass by, bit for bit.

    Raises
    ------
    ExportError : PyTorch cannot trace the network.
    MissingExtraError : the exporter's packages are not installed.
    """
    import onnx

    evidence = averaged_map(model)
    outputs = [LOGITS, PROBABILITIES, EMBEDDING, *([EVIDENCE] if evidence is not None else [])]
    with evaluating(model):
        content = _traced(Shipped(model, temperature, evidence).eval(), outputs, model.settings.name)
    if not any_size:
        return content
    spec = model.spec
    resizing = _resizing(Decoding(spec.height, spec.width, spec.channels, spec.resize, spec.interpolation))
    network = onnx.compose.add_prefix(onnx.load_model_from_string(content), "model/", rename_outputs=False)
    joined = onnx.compose.merge_models(
        onnx.load_model_from_string(resizing), network, io_map=[(_FITTED, f"model/{IMAGES}")]
    )
    del joined.opset_import[1:]  # the same for both parts, and written twice
    made: bytes = joined.SerializeToString(deterministic=True)
    return made


def with_metadata(content: bytes, text: str) -> bytes:
    """The same file, carrying `text` under the key that `Graph.metadata` reads."""
    import onnx

    proto = onnx.load_model_from_string(content)
    onnx.helper.set_model_props(proto, {METADATA_KEY: text})
    made: bytes = proto.SerializeToString(deterministic=True)
    return made


def halved(content: bytes) -> bytes:
    """The same network with its weights stored as float16: half the size, the same speed.

    They are turned back when the file is loaded, so that everything is computed in float32 on any processor.
    """
    import numpy as np
    import onnx
    from onnx import numpy_helper

    proto = onnx.load_model_from_string(content)
    kept, casts = [], []
    for tensor in proto.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < _HALVED_FROM:
            kept.append(tensor)
            continue
        stored = f"{tensor.name}.stored"
        kept.append(numpy_helper.from_array(values.astype(np.float16), stored))
        casts.append(onnx.helper.make_node("Cast", [stored], [tensor.name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *proto.graph.node]
    del proto.graph.initializer[:], proto.graph.node[:]
    proto.graph.initializer.extend(kept)
    proto.graph.node.extend(nodes)
    made: bytes = proto.SerializeToString(deterministic=True)
    return made


@functools.cache
def _resizing(target: Decoding) -> bytes:
    """The network that brings images to the model's size."""
    import onnx

    proto = onnx.load_model_from_string(_traced(Resize(target), [_FITTED], "resize"))
    _pass_by(proto.graph)
    content: bytes = proto.SerializeToString(deterministic=True)
    return content


def _traced(network: Shipped | Resize, outputs: list[str], name: str) -> bytes:
    try:
        import onnxscript  # noqa: F401 - the exporter needs it, and says so at length
    except ImportError as error:
        raise MissingExtraError("onnxscript", "export") from error
    try:
        with quiet(), torch.no_grad():
            program: Any = torch.onnx.export(
                network,
                (network.example,),
                dynamo=True,
                dynamic_shapes=(network.free,),
                input_names=[IMAGES],
                output_names=outputs,
                opset_version=OPSET,
                verbose=False,
            )
    except Exception as error:  # a body may hold any code, and the tracer has many errors
        reason = next((line for line in reversed(str(error).splitlines()) if line.strip()), type(error).__name__)
        raise ExportError(
            f"PyTorch cannot write the network {name!r} as a graph: {reason}",
            "Try torch.export.export(model.body, ...) by itself: it names the line that depends on the images' values.",
        ) from error
    proto: ModelProto = program.model_proto
    _forget_where_it_was_made(proto.graph)
    content: bytes = proto.SerializeToString(deterministic=True)
    return content


def _pass_by(graph: GraphProto) -> None:
    """Let images of the model's size through as they are, where the tracer has them selected row by row."""
    import onnx

    choice = next(node for node in graph.node if node.op_type == "If")
    branch = next(attribute.g for attribute in choice.attribute if attribute.name == "then_branch")
    inner = {name for node in branch.node for name in node.output} | {tensor.name for tensor in branch.initializer}
    (images,) = {name for node in branch.node if node.op_type == "Gather" for name in node.input[:1]} - inner
    del branch.node[:], branch.initializer[:], branch.value_info[:]
    branch.node.append(onnx.helper.make_node("Identity", [images], [branch.output[0].name]))
    used = _read_by(graph)
    wanted = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(wanted)


def _read_by(graph: GraphProto) -> set[str]:
    """Names of all values that the nodes of a graph, and of the graphs inside of it, take in."""
    used = {output.name for output in graph.output}
    for node in graph.node:
        used.update(node.input)
        for attribute in node.attribute:
            if attribute.HasField("g"):
                used |= _read_by(attribute.g)
    return used


def _forget_where_it_was_made(graph: GraphProto) -> None:
    """Drop what the tracer notes about the source code, with the paths of this machine."""
    for each in (graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        each.doc_string = ""
        del each.metadata_props[:]
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _forget_where_it_was_made(attribute.g)
