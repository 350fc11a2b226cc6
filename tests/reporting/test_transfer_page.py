from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from eyebright.audit.comparison import compare
from eyebright.evaluation.metrics import evaluate
from eyebright.insight.parts import Missing
from eyebright.reporting.transfer_page import write_transfer_page
from eyebright.transfers.result import Transfer, Way

from .conftest import ANIMALS, predictions, read


@pytest.fixture(name="shown")
def shown_fixture(tmp_path: Path) -> Transfer:
    scratch, probe = predictions(ANIMALS, 80, seed=0), predictions(ANIMALS, 80, seed=0)
    probe = dataclasses.replace(probe, logits=probe.logits * 0)  # says always the first class
    compared = compare(scratch, probe)
    return Transfer(
        run="runs/<b>",
        recipe="farm/<i>",
        data="animals",
        classes={"cat": "cat", "hound": "dog"},
        images=80,
        guessing=0.31,
        epochs=7,
        ways=(
            Way("as it is", 0, evaluate(scratch)),
            Way("linear probe", 50, evaluate(probe), compared.difference, compared.p),
            Way("from scratch", 50, evaluate(scratch)),
        ),
        missing=(Missing("fine-tuned, 50 labels", "it holds a custom model.", "Load it."),),
        folder=tmp_path,
    )


def test_every_way_stands_with_its_interval_and_its_classes(shown: Transfer, tmp_path: Path) -> None:
    html = write_transfer_page(shown, tmp_path / "page.html").read_text()
    assert "://" not in html
    reader = read(html)
    text = " ".join(text for _, text in reader.texts)
    for expected in (
        "farm/<i>",
        "runs/<b>",
        "linear probe",
        "hound = dog",
        "Guessing the most frequent class has 31.0",
        "50 labels, against training from scratch: linear probe",
        "With 50 labels",
        "The model as it is",
        "fine-tuned, 50 labels : it holds a custom model. Load it.",
    ):
        assert expected in text
    for way in shown.ways:
        assert f"{100 * way.scores.accuracy.value:.1f}" in text
    assert html.count('<svg class="interval"') == 3
    assert html.count('<svg class="interval difference') == 1
    rows = [text for text in reader.said("th") if text in ANIMALS]
    assert rows == [*ANIMALS, *ANIMALS]  # once as it is, once with 50 labels
