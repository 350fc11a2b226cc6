"""A run that was never run, and a reader of HTML that forgives nothing."""

from __future__ import annotations

import dataclasses
import html.parser
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from eyebright.core.recipe import Recipe
from eyebright.core.settings.data import DataSettings
from eyebright.core.settings.model import SimpleCNNSettings
from eyebright.evaluation.predictions import Predictions

ANIMALS = ("cat", "dog", "owl", "fox")
VOID = {"meta", "link", "br", "img", "hr", "input"}
SHAPES = {"rect", "line", "circle", "polyline", "polygon"}


@dataclasses.dataclass(frozen=True)
class FakeRun:
    """The part of a run that a report reads."""

    recipe: Recipe
    history: list[dict[str, float]]
    environment: dict[str, str]
    data: dict[str, Any]
    predicted: dict[str, Predictions]

    def predictions(self, split: str) -> Predictions | None:
        return self.predicted.get(split)


def predictions(classes: tuple[str, ...], n: int, split: str = "test", seed: int = 0) -> Predictions:
    generator = np.random.default_rng(seed)
    labels = generator.integers(len(classes), size=n)
    logits = generator.normal(size=(n, len(classes))).astype(np.float32)
    logits[np.arange(n), labels] += 2
    return Predictions(logits, labels, np.arange(n), classes, split, "animals")


def history(epochs: int, validation: bool = True) -> list[dict[str, float]]:
    records = []
    for epoch in range(1, epochs + 1):
        record = {"epoch": epoch, "train_loss": 2 / epoch, "train_accuracy": 1 - 0.5 / epoch, "seconds": 2.5}
        if validation:  # best at epoch 3
            record["validation_loss"] = 1 + 0.1 * abs(epoch - 3)
            record["validation_accuracy"] = 0.8 - 0.01 * abs(epoch - 3)
        records.append(record)
    return records


def fake_run(
    classes: tuple[str, ...] = ANIMALS,
    n: int = 200,
    epochs: int = 5,
    validation: bool = True,
    splits: tuple[str, ...] = ("test",),
    bad: int = 0,
) -> FakeRun:
    recipe = Recipe(
        name="animals/first", description="A first try.", data=DataSettings(source="animals"), model=SimpleCNNSettings()
    )
    data: dict[str, Any] = {"train": {"n": 1000, "fingerprint": "aaaa"}, "test": {"n": n, "fingerprint": "cccc"}}
    data["validation"] = {"n": 100 if validation else 0, "fingerprint": "bbbb"}
    data["bad"] = [{"name": f"cat/{number}.jpg", "reason": "truncated"} for number in range(bad)]
    environment = {
        "torch": "2.0",
        "processor": "A Processor",
        "plan": "cpu, fp32",
        "command": "eyebright train animals",
    }
    found = {split: predictions(classes, n, split) for split in splits}
    return FakeRun(recipe, history(epochs, validation), environment, data, found)


class Reader(html.parser.HTMLParser):
    """Collects elements and texts, and checks that every element is closed in its turn."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in SHAPES, f"<{tag}/> does not close itself in HTML"
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append((self.open[-1] if self.open else "", " ".join(data.split())))

    def of(self, tag: str, style: str = "") -> list[dict[str, str]]:
        """Attributes of the elements with this tag and CSS class."""
        wanted = set(style.split())
        return [found for name, found in self.elements if name == tag and wanted <= set(found.get("class", "").split())]

    def said(self, tag: str) -> list[str]:
        """Texts directly inside elements with this tag."""
        return [text for inside, text in self.texts if inside == tag]


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == []
    for tag, attributes in reader.elements:
        for name, value in attributes.items():
            assert "nan" not in value.split(), f"{tag} {name}={value}"
            assert all(
                math.isfinite(float(part)) for part in [value] if name in {"x", "y", "cx", "cy"} and "%" not in part
            )
    return reader


ReadPage = Callable[[str], Reader]


@pytest.fixture(name="run")
def run_fixture() -> FakeRun:
    return fake_run(bad=2)
