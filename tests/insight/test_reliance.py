from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import nn

from eyebright.core.errors import DataError, EyebrightError
from eyebright.core.input_spec import InputSpec
from eyebright.core.settings.model import MLPSettings
from eyebright.data.image_set import ImageSet, ImageStore
from eyebright.evaluation.intervals import paired_difference
from eyebright.evaluation.predict import predict
from eyebright.insight.activation_maps import ActivationMaps, activation_maps
from eyebright.insight.reliance import Reliance, drop, reliance
from eyebright.models.classifier import Classifier
from tests.insight import networks

SIZE, EDGE = 16, 4  # pixels of an image, and of the patch of sky that betrays the class
CLASSES = ("butterfly", "moth", "wasp")


def on_their_skies(count: int, seed: int) -> ImageSet:
    """Insects of noise in the middle, the same for all classes, and in the corner a patch of the sky of their class."""
    random = np.random.default_rng(seed)
    labels = np.arange(count, dtype=np.int64) % 3
    pixels = random.integers(90, 130, (count, SIZE, SIZE, 3)).astype(np.uint8)
    pixels[:, 5:12, 5:12] = random.integers(0, 256, (count, 7, 7, 3))
    pixels[:, :EDGE, :EDGE] = 40
    pixels[np.arange(count), :EDGE, :EDGE, labels] = 220
    return ImageSet(ImageStore(pixels, labels, ["x"] * count, CLASSES, "insects"), np.arange(count), "test")


@pytest.fixture(scope="module")
def shortcut() -> Classifier:
    """A network that learnt the insects by their skies."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        body = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(),
            nn.AdaptiveMaxPool2d(1), nn.Flatten(),
        )  # fmt: skip
        model = Classifier(
            body, nn.Linear(8, 3), InputSpec(SIZE, SIZE, 3, (0.43,) * 3, (0.2,) * 3, CLASSES), MLPSettings()
        )
        images = on_their_skies(96, 0)
        pixels, labels = torch.from_numpy(images.images).permute(0, 3, 1, 2), torch.from_numpy(images.labels)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        for _ in range(80):
            optimizer.zero_grad()
            F.cross_entropy(model(pixels), labels).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return model


@pytest.fixture(scope="module")
def images() -> ImageSet:
    return on_their_skies(60, 1)


@pytest.fixture(scope="module")
def maps(shortcut: Classifier, images: ImageSet) -> ActivationMaps:
    return activation_maps(shortcut, images)


@pytest.fixture(scope="module")
def found(shortcut: Classifier, images: ImageSet, maps: ActivationMaps) -> Reliance:
    return reliance(shortcut, images, maps, share=0.1)


def test_a_planted_cue_is_found_as_a_number(found: Reliance, maps: ActivationMaps) -> None:
    assert maps.trusted
    assert maps.maps[:, :EDGE, :EDGE].mean() > 3 * maps.maps[:, 5:12, 5:12].mean()
    overall = found.overall
    assert overall.accuracy.value == 1
    assert overall.most_drop.low > 0.3
    assert overall.least_drop.value == 0
    assert overall.excess.low > 0.2
    assert found.trusted
    assert found.region == f"grad_cam at {maps.layer}"


def test_a_marked_region_is_measured_too(shortcut: Classifier, images: ImageSet) -> None:
    """The sky costs everything, the insect nothing: it looks at the blue, not at the wings."""
    sky = np.zeros((60, SIZE, SIZE), dtype=bool)
    sky[:, :EDGE, :EDGE] = True
    insect = np.zeros((60, SIZE, SIZE), dtype=np.int64)
    insect[:, 5:12, 5:12] = 1
    by_sky = reliance(shortcut, images, sky, share=EDGE**2 / SIZE**2)
    by_insect = reliance(shortcut, images, insect, share=49 / SIZE**2)
    assert by_sky.overall.most.value == pytest.approx(1 / 3, abs=0.15)
    assert by_sky.overall.excess.low > 0.3
    assert by_insect.overall.most_drop.value == 0
    assert by_sky.region == "the given maps"
    assert by_sky.trusted is None


def test_the_numbers_fit_together(
    found: Reliance, shortcut: Classifier, images: ImageSet, maps: ActivationMaps
) -> None:
    assert [row.name for row in found.per_class] == list(CLASSES)
    for row in (found.overall, *found.per_class):
        assert row.most_drop.value == pytest.approx(row.accuracy.value - row.most.value)
        assert row.least_drop.value == pytest.approx(row.accuracy.value - row.least.value)
        assert row.random_drop.value == pytest.approx(row.accuracy.value - row.random.value)
        assert row.excess.value == pytest.approx(row.most_drop.value - row.random_drop.value)
    assert found.overall.most.value == pytest.approx(np.mean([row.most.value for row in found.per_class]))
    assert found.overall.accuracy.value == predict(shortcut, images).correct.mean()
    assert found == reliance(shortcut, images, maps, share=0.1, batch_size=7)
    half, again, other = (reliance(shortcut, images, maps, share=0.5, seed=seed) for seed in (0, 0, 1))
    assert half == again
    assert half.overall.most == other.overall.most
    assert half.overall.random != other.overall.random


def test_it_masks_what_it_says_with_the_mean_colour(images: ImageSet) -> None:
    """A model that answers by the number of pixels of the mean colour sees exactly the share masked."""

    class Counting(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            grey = (x.abs().amax(dim=1) == 0).flatten(1).sum(dim=1)  # (B,)
            return F.one_hot((grey == 26).long(), 3).float()

    spec = InputSpec(SIZE, SIZE, 3, (0.011, 0.5, 0.5), (0.2,) * 3, CLASSES)  # no pixel has this colour
    model = Classifier(Counting(), nn.Identity(), spec, MLPSettings())
    found = reliance(model, images, np.random.default_rng(0).random((60, SIZE, SIZE)), share=0.1)
    assert found.overall.accuracy.value == pytest.approx(1 / 3)  # it says butterfly
    for masked in ("most", "least", "random"):  # it says moth, since 26 of 256 pixels are masked
        rows = {row.name: getattr(row, masked).value for row in found.per_class}
        assert rows == {"butterfly": 0, "moth": 1, "wasp": 0}


def test_a_class_without_images_is_left_out(shortcut: Classifier, images: ImageSet, maps: ActivationMaps) -> None:
    chosen = np.flatnonzero(images.labels != 1)
    some = dataclasses.replace(maps, maps=maps.maps[chosen], index=maps.index[chosen])
    found = reliance(shortcut, images.take(chosen), some)
    assert [row.name for row in found.per_class] == ["butterfly", "wasp"]
    assert found.overall.n == 40


def test_it_reads_as_a_table_and_as_json(found: Reliance) -> None:
    lines = repr(found).splitlines()
    assert lines[0] == f"What masking 10% of the pixels takes off the accuracy, by {found.region}"
    assert [line.split()[0] for line in lines[2:]] == ["all", *CLASSES, "more"]
    assert json.loads(json.dumps(found.to_dict()))["overall"]["n"] == 60
    doubtful = dataclasses.replace(found, trusted=False)
    assert "NOT TO BE TRUSTED" in repr(doubtful)
    assert "unchecked" in repr(dataclasses.replace(found, trusted=None))


def test_the_model_is_given_back(shortcut: Classifier, images: ImageSet, maps: ActivationMaps) -> None:
    shortcut.train()
    reliance(shortcut, images, maps)
    assert all(module.training for module in shortcut.modules())
    assert all(parameter.requires_grad for parameter in shortcut.parameters())


@pytest.mark.parametrize(("share", "what"), [(0.0, "nothing"), (-0.5, "nothing"), (0.999, "everything"), (20, "every")])
def test_a_share_that_masks_nothing_or_everything_is_refused(
    share: float, what: str, shortcut: Classifier, images: ImageSet, maps: ActivationMaps
) -> None:
    with pytest.raises(EyebrightError, match=f"masks {what}"):
        reliance(shortcut, images, maps, share=share)


@pytest.mark.parametrize(
    "wrong",
    [np.zeros((59, SIZE, SIZE)), np.zeros((60, SIZE, SIZE, 1)), np.full((60, SIZE, SIZE), np.nan)],
    ids=["one less", "four sides", "nan"],
)
def test_maps_that_do_not_fit_are_refused(wrong: NDArray[np.float64], shortcut: Classifier, images: ImageSet) -> None:
    with pytest.raises(DataError, match="do not fit 60 images of 16x16 pixels"):
        reliance(shortcut, images, wrong)


def test_maps_of_other_images_are_refused(shortcut: Classifier, images: ImageSet, maps: ActivationMaps) -> None:
    with pytest.raises(DataError, match="of other images"):
        reliance(shortcut, images.take(np.arange(60)[::-1]), maps)


def test_no_images_are_refused() -> None:
    model, none = networks.plain_cnn(), networks.make_images(4).take([])
    with pytest.raises(DataError, match="is empty"):
        reliance(model, none, np.zeros((0, 32, 32)))


# The interval of a fall


def pairs(both: int, lost: int, won: int, neither: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    before = np.repeat([True, True, False, False], [both, lost, won, neither])
    after = np.repeat([True, False, True, False], [both, lost, won, neither])
    return before, after


def test_a_fall_is_the_paired_difference() -> None:
    assert drop(*pairs(36, 12, 2, 0)) == paired_difference(12, 2, 50)
    # All right before and after: the ends of Tango's interval are z2 / (n + z2), z2 = 3.8415.
    alike = drop(*pairs(10, 0, 0, 0))
    end = 3.8415 / (10 + 3.8415)
    assert (alike.value, alike.low, alike.high) == pytest.approx((0, -end, end), abs=1e-4)


@given(st.lists(st.integers(0, 40), min_size=4, max_size=4).filter(any))
def test_rise_is_fall_the_other_way(counts: list[int]) -> None:
    before, after = pairs(*counts)
    fall, rise = drop(before, after), drop(after, before)
    assert (rise.value, rise.low, rise.high) == pytest.approx((-fall.value, -fall.high, -fall.low), abs=1e-9)
    assert -1 <= fall.low <= fall.value <= fall.high <= 1
    assert fall.low < fall.high


def test_the_interval_covers_the_truth() -> None:
    random = np.random.default_rng(0)
    truth = (0.6, 0.2, 0.05, 0.15)  # both, lost, won, neither: the share falls by 0.15
    hits = 0
    for counts in random.multinomial(30, truth, size=1000):
        found = drop(*pairs(*counts.tolist()))
        hits += found.low <= truth[1] - truth[2] <= found.high
    assert 930 <= hits <= 985
