"""A run that was never run, and a reader of HTML that forgives nothing."""

from __future__ import annotations

import dataclasses
import html.parser
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from eyebright.audit.case import Remark
from eyebright.core.recipe import Recipe
from eyebright.core.settings.data import DataSettings
from eyebright.core.settings.model import SimpleCNNSettings
from eyebright.data.image_set import ImageSet, ImageStore
from eyebright.evaluation.predictions import Predictions
from eyebright.evaluation.score import Score
from eyebright.insight.activation_maps import ActivationMaps
from eyebright.insight.embedding import Embedding
from eyebright.insight.faithfulness import Faithfulness
from eyebright.insight.findings import Findings
from eyebright.insight.inside import Filters, LayerActivity, StageActivity
from eyebright.insight.parts import Augmented, EmbeddedImages, NearestTraining, ShownMaps
from eyebright.insight.reliance import ClassReliance, Reliance
from eyebright.insight.sanity import Sanity
from eyebright.insight.thumbnails import Thumbnails

ANIMALS = ("cat", "dog", "owl", "fox")
VOID = {"meta", "link", "br", "img", "hr", "input"}
SHAPES = {"path", "rect", "line", "circle", "polyline", "polygon"}


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


def score(value: float, margin: float = 0.1, n: int = 50) -> Score:
    return Score(value, value - margin, value + margin, n, "made up")


def small_images(n: int, seed: int = 0, edge: int = 6, channels: int = 3) -> NDArray[np.uint8]:
    """(n, edge, edge, channels) of noise, no two alike."""
    return np.random.default_rng(seed).integers(0, 256, (n, edge, edge, channels), dtype=np.uint8)


def image_set(made: Predictions, files: bool = True) -> ImageSet:
    """Images of the predictions, in a folder that does not exist."""
    names = [f"{made.classes[label]}/{row}.png" for row, label in enumerate(made.labels.tolist())]
    root = Path("photos") if files else None
    store = ImageStore(small_images(len(made)), made.labels, names, made.classes, made.source, root=root)
    return ImageSet(store, np.arange(len(made)), made.split)


def activation_maps(images: ImageSet, trusted: bool) -> ActivationMaps:
    """Maps that were made of nothing, with what checks might say of them."""
    gain = score(0.5 if trusted else 0.05)
    faithful = Faithfulness(score(0.2), score(0.7), score(0.3), score(0.5), gain)
    maps = np.random.default_rng(1).random((len(images), 6, 6), dtype=np.float32)
    sane = Sanity(score(0.1))
    return ActivationMaps(
        maps, images.labels, images.index, "grad_cam", "body.stage2", "Made up.", faithful, sane, images
    )


def reliance(classes: tuple[str, ...], trusted: bool) -> Reliance:
    def row(name: str, least: float) -> ClassReliance:
        drops = [score(0.3), score(least), score(0.1), score(0.2)]
        return ClassReliance(name, 50, score(0.8), score(0.5), score(0.7), score(0.7), *drops)

    per_class = tuple(row(name, 0.01 * place) for place, name in enumerate(classes))
    return Reliance("grad_cam at body.stage2", 0.2, trusted, row("all", 0.02), per_class)


def layer_activity() -> LayerActivity:
    return LayerActivity(
        "stage1.relu", np.array([0.5, 0.0]), np.array([1.0, 0.0]), np.array([0.4, 1.0]), np.array([False, True])
    )


def findings(made: Predictions, *, files: bool = True, trusted: bool = True) -> Findings:
    """Everything that a report can show, of noise."""
    images, n = image_set(made, files), len(made)
    shares = made.probabilities.max(axis=1)
    order = np.argsort(-shares, kind="stable")
    explained = np.arange(0, n, 2)
    maps = small_images(len(explained), edge=3, channels=1)[..., 0]
    train = Thumbnails(np.arange(5), small_images(5, seed=2), tuple(f"train/{row}.png" for row in range(5)), files)
    neighbours = np.random.default_rng(3).integers(0, 5, (len(explained), 2))
    points = np.random.default_rng(4).normal(size=(n, 2)).astype(np.float32)
    filters = Filters(
        (small_images(4, edge=3) / 255).astype(np.float32), np.ones(4, np.float32), "body.stage1.convolution1"
    )
    return Findings(
        fingerprint=images.fingerprint,
        gallery=Thumbnails(order, images.images[order], tuple(images.names[row] for row in order), files),
        maps=ShownMaps(explained, maps, made.predicted[explained], activation_maps(images.take(range(10)), trusted)),
        nearest=NearestTraining(
            explained, neighbours, np.full(neighbours.shape, 0.9, np.float32), train, np.arange(5) % 2, 5, 9
        ),
        embedding=EmbeddedImages(np.arange(n), Embedding(points, "tsne")),
        reliance=reliance(made.classes, trusted),
        filters=filters,
        activity=(StageActivity("stage1", (layer_activity(),)),),
        remarks=(
            Remark("dead_units", "warning", "Half of stage1 is dead.", "Learn more slowly.", ("optimizer.lr=0.0003",)),
        ),
        augmented=(Augmented("as they are", small_images(3)), Augmented("flip", small_images(3)[:, :, ::-1])),
    )


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
