"""Formats of other programs, each where its packages are. Tracing for them takes seconds."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from eyebright.core.errors import BundleError, ExportError, MissingExtraError
from eyebright.data.image_set import Splits
from eyebright.exporting import foreign, write
from eyebright.exporting.bundle import open_bundle
from eyebright.exporting.certify import Runner
from eyebright.training.run import Run


@pytest.mark.slow
@pytest.mark.parametrize("form", ["pt2", "openvino", "executorch"])
def test_it_answers_as_the_model_does(
    run: Run, splits: Splits, traced: bytes, tmp_path: Path, form: foreign.ForeignFormat
) -> None:
    for package in foreign.FOREIGN[form].packages:
        pytest.importorskip(package)
    certificate = write.export_for(form, run, tmp_path / form, check=splits.test, calibrate=splits.validation)
    assert certificate.passed
    assert certificate.flips == 0
    assert (certificate.resizing is not None) == (form == "pt2")
    manifest = json.loads((tmp_path / form / "bundle.json").read_text())
    assert (manifest["format"], manifest["file"]) == (form, foreign.FOREIGN[form].file)
    assert (tmp_path / form / manifest["file"]).stat().st_size > 0
    assert manifest["file"] in (tmp_path / form / "MODEL_CARD.md").read_text()
    with pytest.raises(BundleError, match=f"in the format {form}, which is for other programs"):
        open_bundle(tmp_path / form)


def test_what_fails_leaves_nothing(
    run: Run, splits: Splits, traced: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> Runner:
        raise RuntimeError("no such operator")

    monkeypatch.setitem(foreign.FOREIGN, "pt2", foreign.Foreign("model.pt2", (), True, broken))
    with pytest.raises(ExportError, match="cannot be written for pt2: no such operator"):
        write.export_for("pt2", run, tmp_path / "out", check=splits.test)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("form", ["openvino", "executorch"])
def test_a_missing_package_is_named(
    run: Run,
    splits: Splits,
    traced: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    form: foreign.ForeignFormat,
) -> None:
    monkeypatch.setitem(sys.modules, form, None)
    for module in list(sys.modules):
        if module.startswith(f"{form}."):
            monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=rf"eyebright\[{form}\]"):
        write.export_for(form, run, tmp_path / "out", check=splits.test)
