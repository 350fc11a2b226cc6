from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from eyebright.core.errors import RunError
from eyebright.core.recipe import recipe
from eyebright.core.settings.augment import AugmentSettings
from eyebright.data.augment import augment
from eyebright.data.image_set import ImageSet, ImageStore, Splits
from eyebright.evaluation.predictions import Predictions
from eyebright.insight import study, thumbnails
from eyebright.insight.findings import Findings, affordable, findings, shown_images
from eyebright.insight.mistakes import mistakes
from eyebright.insight.neighbours import features, nearest
from eyebright.training.fit import fit, judge
from eyebright.training.run import Run
from tests.conftest import make_images


def shades() -> Splits:
    return Splits(make_images(130, "train", 0), make_images(30, "validation", 1), make_images(45, "test", 2))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A judged run of an epoch: it makes some mistakes."""
    folder = tmp_path_factory.mktemp("run") / "run"
    chosen = recipe("digits/cnn", epochs=1, **{"augment.flip": True, "optimizer.lr": 1e-3})
    made = fit(chosen, shades(), folder=folder, callbacks=())
    judge(made, shades())
    return made


@pytest.fixture(scope="module")
def found(run: Run) -> Findings:
    return findings(run, shades())


def made_up(n: int, classes: int, seed: int = 0) -> Predictions:
    generator = np.random.default_rng(seed)
    labels = generator.integers(classes, size=n)
    logits = generator.normal(size=(n, classes)).astype(np.float32)
    logits[np.arange(n), labels] += 1
    return Predictions(logits, labels, np.arange(n), tuple(f"class {k}" for k in range(classes)), "test", "made up")


def test_everything_is_found_for_a_small_network(found: Findings) -> None:
    assert found.missing == ()
    for field in dataclasses.fields(found):
        if field.name != "missing":
            assert getattr(found, field.name) is not None, field.name
    assert found.remarks == ()  # one epoch is too short for the doctor
    assert repr(found) == "Findings(gallery, maps, nearest, embedding, reliance, filters, activity, augmented)"


def test_the_gallery_shows_all_images_the_surest_answers_first(found: Findings, run: Run) -> None:
    gallery, made = found.gallery, run.predictions("test")
    assert gallery is not None
    assert made is not None
    assert sorted(gallery.position) == list(range(45))
    assert (np.diff(mistakes(made).confidence[gallery.position]) <= 0).all()
    assert (gallery.images == shades().test.images[gallery.position]).all()
    assert gallery.names == tuple(shades().test.names[row] for row in gallery.position)
    assert found.fingerprint == shades().test.fingerprint


def test_maps_explain_what_was_predicted(found: Findings, run: Run) -> None:
    maps, made = found.maps, run.predictions("test")
    assert maps is not None
    assert made is not None
    assert (maps.classes == made.predicted[maps.position]).all()
    assert maps.images.shape == (len(maps.position), 8, 8)
    assert maps.images.max() == 255
    assert len(maps.checked) == 45
    assert maps.checked.faithfulness is not None


def test_neighbours_are_the_nearest_in_the_features(found: Findings, run: Run) -> None:
    told = found.nearest
    assert told is not None
    splits = shades()
    query = features(run.model, splits.test.take(told.position))
    expected = nearest(query, features(run.model, splits.train), 4)
    assert (told.thumbnails.position[told.neighbour] == expected.position).all()
    assert told.similarity == pytest.approx(expected.similarity, abs=1e-6)
    assert (told.labels == splits.train.labels[told.thumbnails.position]).all()
    assert (told.thumbnails.images == splits.train.images[told.thumbnails.position]).all()
    assert (told.searched, told.of) == (130, 130)


def test_the_reliance_is_of_a_fair_sample(found: Findings, run: Run) -> None:
    made = run.predictions("test")
    assert made is not None
    assert found.reliance is not None
    assert found.reliance.overall.accuracy.value == pytest.approx(made.correct.mean())


def test_the_augmentation_is_that_of_the_recipe(found: Findings, run: Run) -> None:
    original, *rows = found.augmented
    assert original.label == "as they are"
    assert [row.label for row in rows] == ["flip", "shift 0.1", "rotate 10", "all of them"]
    chosen = shades().train.take(np.linspace(0, 129, 8).round().astype(np.int64))
    assert (original.images == chosen.images).all()
    pixels, labels = torch.tensor(chosen.images).permute(0, 3, 1, 2), torch.from_numpy(chosen.labels)
    whole, _ = augment(pixels, labels, run.recipe.augment, classes=3, place=(run.recipe.seed, 0, 0))
    assert (rows[-1].images == whole.permute(0, 2, 3, 1).numpy()).all()


def test_mixtures_and_switches_have_names() -> None:
    settings = AugmentSettings(flip=True, coarse_dropout=2, mixup=0.4)
    rows = study.augmented(shades().train, settings, seed=0)
    assert [row.label for row in rows] == ["as they are", "flip", "coarse dropout 2", "mixup 0.4", "all of them"]
    assert all(row.images.dtype == np.uint8 and row.images.shape == (8, 8, 8, 3) for row in rows)
    assert study.augmented(shades().train, AugmentSettings(), seed=0) == ()
    turned = AugmentSettings(pipeline=({"_target_": "albumentations.Rotate"},))
    assert [row.label for row in study.augmented(shades().train, turned, seed=0)] == ["as they are", "pipeline"]


def test_what_cannot_be_had_is_named_and_the_rest_is_there(run: Run, tmp_path: Path) -> None:
    shutil.copytree(run.path, tmp_path / "copy")
    (tmp_path / "copy" / "checkpoints" / "best.safetensors").unlink()
    found = findings(Run.open(tmp_path / "copy"), shades())
    (missing,) = found.missing
    assert missing.what == "what needs the model"
    assert "has no model yet" in missing.cause
    assert missing.remedy
    assert found.gallery is not None
    assert found.maps is None
    assert "missing: what needs the model" in repr(found)


def test_other_images_are_refused(run: Run) -> None:
    others = dataclasses.replace(shades(), test=make_images(45, "test", 9))
    with pytest.raises(RunError, match="not those"):
        findings(run, others)


def test_a_run_that_was_not_judged_says_how(tmp_path: Path) -> None:
    unjudged = Run.create(tmp_path / "run", recipe("digits/cnn"), shades(), {})
    with pytest.raises(RunError, match="eyebright evaluate"):
        findings(unjudged, shades())


def test_the_model_is_given_back_and_the_same_is_found_again(found: Findings, run: Run) -> None:
    told: list[tuple[str, int, int]] = []
    again = findings(run, shades(), progress=lambda *step: told.append(step))
    assert ("where the model looked", 1, 1) in told
    assert ("features train", 130, 130) in told
    assert again.maps is not None
    assert found.maps is not None
    assert again.embedding is not None
    assert found.embedding is not None
    assert (again.maps.images == found.maps.images).all()
    assert (again.embedding.embedding.points == found.embedding.embedding.points).all()


def test_a_small_run_is_affordable(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert affordable(run, shades())
    monkeypatch.setattr("eyebright.insight.findings._FEW", 44)
    assert not affordable(run, shades())


def test_telling_images_are_the_surest_of_each_kind_of_mistake() -> None:
    made = made_up(300, 4)
    among = np.arange(300)
    listed = mistakes(made)
    kinds = {(made.labels[row], made.predicted[row]) for row in np.flatnonzero(~made.correct)}
    chosen = study.telling(made, among, 40)
    wrong = chosen[~made.correct[chosen]]
    assert len(chosen) == 40
    assert len(wrong) == 32
    assert {(made.labels[row], made.predicted[row]) for row in wrong} == kinds
    for label, taken_for in kinds:  # of each kind the surest come first
        own = np.flatnonzero((made.labels == label) & (made.predicted == taken_for)).tolist()
        taken = [row for row in own if row in set(wrong)]
        left = [row for row in own if row not in set(wrong)]
        assert not left or min(listed.confidence[taken]) >= max(listed.confidence[left])
    right = chosen[made.correct[chosen]]
    assert np.bincount(made.labels[right], minlength=4).tolist() == [2, 2, 2, 2]
    for label in range(4):
        rows = np.flatnonzero(made.correct & (made.labels == label))
        assert set(right[made.labels[right] == label]) == set(rows[np.argsort(listed.confidence[rows])[:2]])


@given(st.integers(1, 80), st.integers(1, 100), st.integers(0, 5))
def test_telling_images_fill_up(n: int, count: int, seed: int) -> None:
    made = made_up(n, 3, seed)
    chosen = study.telling(made, np.arange(n), count)
    assert len(chosen) == min(n, count)
    assert (np.diff(chosen) > 0).all()


def test_more_images_than_have_room_leave_out_right_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    made = made_up(400, 4)
    monkeypatch.setattr(thumbnails, "most", lambda: 300)
    chosen = shown_images(made)
    wrong = np.flatnonzero(~made.correct)
    assert len(chosen) == 300
    confidence = mistakes(made).confidence
    assert (np.diff(confidence[chosen]) <= 0).all()
    surest = wrong[np.argsort(-confidence[wrong])][:150]
    assert set(surest) == set(chosen[~made.correct[chosen]])
    right = chosen[made.correct[chosen]]
    everything = np.flatnonzero(made.correct)
    assert confidence[right].max() == confidence[everything].max()
    assert confidence[right].min() == confidence[everything].min()


def pixels_of(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def image_set(pixels: NDArray[np.uint8]) -> ImageSet:
    rows = np.arange(len(pixels))
    store = ImageStore(pixels, np.zeros(len(pixels), np.int64), [str(row) for row in rows], ("one", "two"), "made up")
    return ImageSet(store, rows, "test")


def test_small_images_stay_as_they_are() -> None:
    pixels = pixels_of((5, 20, 12, 3))
    small = thumbnails.shrink(image_set(pixels), np.array([3, 1]))
    assert (small.images == pixels[[3, 1]]).all()
    assert small.names == ("3", "1")
    assert not small.files


@pytest.mark.parametrize("channels", [1, 3])
def test_large_images_become_the_means_of_their_blocks(channels: int) -> None:
    pixels = pixels_of((3, 64, 32, channels))
    small = thumbnails.shrink(image_set(pixels), np.arange(3), pixels=3 * 32 * 32)
    assert small.images.shape == (3, 32, 16, channels)
    blocks = pixels.reshape(3, 32, 2, 16, 2, channels).mean(axis=(2, 4))
    assert np.abs(small.images - blocks).max() <= 1  # rows and columns are averaged, and rounded, in turn


def test_the_budget_of_pixels_is_kept_down_to_what_can_be_recognised() -> None:
    pixels = pixels_of((10, 200, 300, 3))
    few = thumbnails.shrink(image_set(pixels), np.arange(10), pixels=10 * 100 * 100)
    assert few.images.shape[1:3] == (67, 100)
    assert thumbnails.shrink(image_set(pixels), np.arange(10), pixels=1).images.shape[2] == 24
    assert thumbnails.shrink(image_set(pixels), np.arange(10)).images.shape[2] == 160


def test_evenly_takes_the_ends() -> None:
    assert thumbnails.evenly(np.arange(5), 9).tolist() == [0, 1, 2, 3, 4]
    assert thumbnails.evenly(np.arange(11), 3).tolist() == [0, 5, 10]


def test_of_training_images_only_the_judged_sample_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eyebright.training.fit._TRAIN_SAMPLE", 12)
    images = make_images(60, "train", 0)
    nothing = [images.take([]), images.take([])]
    splits = Splits(
        images,
        *(dataclasses.replace(part, split=name) for part, name in zip(nothing, ("validation", "test"), strict=True)),
    )
    chosen = recipe("digits/cnn", epochs=1, **{"data.source": "shades", "training.threads": 1})
    run = fit(chosen, splits, folder=tmp_path / "run", callbacks=())
    judge(run, splits)
    shown = findings(run, splits).gallery
    predictions = run.predictions("train")
    assert shown is not None
    assert predictions is not None
    assert len(predictions) == 12
    rows = predictions.index[shown.position]
    assert shown.names == tuple(images[rows].names)
    assert np.array_equal(shown.images, images[rows].images)  # 8x8: nothing is shrunk
