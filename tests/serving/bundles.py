"""Tiny bundles without training: how bright an image is, as a network of three classes in ONNX."""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from eyebright.core.files import write_json
from eyebright.core.input_spec import InputSpec
from eyebright.evaluation.score import Score
from eyebright.exporting.bundle import CARD_FILE, CERTIFICATE_FILE, EXAMPLES, MANIFEST_FILE, MODEL_FILE, digest_of
from eyebright.exporting.certificate import Certificate
from eyebright.exporting.known import KnownImages
from eyebright.exporting.manifest import Manifest, Reference

CLASSES = ("dark", "grey", "light")
SIZE = 8
SPEC = InputSpec(SIZE, SIZE, 3, (0.0,) * 3, (1.0,) * 3, CLASSES, "squash")
_LEVELS = {"dark": 20, "grey": 128, "light": 235}


def write_bundle(folder: Path, *, name: str = "shades", version: str = "1", extras: bool = False) -> Path:
    """A bundle that says how bright an image is; with `extras` it carries examples and known images.

    The embedding is the mean colour (N, 3) in 0..1 and with brightness b the logits are -8 |b - (0, 0.5, 1)|, sharp
    enough to be sure of plain shades at a risk of 0.1. Its version is only a name.
    """
    content = _network()
    reference = Reference(
        90, (128.0,) * 3, (90.0,) * 3, (0.5,) * 3, (0.35,) * 3, (0,) * 12 + (30,) * 3 + (0,) * 5, (30, 30, 30)
    )
    manifest = Manifest(
        name=name,
        version=version,
        created="2026-01-01T00:00:00+00:00",
        file=MODEL_FILE,
        format="onnx",
        precision="fp32",
        digest=digest_of(content),
        spec=SPEC,
        temperature=1.0,
        conformal={0.05: 0.9, 0.1: 0.6},
        reference=reference,
        limits=("It knows three shades.",),
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MODEL_FILE).write_bytes(content)
    write_json(folder / CERTIFICATE_FILE, _certificate().to_dict())
    (folder / CARD_FILE).write_text("# shades\n", encoding="utf-8")
    write_json(folder / MANIFEST_FILE, manifest.to_dict())
    if extras:
        _write_extras(folder)
    return folder


def write_without_risks(folder: Path) -> Path:
    """The same, exported without validation images."""
    write_bundle(folder)
    manifest = json.loads((folder / MANIFEST_FILE).read_text(encoding="utf-8"))
    write_json(folder / MANIFEST_FILE, manifest | {"conformal": {}, "reference": None})
    return folder


def png(level: int | str, size: tuple[int, int] = (SIZE, SIZE), form: str = "PNG") -> bytes:
    """A plain image of one shade, a level 0..255 or a class."""
    grey = _LEVELS[level] if isinstance(level, str) else level
    packed = io.BytesIO()
    Image.new("RGB", size, (grey,) * 3).save(packed, form)
    return packed.getvalue()


def _network() -> bytes:
    numbers: dict[str, NDArray[Any]] = {
        "axes": np.array([1, 2], np.int64),
        "white": np.array(255, np.float32),
        "third": np.full((3, 1), 1 / 3, np.float32),
        "levels": np.array([[0, 0.5, 1]], np.float32),
        "sharpness": np.array(-8, np.float32),
    }
    nodes = [
        helper.make_node("Cast", ["images"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["float", "white"], ["share"]),
        helper.make_node("ReduceMean", ["share", "axes"], ["embedding"], keepdims=0),  # (N, 3)
        helper.make_node("MatMul", ["embedding", "third"], ["brightness"]),  # (N, 1)
        helper.make_node("Sub", ["brightness", "levels"], ["apart"]),  # (N, 3)
        helper.make_node("Abs", ["apart"], ["distance"]),
        helper.make_node("Mul", ["distance", "sharpness"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "shades",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", "H", "W", 3])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 3])
            for name in ("logits", "probabilities", "embedding")
        ],
        [numpy_helper.from_array(value, name) for name, value in numbers.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(made)
    content: bytes = made.SerializeToString(deterministic=True)
    return content


def _certificate() -> Certificate:
    perfect = Score(1.0, 0.96, 1.0, 90, "wilson")
    values = dict.fromkeys((field.name for field in dataclasses.fields(Certificate)), 0)
    texts = {"format": "onnx", "precision": "fp32", "source": "shades", "split": "validation", "fingerprint": "0" * 16}
    other = {"images": 90, "measure": "difference", "tolerance": 0.001, "resizing": None, "versions": {}, "notes": ()}
    return Certificate(**values | texts | other | {"model_accuracy": perfect, "file_accuracy": perfect})  # type: ignore[arg-type]


def _write_extras(folder: Path) -> None:
    (folder / EXAMPLES).mkdir(exist_ok=True)
    levels = [_LEVELS[name] for name in CLASSES]
    for name in CLASSES:
        (folder / EXAMPLES / f"{name}.png").write_bytes(png(name))
    thumbnails = np.stack([np.full((SIZE, SIZE, 3), level, np.uint8) for level in levels])
    # The means of the thumbnails all point the same way; these tell the colours of the light apart.
    embeddings = np.eye(3, dtype=np.float32)
    KnownImages(thumbnails, embeddings, np.arange(3)).save(folder)
