"""Formats for other programs than Eyebright: torch.export, OpenVINO, ExecuTorch. Written where their packages are."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from eyebright.core.errors import ExportError, MissingExtraError
from eyebright.exporting.certify import Runner
from eyebright.exporting.graph import LOGITS
from eyebright.exporting.network import Resize, Shipped, averaged_map
from eyebright.exporting.onnx import to_onnx
from eyebright.exporting.silence import quiet
from eyebright.models.classifier import Classifier, evaluating

ForeignFormat = Literal["pt2", "openvino", "executorch"]


@dataclasses.dataclass(frozen=True)
class Foreign:
    """How one format is written.

    Attributes
    ----------
    file : name of the file in the folder.
    packages : that write it, and whose versions the certificate notes.
    any_size : whether it resizes images; else they must have the model's size.
    write : from the model, the temperature and the path to what computes the written file.
    """

    file: str
    packages: tuple[str, ...]
    any_size: bool
    write: Callable[[Classifier, float, Path], Runner]


def write_foreign(form: ForeignFormat, model: Classifier, temperature: float, folder: Path) -> Runner:
    """Write `FOREIGN[form].file` into a folder, and load it.

    Raises
    ------
    ExportError : the format cannot hold this network.
    MissingExtraError : its package is not installed.
    """
    foreign = FOREIGN[form]
    try:
        with evaluating(model), torch.no_grad(), quiet():
            return foreign.write(model, temperature, folder / foreign.file)
    except (MissingExtraError, ExportError):
        raise
    except Exception as error:  # a body may hold any code, and each of these packages has its own errors
        raise ExportError(
            f"the network {model.settings.name!r} cannot be written for {form}: {error}",
            "Export it as ONNX, which most programs read.",
        ) from error


def _pt2(model: Classifier, temperature: float, path: Path) -> Runner:
    resize = Resize(model.spec)
    network = nn.Sequential(resize, Shipped(model, temperature, averaged_map(model))).eval()
    traced = torch.export.export(network, (resize.example,), dynamic_shapes=(resize.free,))
    torch.export.save(traced, path)
    loaded: Any = torch.export.load(path).module()

    def run(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode():
            logits: NDArray[np.float32] = loaded(torch.from_numpy(images.copy()))[0].numpy()
            return logits

    return run


def _openvino(model: Classifier, temperature: float, path: Path) -> Runner:
    try:
        import openvino
    except ImportError as error:
        raise MissingExtraError("openvino", "openvino") from error

    # Of the model's size only: OpenVINO 2026.4 gives other numbers for a graph with a choice of branches in it.
    source = path.with_suffix(".onnx")
    source.write_bytes(to_onnx(model, temperature, any_size=False))
    try:
        openvino.save_model(openvino.convert_model(source), path, compress_to_fp16=False)
    finally:
        source.unlink()
    # It computes in bf16 where the processor can, unless told.
    network = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def run(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        logits: NDArray[np.float32] = network(images)[LOGITS]
        return logits.copy()  # it uses the memory again

    return run


def _executorch(model: Classifier, temperature: float, path: Path) -> Runner:
    try:
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower
        from executorch.runtime import Runtime
    except ImportError as error:
        raise MissingExtraError("executorch", "executorch") from error

    # Without the class-activation maps: XNNPACK, which computes on telephones, crashes at their convolution.
    shipped = Shipped(model, temperature, evidence=None).eval()
    traced = torch.export.export(shipped, (shipped.example[:1],))
    program = to_edge_transform_and_lower(traced, partitioner=[XnnpackPartitioner()]).to_executorch()
    path.write_bytes(program.buffer)
    loaded: Any = Runtime.get().load_program(path)

    def run(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        forward = loaded.load_method("forward")  # in here, as a method does not keep alive what it belongs to
        single = [forward.execute([torch.from_numpy(image[np.newaxis].copy())])[0].numpy().copy() for image in images]
        return np.concatenate(single)

    return run


FOREIGN: dict[ForeignFormat, Foreign] = {
    "pt2": Foreign("model.pt2", (), True, _pt2),
    "openvino": Foreign("model.xml", ("openvino",), False, _openvino),
    "executorch": Foreign("model.pte", ("executorch",), False, _executorch),
}
