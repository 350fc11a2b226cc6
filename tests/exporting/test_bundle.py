"""Reading a bundle: what it answers, without torch, and what becomes of one that is damaged."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image
from scipy.special import softmax

import eyebright as eb
from eyebright.core.errors import BundleError, DataError
from eyebright.data.decode import load_image
from eyebright.data.image_set import Splits
from eyebright.evaluation.predict import predict
from eyebright.exporting.bundle import CARD_FILE, CERTIFICATE_FILE, MANIFEST_FILE, MODEL_FILE, Bundle, is_bundle
from eyebright.exporting.known import FILE as KNOWN_FILE
from eyebright.exporting.onnx import with_metadata
from eyebright.training.run import Run


@pytest.fixture
def copied(bundle: Bundle, tmp_path: Path) -> Path:
    folder = tmp_path / "copied"
    shutil.copytree(bundle.path, folder)
    return folder


def test_it_answers_as_the_model_does(bundle: Bundle, run: Run, splits: Splits) -> None:
    images = splits.test.images
    expected = predict(run.model, splits.test)
    np.testing.assert_allclose(bundle.logits(images), expected.logits, atol=1e-4)
    np.testing.assert_allclose(
        bundle.probabilities(images), softmax(expected.logits / bundle.temperature, axis=1), atol=1e-5
    )
    assert bundle.embedding(images).shape == (45, 32)
    assert bundle.classes == run.model.spec.classes
    assert repr(bundle) == f"Bundle(test-shades {bundle.version}, fp32, 8x8x3, 3 classes)"


def test_reading_needs_no_torch(bundle: Bundle, album: Path, tmp_path: Path) -> None:
    code = (
        "import sys\nimport eyebright as eb\n"
        f"bundle = eb.open_bundle({str(bundle.path)!r})\n"
        f"print(bundle.predict({str(album / '0')!r})[0].classes[0], bundle.certificate.passed)\n"
        "bundle.explain(bundle.decode(bundle.examples[0]))\n"
        "print(sorted({'torch', 'scipy', 'sklearn', 'matplotlib', 'onnx', 'pydantic'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["dark True", "[]"]


def test_files_become_the_pixels_of_training(bundle: Bundle, tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 60, 3), dtype=np.uint8)).save(path)
    np.testing.assert_array_equal(bundle.load(path), load_image(path, bundle.spec))
    assert bundle.decode(path.read_bytes()).shape == (90, 60, 3)
    assert bundle.fit(bundle.decode(path)).shape == (8, 8, 3)


def test_files_folders_and_arrays_are_answered(bundle: Bundle, splits: Splits, album: Path) -> None:
    from_files = bundle.predict(album / "0", top=2)
    from_arrays = bundle.predict(splits.test.images[::2], top=2)
    assert [answer.classes for answer in from_files] == [answer.classes for answer in from_arrays]
    assert from_files[0].name == str(album / "0" / "00.png")
    assert len(from_files[0].probabilities) == 2
    assert from_files[0].probabilities[0] >= from_files[0].probabilities[1]
    assert bundle.predict(np.empty((0, 8, 8, 3), np.uint8)) == []
    with pytest.raises(DataError, match="no file or folder"):
        bundle.predict(album / "nowhere.png")


def test_images_of_other_sizes_are_resized_as_pillow_does(bundle: Bundle) -> None:
    image = np.random.default_rng(0).integers(0, 256, (21, 34, 3), dtype=np.uint8)
    np.testing.assert_allclose(bundle.logits(image[None]), bundle.logits(bundle.fit(image)[None]), atol=1e-5)


def test_plausible_classes(bundle: Bundle, splits: Splits) -> None:
    probabilities = bundle.probabilities(splits.validation.images)
    wide, narrow = bundle.plausible(probabilities, 0.05), bundle.plausible(probabilities, 0.1)
    assert (wide >= narrow).all()
    held = wide[np.arange(60), splits.validation.labels]
    assert held.mean() >= 0.95
    with pytest.raises(BundleError, match=r"no threshold for the risk 0\.2"):
        bundle.plausible(probabilities, 0.2)


def test_an_exact_map_explains_the_logit(bundle: Bundle, splits: Splits) -> None:
    image = splits.test.images[2]
    heat = bundle.explain(image)
    assert heat.shape == (8, 8)
    assert heat.dtype == np.float32
    assert 0 <= heat.min() <= heat.max() <= 1
    assert bundle.explain(np.repeat(image, 5, axis=0), label=0).shape == (8, 8)


def test_it_carries_images(bundle: Bundle) -> None:
    known = bundle.known
    assert known is not None
    assert len(known) == 130
    assert known.thumbnails.shape == (130, 8, 8, 3)
    _, similarity = known.nearest(bundle.embedding(known.thumbnails[:1])[0], 5)
    assert similarity[0] == pytest.approx(1, abs=2e-3)  # itself, or one as alike
    assert len(bundle.examples) == 12
    assert {bundle.load(path).shape for path in bundle.examples} == {(8, 8, 3)}


def test_a_single_file_says_the_same(bundle: Bundle, tmp_path: Path) -> None:
    about = {
        "bundle": bundle.manifest.to_dict(),
        "certificate": bundle.certificate.to_dict(),
        "card": bundle.card,
    }
    path = tmp_path / "model.onnx"
    path.write_bytes(with_metadata((bundle.path / MODEL_FILE).read_bytes(), json.dumps(about)))
    assert is_bundle(path)
    single = eb.open_bundle(path)
    assert single.manifest == bundle.manifest
    assert single.certificate == bundle.certificate
    assert single.card == bundle.card
    assert single.known is None
    assert single.examples == ()


def rewritten(**changes: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / MANIFEST_FILE
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


def cut(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])

    return change


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / MANIFEST_FILE).unlink(), "holds no bundle.json"),
        (lambda folder: (folder / MODEL_FILE).unlink(), "cannot be read: No such file"),
        (lambda folder: (folder / CARD_FILE).unlink(), "cannot be read: No such file"),
        (cut(MANIFEST_FILE), "is not JSON"),
        (cut(CERTIFICATE_FILE), "is not JSON"),
        (cut(MODEL_FILE), "is not the file that bundle.json was written for"),
        (lambda folder: (folder / MANIFEST_FILE).write_bytes(b"\xff{}"), "is not JSON"),
        (lambda folder: (folder / MANIFEST_FILE).write_text("[]"), "does not describe a bundle"),
        (lambda folder: (folder / CERTIFICATE_FILE).write_text("{}"), "is damaged"),
        (rewritten(format_version=99), "has the format 99"),
        (rewritten(format="pt2"), "is for other programs"),
        (rewritten(input_spec={}), "is damaged"),
        (rewritten(temperature=0), "is damaged"),
        (rewritten(file="../../../etc/passwd"), r"copied/passwd cannot be read"),
    ],
)
def test_a_damaged_folder_is_refused(copied: Path, damage: Callable[[Path], object], message: str) -> None:
    damage(copied)
    with pytest.raises(BundleError, match=message) as caught:
        eb.open_bundle(copied)
    assert caught.value.remedy


def test_damaged_known_images_are_refused(copied: Path) -> None:
    cut(KNOWN_FILE)(copied)
    opened = eb.open_bundle(copied)
    with pytest.raises(BundleError, match=r"known\.npz is damaged"):
        _ = opened.known


def test_other_things_are_no_bundles(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="there is no bundle"):
        eb.open_bundle(tmp_path / "nothing")
    with pytest.raises(BundleError, match="is not a bundle"):
        eb.open_bundle(tmp_path)
    text = tmp_path / "text.onnx"
    text.write_text("no network")
    with pytest.raises(BundleError, match="is not a network"):
        eb.open_bundle(text)
    foreign = tmp_path / "foreign.onnx"
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["x"], ["y"])], "g", [value], [value])
    graph.output[0].name = "y"
    opset = [onnx.helper.make_opsetid("", 18)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=10), foreign)
    with pytest.raises(BundleError, match="not one that Eyebright exported"):
        eb.open_bundle(foreign)
    assert not is_bundle(tmp_path)
