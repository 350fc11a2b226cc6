"""The record: what it says, when it passes, and that it survives JSON."""

from __future__ import annotations

import dataclasses
import json

import pytest

from eyebright.core.errors import BundleError
from eyebright.evaluation.intervals import proportion
from eyebright.exporting.certificate import Certificate, Resizing

CERTIFICATE = Certificate(
    format="onnx",
    precision="fp32",
    source="shades",
    split="test",
    images=100,
    fingerprint="0123456789abcdef",
    max_difference=2e-6,
    mean_difference=1e-7,
    flips=0,
    model_accuracy=proportion(90, 100),
    file_accuracy=proportion(88, 100),
    resizing=Resizing(16, 1e-6, 0),
    single_milliseconds=0.5,
    images_per_second=4000.0,
    bytes=1_500_000,
    measure="difference",
    tolerance=1e-3,
    versions={"torch": "2"},
    notes=("One view.",),
)


def test_it_prints_itself() -> None:
    text = repr(CERTIFICATE)
    assert "max |d logit|  2e-06" in text
    assert "label flips    0" in text
    assert "0.900 [0.826, 0.945] n=100 PyTorch" in text
    assert "16 images" in text
    assert text.endswith("One view.")


@pytest.mark.parametrize(
    ("changes", "passed"),
    [
        ({}, True),
        ({"max_difference": 2e-3}, False),
        ({"max_difference": float("nan")}, False),
        ({"resizing": Resizing(16, 0.5, 0)}, False),
        ({"resizing": Resizing(16, float("nan"), 0)}, False),
        ({"resizing": None}, True),
        ({"measure": "accuracy", "tolerance": 0.03, "max_difference": 9.0}, True),
        ({"measure": "accuracy", "tolerance": 0.01}, False),
    ],
    ids=str,
)
def test_it_passes_within_its_tolerance(changes: dict[str, object], passed: bool) -> None:
    certificate = dataclasses.replace(CERTIFICATE, **changes)  # type: ignore[arg-type]
    assert certificate.passed == passed
    assert ("within" in certificate.verdict) == passed


def test_it_survives_json() -> None:
    for certificate in (CERTIFICATE, dataclasses.replace(CERTIFICATE, resizing=None)):
        assert Certificate.from_dict(json.loads(json.dumps(certificate.to_dict())), "x") == certificate


@pytest.mark.parametrize("value", [None, {}, [], {"resizing": None}], ids=str)
def test_a_damaged_one_is_refused(value: object) -> None:
    with pytest.raises(BundleError, match="the certificate of x is damaged"):
        Certificate.from_dict(value, "x")
