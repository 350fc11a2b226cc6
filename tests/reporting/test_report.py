from __future__ import annotations

import base64
import dataclasses
import hashlib
import io
import json
import math
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import eyebright
from eyebright.core.errors import MissingExtraError, RunError
from eyebright.core.recipe import recipe
from eyebright.core.settings.data import DataSettings
from eyebright.data.image_set import BadImage, ImageSet, ImageStore, Splits
from eyebright.evaluation.gap import Gap
from eyebright.evaluation.intervals import difference, proportion
from eyebright.evaluation.metrics import evaluate
from eyebright.evaluation.score import Score
from eyebright.insight.findings import Findings
from eyebright.insight.parts import Missing
from eyebright.reporting import render
from eyebright.reporting.report import RunLike, best_epoch, report
from eyebright.training.run import Run

from .conftest import ANIMALS, FakeRun, Reader, fake_run, findings, history, predictions, read


def page(run: RunLike) -> Reader:
    return read(report(run).html())


def text_of(reader: Reader) -> str:
    return " ".join(text for _, text in reader.texts)


def test_headline_is_the_test_accuracy_with_its_interval(run: FakeRun) -> None:
    accuracy = evaluate(run.predicted["test"]).accuracy
    found = report(run)
    assert found.accuracies["test"] == accuracy
    text = text_of(read(found.html()))
    assert f"{100 * accuracy.value:.1f} % of 200 test images are classified right" in text
    assert f"95 % interval {100 * accuracy.low:.1f} \u2013 {100 * accuracy.high:.1f} %" in text
    (title,) = read(found.html()).said("title")[:1]
    assert title.startswith(f"animals/first: {100 * accuracy.value:.1f} % test accuracy")


def test_curves_and_confusion_matrix_are_pictures_too(run: FakeRun, tmp_path: Path) -> None:
    found = report(run)
    written = found.write_figures(tmp_path)
    assert [path.name for path in written] == ["curves.png", "confusion_matrix.png"]
    for path, picture in zip(written, (found.curves(dpi=150), found.confusion_matrix(dpi=150)), strict=True):
        with Image.open(path) as image:
            assert image.tobytes() == picture.tobytes()
    assert found.curves().width < found.curves(dpi=150).width
    with pytest.raises(RunError, match="was not judged yet"):
        report(fake_run(splits=())).confusion_matrix()


def test_gap_is_that_of_the_best_epoch(run: FakeRun) -> None:
    found = report(run)
    assert found.best == 2
    train, validation = proportion(round((1 - 0.5 / 3) * 1000), 1000), proportion(80, 100)
    assert found.accuracies["train"] == train
    assert found.accuracies["validation"] == validation
    assert found.gap == Gap(train.value - validation.value, *difference(train, validation), "validation")
    assert "Training is 3.3 points ahead of validation" in text_of(page(run))


def test_predictions_of_the_best_model_beat_the_history() -> None:
    found = report(fake_run(splits=("train", "validation", "test")))
    assert set(found.scores) == {"train", "validation", "test"}
    for split, scores in found.scores.items():
        assert found.accuracies[split] == scores.accuracy
    assert "while the weights were moving" not in found.html()


def test_a_gap_may_be_negative() -> None:
    records = [record | {"train_accuracy": 0.7} for record in history(5)]
    text = text_of(page(dataclasses.replace(fake_run(), history=records)))
    low, high = difference(proportion(80, 100), proportion(700, 1000))
    assert (
        f"Training is 10.0 points behind validation ({100 * low:.1f} to {100 * high:.1f} points)".replace("-", "\u2212")
        in text
    )


def test_says_what_the_run_was(run: FakeRun) -> None:
    reader = page(run)
    said = reader.said("dd")
    assert "animals: 1,000 train, 100 validation, 200 test" in said
    assert "simple_cnn, widths (32, 64), hidden 128" in said
    assert "adam, lr 0.001" in said
    assert "5 of 10 epochs, batches of 128; epoch 3 was best by validation accuracy" in said
    assert "A Processor; cpu, fp32; 12 s" in said
    assert "eyebright train animals" in reader.said("code")
    assert any("name: simple_cnn" in text for text in reader.said("code"))
    assert {"aaaa", "bbbb", "cccc"} <= set(reader.said("code"))
    assert not any("{}" in text for text in said)  # what is off is not said, whatever kind of default that is


def test_shows_every_class_and_every_confusion(run: FakeRun) -> None:
    scores = evaluate(run.predicted["test"])
    reader = page(run)
    rows = [text for text in reader.said("th") if text in ANIMALS]
    weakest = sorted(scores.per_class, key=lambda row: row.f1.value if row.f1 else 2)
    assert rows == [row.name for row in weakest]
    confusion = scores.confusions(1)[0]
    assert f"{confusion.given} → {confusion.predicted}" in reader.said("th")
    (matrix,) = re.findall(r'<svg class="matrix".*?</svg>', report(run).html(), re.DOTALL)
    counts = [int(text) for text in read(matrix).said("text") if text.isdigit()]
    assert counts == [count for count in scores.confusion.ravel() if count > 0]


def test_counts_the_files_that_were_left_out() -> None:
    assert "left out" not in text_of(page(fake_run()))
    assert "1 file was left out" in text_of(page(fake_run(bad=1)))
    reader = page(fake_run(bad=40))
    assert "40 files were left out" in text_of(reader)
    assert "The other 15 files" in reader.said("summary")
    assert "cat/39.jpg" in reader.said("th")


def test_is_one_file_that_asks_the_network_for_nothing(run: FakeRun) -> None:
    html = report(run).html()
    reader = read(html)
    assert "://" not in html
    assert not re.search(r"@import|url\(", html)
    for tag, attributes in reader.elements:
        assert tag not in {"link", "img", "iframe", "object", "embed"}
        assert "src" not in attributes
        assert attributes.get("href", "#").startswith("#")
        assert not any(name.startswith("on") for name in attributes)
    targets = {attributes["id"] for _, attributes in reader.elements if "id" in attributes}
    assert {attributes["href"][1:] for attributes in reader.of("a")} <= targets
    (policy,) = [meta["content"] for meta in reader.of("meta") if "http-equiv" in meta]
    assert policy.startswith("default-src 'none'; ")


def test_every_picture_has_a_text_alternative(run: FakeRun) -> None:
    for picture in page(run).of("svg"):
        assert picture["role"] == "img"
        assert len(picture["aria-label"]) > 20


def test_hostile_names_stay_text() -> None:
    hostile = "<script>alert('x')</script>"
    plain = fake_run(classes=(hostile, '"><img src=x onerror=alert(1)>', "{{ 7 * 7 }}", "&amp;"), bad=1)
    data = plain.data | {"bad": [{"name": hostile, "reason": hostile}]}
    named = dataclasses.replace(plain.recipe, description=hostile)  # a recipe's name is checked by its class
    reader = page(dataclasses.replace(plain, data=data, recipe=named, environment={"command": hostile, "git": hostile}))
    assert len(reader.of("script")) == 2  # the data, which is no script to a browser, and the script
    assert reader.of("img") == []
    assert {hostile, '"><img src=x onerror=alert(1)>', "{{ 7 * 7 }}", "&amp;"} <= set(reader.said("th"))
    assert hostile in text_of(reader)


@pytest.mark.parametrize("splits", [(), ("validation",), ("test",), ("train", "validation", "test")])
@pytest.mark.parametrize("epochs", [0, 1, 4])
@pytest.mark.parametrize("validation", [True, False])
def test_whatever_is_missing_the_page_renders(splits: tuple[str, ...], epochs: int, validation: bool) -> None:
    reader = page(fake_run(splits=splits, epochs=epochs, validation=validation))
    text = text_of(reader)
    assert ("Nothing was measured yet" in text) == (not splits and not epochs)
    assert ("have not been looked at yet" in text) == ("test" not in splits and bool(splits or epochs))
    assert len(reader.of("svg", "epochs")) == (2 if epochs else 0)
    assert len(reader.of("svg", "matrix")) == (1 if splits else 0)
    assert ("Without validation images" in text) == (epochs > 0 and not validation)
    assert "None" not in text


def test_a_diverged_history_renders() -> None:
    records = [record | {"train_loss": math.nan, "validation_loss": math.inf} for record in history(3)]
    records[1]["validation_accuracy"] = math.nan
    assert len(page(dataclasses.replace(fake_run(), history=records)).of("svg", "epochs")) == 1


@pytest.mark.parametrize(("k", "matrices"), [(1, 1), (2, 1), (30, 1), (200, 1), (201, 0)])
def test_any_number_of_classes(k: int, matrices: int) -> None:
    names = tuple(f"class {position}" for position in range(k))
    reader = page(fake_run(classes=names, n=3 * k))
    assert len(reader.of("svg", "matrix")) == matrices
    assert set(names) <= set(reader.said("th"))
    assert bool(reader.of("details")) == (k > 25)


def test_a_run_without_a_mistake_has_none_to_show() -> None:
    found = predictions(ANIMALS, 40)
    sure = dataclasses.replace(found, logits=np.eye(4, dtype=np.float32)[found.labels])
    assert "There are none." in text_of(page(dataclasses.replace(fake_run(), predicted={"test": sure})))


def test_best_epoch() -> None:
    records = [
        {"validation_accuracy": 0.5, "validation_loss": 0.9},
        {"validation_accuracy": 0.7, "validation_loss": 0.8},
        {"validation_accuracy": 0.7, "validation_loss": math.nan},
        {"train_accuracy": 0.99},
        {"validation_accuracy": 0.6, "validation_loss": 0.7},
    ]
    assert best_epoch(records, "accuracy") == 1  # the first of equals
    assert best_epoch(records, "loss") == 4
    assert best_epoch([{"train_accuracy": 0.5}], "accuracy") is None
    assert best_epoch([], "loss") is None


def test_writes_one_file(run: FakeRun, tmp_path: Path) -> None:
    path = report(run).write(str(tmp_path / "new" / "report.html"))
    assert path == tmp_path / "new" / "report.html"
    assert list(path.parent.iterdir()) == [path]
    assert path.read_text(encoding="utf-8") == report(run).html()  # and the same run gives the same page
    assert path.stat().st_size < 200_000


def test_without_jinja_says_what_to_install(run: FakeRun, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    render._templates.cache_clear()
    with pytest.raises(MissingExtraError, match=r"pip install 'eyebright\[report\]'"):
        report(run).write(tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == []


def test_the_public_name_is_the_function(run: FakeRun) -> None:
    # A package called eyebright.report would hide it as soon as any of its modules was imported.
    assert eyebright.report is report


def test_loads_neither_torch_nor_what_is_optional() -> None:
    code = (
        "import sys, eyebright.reporting.report, eyebright.reporting.figures; "
        "print([name for name in ('torch', 'matplotlib', 'jinja2') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_reports_on_a_real_run(tmp_path: Path) -> None:
    pixels = np.zeros((30, 4, 4, 3), dtype=np.uint8)
    labels = np.arange(30) % 4
    store = ImageStore(pixels, labels, [f"{row}.png" for row in range(30)], ANIMALS, "animals", (BadImage("a", "b"),))
    splits = Splits(*(ImageSet(store, np.arange(10) + 10 * part, name) for part, name in enumerate(_SPLITS)))
    run = Run.create(tmp_path / "run", recipe("digits/mlp", epochs=3), splits, {"plan": "cpu", "started": "today"})
    run.save_history(history(3))
    run.save_predictions(predictions(ANIMALS, 10))
    reader = page(run)
    assert reader.said("h1") == ["digits/mlp"]
    assert "1 file was left out" in text_of(reader)


_SPLITS = ("train", "validation", "test")


def full_page(run: FakeRun, *, trusted: bool = True) -> Reader:
    return read(report(run, findings(run.predicted["test"], trusted=trusted)).html())


def page_data(reader: Reader) -> dict[str, Any]:
    """What the page's script will read."""
    (text,) = [text for tag, text in reader.texts if tag == "script" and text.startswith("{")]
    data: dict[str, Any] = json.loads(text)
    return data


def test_findings_bring_everything_to_the_page(run: FakeRun) -> None:
    reader = full_page(run)
    sections = {attributes["id"] for attributes in reader.of("section")}
    assert sections >= {
        "confusion",
        "confidence",
        "reliance",
        "embedding",
        "inside",
        "augmentation",
        "marks",
        "reproduce",
    }
    data = page_data(reader)
    assert len(data["images"]["given"]) == 200
    assert set(data) == {"points", "images", "answers", "fingerprint", "maps", "nearest", "embedding"}
    assert len(reader.of("svg", "embedding")) == 1
    filters = [image for image in reader.of("img") if image["alt"].startswith("Filter ")]
    assert len(filters) == 4
    shown = [image["alt"] for image in reader.of("img") if image["alt"].startswith("Training image ")]
    assert shown == [f"Training image {n}, {label}" for label in ("as they are", "flip") for n in (1, 2, 3)]
    assert all(image["src"].startswith("data:image/webp;base64,") for image in reader.of("img"))


def test_the_doctor_of_the_findings_is_the_one_who_speaks(run: FakeRun) -> None:
    text = text_of(full_page(run))
    assert "warning dead units Half of stage1 is dead. Learn more slowly." in text
    assert "eyebright train recipe.yaml optimizer.lr=0.0003" in text


def test_without_findings_the_doctor_speaks_of_what_the_run_keeps() -> None:
    run = fake_run(splits=("train", "validation", "test"))
    known = run.predicted["train"]
    by_heart = dataclasses.replace(known, logits=9 * np.eye(4, dtype=np.float32)[known.labels])
    made = report(dataclasses.replace(run, predicted=run.predicted | {"train": by_heart}))
    (remark,) = [remark for remark in made.remarks if remark.fault == "overfitting"]
    text = text_of(read(made.html()))
    assert f"{remark.severity} overfitting {remark.evidence}" in text
    assert "show no fault that it knows" in text_of(page(fake_run()))


def test_what_a_class_hangs_on_is_told_as_a_change(run: FakeRun) -> None:
    text = text_of(full_page(run))
    assert "What its answers hang on" in text
    # The reliance of every class falls by 30 points where the marked part is hidden.
    assert "\u221230.0 \u221240.0 to \u221220.0" in text
    rows = [text for text in full_page(run).said("th") if text in {"All classes", *ANIMALS}]
    assert rows[-5:] == ["All classes", *reversed(ANIMALS)]  # those that need the background most come first


def test_what_the_marked_part_costs_is_compared_with_as_much_elsewhere(run: FakeRun) -> None:
    said = text_of(full_page(run))
    assert "costs 20.0 points more than hiding as much elsewhere (+10.0 to +30.0)" in said
    assert "chance could explain" not in said
    made = run.predicted["test"]
    found = findings(made)
    assert found.reliance is not None
    overall = dataclasses.replace(found.reliance.overall, excess=Score(0.01, -0.02, 0.04, n=50, method="made up"))
    unclear = dataclasses.replace(found, reliance=dataclasses.replace(found.reliance, overall=overall))
    text = text_of(read(report(run, unclear).html()))
    assert "costs 1.0 points more than hiding as much elsewhere (\u22122.0 to +4.0)" in text
    assert ", which chance could explain." in text


def test_maps_that_failed_their_checks_are_doubted_wherever_they_are_used(run: FakeRun) -> None:
    trusted, doubted = text_of(full_page(run)), text_of(full_page(run, trusted=False))
    assert "NOT TO BE TRUSTED" not in trusted
    assert doubted.count("NOT TO BE TRUSTED") >= 2
    assert "this table is not to be relied on" in doubted
    assert "this table is not to be relied on" not in trusted


def test_what_is_missing_is_named_with_its_cause_and_remedy(run: FakeRun) -> None:
    lost = Findings(missing=(Missing("the images", "photos.zip is gone.", "Put it back."),))
    reader = read(report(run, lost).html())
    text = text_of(reader)
    assert "the images : photos.zip is gone. Put it back." in text
    assert not {"gallery", "marks", "detail"} & {attributes.get("id", "") for _, attributes in reader.elements}
    assert len(reader.of("svg", "matrix")) == 1


def test_a_page_without_images_says_how_to_get_them(run: FakeRun) -> None:
    assert "eyebright report RUN" in text_of(page(run))
    assert "eyebright report RUN" not in text_of(full_page(run))


def test_each_part_may_be_missing_by_itself(run: FakeRun) -> None:
    whole = findings(run.predicted["test"])
    for field in ("maps", "nearest", "embedding", "reliance", "filters"):
        without: dict[str, Any] = {field: None}
        read(report(run, dataclasses.replace(whole, **without)).html())
    read(report(run, dataclasses.replace(whole, activity=(), augmented=(), remarks=None)).html())


def test_hostile_names_stay_text_in_what_the_script_reads() -> None:
    hostile = ("</script><script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{ 7 * 7 }}", "<!-- &amp;")
    run = fake_run(classes=hostile)
    reader = full_page(run)
    assert len(reader.of("script")) == 2
    assert all(image["src"].startswith("data:") for image in reader.of("img"))
    data = page_data(reader)
    assert tuple(data["images"]["classes"]) == hostile
    assert any(name.startswith("</script>") for name in data["images"]["names"])
    assert set(hostile) <= set(reader.said("option"))


def test_a_hostile_folder_cannot_leave_the_command(run: FakeRun) -> None:
    recipe = dataclasses.replace(run.recipe, data=DataSettings(source="a; rm -rf '$HOME'"))
    text = text_of(full_page(dataclasses.replace(run, recipe=recipe)))
    assert f"eyebright data fix {shlex.quote(recipe.data.source)} labels.json" in text


def test_filters_over_channels_that_are_no_colours_stand_in_a_column(run: FakeRun) -> None:
    whole = findings(run.predicted["test"])
    assert whole.filters is not None
    weights = np.random.default_rng(0).random((3, 5, 5, 4), dtype=np.float32)
    shown = dataclasses.replace(whole, filters=dataclasses.replace(whole.filters, weights=weights))
    (first, *_) = [image["src"] for image in read(report(run, shown).html()).of("img") if image["alt"] == "Filter 1"]
    with Image.open(io.BytesIO(base64.b64decode(first.partition(",")[2]))) as picture:
        assert picture.size == (5, 20)


def test_the_summary_names_weakest_class_worst_mistake_and_confidence(run: FakeRun) -> None:
    made = report(run)
    scores = made.scores["test"]
    text = text_of(read(made.html()))
    weakest = min(scores.per_class, key=lambda row: row.f1.value if row.f1 else 2)
    assert f"Weakest class {weakest.name}: " in text
    worst = scores.confusions(1)[0]
    assert f"Most frequent mistake {worst.given} taken for {worst.predicted}: " in text
    useful = [point for point in made.points if point.coverage >= 0.1]
    reached = max(asked for asked in (0.99, 0.95, 0.9, 0.8) if any(p.accuracy.value >= asked for p in useful))
    point = max((p for p in useful if p.accuracy.value >= reached), key=lambda p: p.coverage)
    assert 0 < point.coverage < 1
    assert f"% sure, {100 * point.accuracy.value:.1f}\u202f% are right" in made.html()


def test_a_handful_of_sure_answers_is_no_summary(run: FakeRun) -> None:
    hopeless = dataclasses.replace(run.predicted["test"], labels=(run.predicted["test"].labels + 1) % 4)
    assert "If it may stay silent" not in report(dataclasses.replace(run, predicted={"test": hopeless})).html()


def test_choices_of_images_and_smaller_ones_are_told(run: FakeRun) -> None:
    assert "progressive resizing" not in text_of(page(run))
    chosen = {
        "data.leave_out_copies": "near",
        "data.root": "/somewhere",
        "training.progressive": [[0.5, 0.67], [0.9, 1.0]],
    }
    reader = page(dataclasses.replace(run, recipe=run.recipe.replace(**chosen)))
    assert "animals: 1,000 train, 100 validation, 200 test; leave out copies near" in reader.said("dd")
    assert "In the first 50.0 % of the training the images were smaller" in text_of(reader)


def test_filters_that_do_not_learn_are_no_sign_of_learning(run: FakeRun) -> None:
    whole = findings(run.predicted["test"])
    assert whole.filters is not None
    computed = dataclasses.replace(whole, filters=dataclasses.replace(whole.filters, learned=False))
    said, other = text_of(full_page(run)), text_of(read(report(run, computed).html()))
    assert "signs of learning" in said
    assert "signs of learning" not in other
    assert "computed before the training" in other


def test_only_one_script_may_run(run: FakeRun) -> None:
    html = report(run, findings(run.predicted["test"])).html()
    (allowed,) = re.findall(r"script-src 'sha256-([^']+)'", html)
    (script,) = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    assert base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() == allowed
    assert script.startswith('"use strict";')


def test_transforms_of_other_libraries_are_called_by_their_names() -> None:
    run = fake_run()
    entries = [{"_target_": "albumentations.Rotate", "limit": 15}, {"_target_": "albumentations.CoarseDropout"}]
    turned = run.recipe.replace(**{"augment.pipeline": entries})
    assert "pipeline (Rotate, CoarseDropout)" in text_of(page(dataclasses.replace(run, recipe=turned)))
