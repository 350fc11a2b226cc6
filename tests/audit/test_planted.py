"""Faults planted in real trainings are found by name, and healthy trainings are left in peace."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from eyebright.audit.leakage import leaks
from eyebright.audit.training_doctor import Remark, examine
from eyebright.core.errors import RunError
from eyebright.core.recipe import recipe
from eyebright.data.copies import without_copies
from eyebright.data.image_set import ImageSet, Splits
from eyebright.data.load import load
from eyebright.evaluation.metrics import evaluate
from eyebright.evaluation.predict import predict
from eyebright.models import weights
from eyebright.training.run import Run
from tests.audit.conftest import Train, Trained, copied, relabelled


def found(trained: Trained) -> dict[str, Remark]:
    """The remarks by fault; every override must run with the recipe that the run keeps."""
    run, splits = trained
    remarks = examine(run, splits)
    for remark in remarks:
        recipe(run.path / "recipe.yaml", remark.overrides)
    faults = {remark.fault: remark for remark in remarks}
    assert len(faults) == len(remarks)
    return faults


def test_healthy_trainings_have_no_remark(healthy: Trained, train: Train) -> None:
    assert found(healthy) == {}
    assert found(train("digits/cnn", "epochs=6", "optimizer.lr=0.01")) == {}


def test_images_that_are_learnt_by_heart(train: Train) -> None:
    remark = found(train("digits/mlp", "data.limit=40", "epochs=10"))["overfitting"]
    assert remark.severity in {"warning", "serious"}
    assert "that on validation images" in remark.evidence
    assert remark.overrides == ("augment=digits",)


def test_a_network_that_is_too_small(train: Train) -> None:
    remark = found(train("digits/mlp", "model.hidden=[2]", "epochs=4", "optimizer.lr=0.01"))["underfitting"]
    assert remark.severity == "warning"
    assert remark.overrides in {("model.hidden=[4]",), ("training.epochs=8",)}


def test_a_training_that_ends_too_early(train: Train) -> None:
    remark = found(train("digits/mlp", "epochs=1"))["underfitting"]
    assert remark.overrides == ("training.epochs=2",)


def test_gradients_that_vanish(train: Train) -> None:
    deep = ["model=custom", "model.target=tests.audit.networks:plain", "model.features=16"]
    faults = found(train("digits/mlp", *deep, "+model.options.layers=16", "epochs=2", "data.limit=400"))
    remark = faults["vanishing_gradients"]
    assert remark.severity == "serious"
    assert "body.0 gets a gradient of" in remark.evidence
    assert remark.overrides == ("model=resnet20",)


def test_steps_that_are_too_large(train: Train) -> None:
    remark = found(train("digits/cnn", "optimizer.lr=3", "epochs=3", "augment=none"))["learning_rate_too_high"]
    assert remark.severity == "serious"
    assert "learning rate 3" in remark.evidence
    assert remark.overrides == ("optimizer.lr=0.3",)


def test_steps_that_are_too_small(train: Train) -> None:
    faults = found(train("digits/mlp", "optimizer.lr=1e-6", "epochs=3"))
    remark = faults["learning_rate_too_low"]
    assert remark.severity == "serious"
    assert "learning rate 1e-06" in remark.evidence
    assert remark.overrides in {("optimizer.lr=0.0001",), ("optimizer.lr=0.001",)}
    assert list(faults) == ["learning_rate_too_low"]  # that it underfits as well is no second fault


def test_labels_that_belong_to_other_images(train: Train) -> None:
    learnt = found(train("digits/mlp", "data.limit=300", "epochs=12", "optimizer.lr=3e-3", images=relabelled))
    assert learnt["wrong_labels"].severity == "serious"
    assert learnt["wrong_labels"].overrides == ("data.split_seed=1",)
    assert "overfitting" not in learnt
    not_learnt = found(train("digits/mlp", "epochs=2", images=relabelled))
    assert not_learnt["no_learning"].overrides == ("data.limit=100",)
    assert "gradients reach every layer, and the weights have moved" in not_learnt["no_learning"].evidence


@pytest.mark.parametrize(("units", "severity"), [(32, "serious"), (28, "warning"), (18, "note")])
def test_dead_units(train: Train, units: int, severity: str) -> None:
    dead = [
        "model=custom",
        "model.target=tests.audit.networks:dead",
        "model.features=32",
        f"+model.options.units={units}",
    ]
    faults = found(train("digits/mlp", *dead, "epochs=2", "optimizer.lr=0.01"))
    assert faults["dead_units"].severity == severity
    assert ("body.3" in faults["dead_units"].evidence) or units == 32
    assert "no_learning" not in faults  # the dead layer explains it


def with_training_images_in(split: str, count: int, splits: Splits) -> Splits:
    """`count` training images, with the rows of their own, in place of so many of another split."""
    part: ImageSet = getattr(splits, split)
    index = np.concatenate([splits.train.index[:count], part.index[count:]])
    return dataclasses.replace(splits, **{split: dataclasses.replace(part, index=index)})


def test_test_images_that_were_trained_on(train: Train) -> None:
    def leaky(splits: Splits) -> Splits:
        return with_training_images_in("test", 60, splits)

    remark = found(train("digits/mlp", "epochs=3", images=leaky))["leakage"]
    assert remark.severity == "warning"
    assert "60 test images (16.7 %) are in train too" in remark.evidence
    assert remark.overrides == ("data.leave_out_copies=true",)


def test_a_few_copies_are_worth_a_note(train: Train) -> None:
    def leaky(splits: Splits) -> Splits:
        return with_training_images_in("validation", 1, splits)

    assert found(train("digits/mlp", "epochs=3", images=leaky))["leakage"].severity == "note"


def rejudged(run: Run, splits: Splits) -> Trained:
    scores = {part.split: evaluate(predict(run.model, part)) for part in splits}
    run.save_scores({split: score.to_dict() for split, score in scores.items()})
    return run, splits


def test_a_model_that_normalises_by_other_numbers(healthy: Trained, tmp_path: Path) -> None:
    run, splits = copied(healthy[0], tmp_path / "run"), healthy[1]
    model = run.model
    spec = dataclasses.replace(model.spec, mean=(0.9,), std=(0.1,))
    other = type(model)(model.body, model.head, spec, model.settings)
    weights.save(other, run.best_checkpoint)
    remarks = [remark for remark in examine(*rejudged(run, splits)) if remark.fault == "preprocessing_mismatch"]
    worse, *pixels = remarks
    assert worse.severity == "serious"
    assert "the same model on the same images now has" in worse.evidence
    assert [remark.evidence.split()[4] for remark in pixels] == ["train", "validation", "test"]
    assert all("instead of 0.900" in remark.evidence for remark in pixels)


def test_test_images_that_were_prepared_otherwise(train: Train) -> None:
    def inverted(splits: Splits) -> Splits:
        store = splits.train.store
        pixels = np.array(store.pixels)
        pixels[splits.test.index] = 255 - pixels[splits.test.index]
        other = dataclasses.replace(store, pixels=pixels)
        return Splits(*(dataclasses.replace(part, store=other) for part in splits))

    remarks = examine(*train("digits/mlp", "epochs=3", images=inverted))
    assert [remark.fault for remark in remarks] == ["preprocessing_mismatch"] * 2
    pixels, accuracies = remarks
    assert pixels.evidence.startswith("The pixels of the test images are not those that the model normalises")
    assert pixels.overrides == ("augment.brightness=0.4",)
    assert "The validation accuracy is" in accuracies.evidence


def test_the_evidence_must_be_of_the_run(healthy: Trained, tmp_path: Path) -> None:
    run, splits = copied(healthy[0], tmp_path / "run"), healthy[1]
    with pytest.raises(RunError, match="the train images are not those"):
        examine(run, relabelled(splits))
    (run.path / "scores.json").unlink()
    with pytest.raises(RunError, match="was not judged yet") as caught:
        examine(run, splits)
    assert f"eyebright evaluate {run.path}" in caught.value.remedy


def test_a_run_without_its_last_checkpoint_is_examined_all_the_same(healthy: Trained, tmp_path: Path) -> None:
    run = copied(healthy[0], tmp_path / "run")
    run.last_checkpoint.unlink()
    assert examine(run, healthy[1]) == ()


def test_the_emotions_archive_really_holds_its_test_images_in_training(emotions_zip: Path) -> None:
    two = {
        "data.classes": ("fear", "surprise"),
        "data.root": str(emotions_zip.parent),
    }  # of five: seconds instead of ten
    splits = load(recipe("emotions/mlp", **two).data)
    shared = {(leak.seen, leak.split): leak for leak in leaks(splits)}
    assert list(shared) == [("train", "validation"), ("train", "test"), ("validation", "test")]
    leak = shared["train", "test"]
    assert leak.share > 0.05
    assert leak.relabelled.any()  # the same face under two emotions
    assert np.array_equal(splits.test[leak.index].images, splits.train[leak.twin].images)
    cleaned = without_copies(splits)
    assert leaks(cleaned) == ()
    assert len(cleaned.test) == len(splits.test)
