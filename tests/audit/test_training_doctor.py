"""Each rule by itself: evidence made by hand on both sides of its thresholds."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from eyebright.audit.gradients import LayerGradient
from eyebright.audit.leakage import Leak
from eyebright.audit.pixel_statistics import PixelStatistics
from eyebright.audit.training_doctor import ImageEvidence, Remark, diagnose
from eyebright.core.input_spec import InputSpec
from eyebright.core.recipe import Recipe
from tests.audit.conftest import epochs, plain, scored

WELL = scored({"train": (980, 1000), "validation": (970, 1000), "test": (975, 1000)})
GUESSING = scored({"train": (100, 1000), "validation": (100, 1000)})
GUESS = math.log(10)
CALM = epochs([2.0, 1.0, 0.5, 0.3])


def said(history: list[dict[str, float]] | None = None, **evidence: Any) -> list[Remark]:
    given: dict[str, Any] = {"recipe": plain(), "scores": WELL} | evidence
    return list(diagnose(CALM if history is None else history, **given))


def faults(history: list[dict[str, float]] | None = None, **evidence: Any) -> list[str]:
    return [remark.fault for remark in said(history, **evidence)]


def layer(norm: float = 0.1, idle: int = 0, moved: float | None = 0.5, name: str = "body.a") -> LayerGradient:
    return LayerGradient(name, norm, 100, idle, moved)


def test_a_good_training_and_missing_evidence_say_nothing() -> None:
    assert said() == []
    assert said([], scores={}) == []
    assert said(CALM, scores={}) == []
    assert said([], scores=WELL) == []
    assert said(gradients=[layer(), layer()]) == []


def test_the_published_gap_of_an_unregularised_network() -> None:
    # cifar10/simple_cnn: best in epoch 5 of 25; at the end 98.7 % on training, 70.9 % on validation images.
    train = [0.55, 0.65, 0.70, 0.74, 0.77, 0.85, 0.93, 0.987]
    validation = [0.60, 0.66, 0.70, 0.715, 0.728, 0.72, 0.71, 0.709]
    losses = [1.3, 1.0, 0.9, 0.8, 0.7, 0.4, 0.2, 0.04]
    history = epochs(losses, train, validation, [1.2, 1.0, 0.9, 0.85, 0.82, 1.1, 1.8, 2.5])
    scores = scored({"train": (8000, 10000), "validation": (3640, 5000), "test": (7180, 10000)})
    remark = said(history, recipe=plain("cifar10/simple_cnn"), scores=scores)[0]
    assert (remark.fault, remark.severity) == ("overfitting", "serious")
    assert "of the last epoch is 98.7 %, that on validation images 70.9 %: a gap of 27.8 points [26." in remark.evidence
    assert "lowest in epoch 5 (0.82) and ended at 2.50" in remark.evidence
    assert remark.overrides == ("augment=standard",)


@pytest.mark.parametrize(
    ("train", "validation", "n", "expected"),
    [
        (0.99, 0.90, 1000, []),  # 9 points
        (0.99, 0.88, 1000, ["warning"]),
        (0.99, 0.78, 1000, ["serious"]),
        (1.00, 0.85, 20, []),  # 3 of 20 may be chance: the interval of the gap holds 0
    ],
)
def test_overfitting_is_a_gap_beyond_chance(train: float, validation: float, n: int, expected: list[str]) -> None:
    scores = scored({"train": (round(train * n), n), "validation": (round(validation * n), n)})
    assert [remark.severity for remark in said(scores=scores)] == expected


def test_without_validation_images_the_gap_is_to_the_test() -> None:
    scores = scored({"train": (990, 1000), "test": (800, 1000)})
    assert "that on test images 80.0 %" in said(scores=scores)[0].evidence


def test_underfitting_is_a_training_error_without_a_gap() -> None:
    weak = scored({"train": (700, 1000), "validation": (690, 1000)})
    remark = said(epochs([2.0, 1.5, 1.2, 1.19, 1.18]), scores=weak)[0]
    assert (remark.fault, remark.severity) == ("underfitting", "note")
    assert remark.overrides == ("model.hidden=[1024,512]",)
    falling = said(epochs([2.0, 1.8, 1.6, 1.4, 1.2]), scores=weak)[0]
    assert falling.overrides == ("training.epochs=40",)
    assert "fell by 14 % in the last 1 of 5 epochs" in falling.evidence
    weaker = scored({"train": (500, 1000), "validation": (500, 1000)})
    assert said(scores=weaker)[0].severity == "warning"  # 0.5 is a skill of 0.44
    assert said(scores=scored({"train": (910, 1000), "validation": (910, 1000)})) == []


def test_dropout_is_the_first_suspect_of_underfitting() -> None:
    weak = scored({"train": (745, 1000), "validation": (740, 1000)})
    flat = epochs([1.2, 1.19, 1.18, 1.18, 1.18])
    remark = said(flat, recipe=plain("cifar10/regularized_cnn"), scores=weak)[0]
    assert remark.overrides == ("model.dropout=0.25",)


@pytest.mark.parametrize(
    ("losses", "sign"),
    [
        ([3.6, 1.0, 0.4], "reached 3.60 in epoch 1"),
        ([2.2, 1.5, 2.30, 2.30], "fell to 1.50 and ended at 2.30"),
        ([2.0, 0.3, 0.6, 0.2], "jumped by 0.30 in epoch 3"),
    ],
)
def test_a_learning_rate_that_is_too_high_shows_in_the_loss(losses: list[float], sign: str) -> None:
    remark = said(epochs(losses))[0]
    assert (remark.fault, remark.severity) == ("learning_rate_too_high", "warning")  # it came back
    assert said(epochs(losses), scores=GUESSING)[0].severity == "serious"
    assert sign in remark.evidence
    assert "guessing has 2.30 (learning rate 0.001)" in remark.evidence
    assert remark.overrides == ("optimizer.lr=0.0001",)


def test_small_waves_and_larger_images_are_no_fault() -> None:
    assert faults(epochs([2.4, 0.30, 0.35, 0.2, 0.42, 0.1])) == []  # the largest rise is 0.096 of guessing
    growing = plain(progressive=[[0.5, 0.75]])
    assert faults(epochs([2.0, 0.3, 0.9, 0.2]), recipe=growing) == []


def test_weights_that_went_far_and_for_nothing() -> None:
    weak = scored({"train": (500, 1000), "validation": (500, 1000)})
    remark = said(scores=weak, gradients=[layer(moved=12.5)])[0]
    assert remark.fault == "learning_rate_too_high"
    assert "moved by 12.5 times their length" in remark.evidence
    assert faults(gradients=[layer(moved=12.5)]) == []  # it learnt well, so they went somewhere
    assert faults(scores=weak, gradients=[layer(moved=math.inf)]) == ["underfitting"]  # it began at zero


def test_a_stuck_network_is_told_apart_by_its_layers() -> None:
    flat = epochs([2.31, 2.30, 2.30], [0.1, 0.1, 0.1])
    vanishing = [layer(1e-6, name="body.first"), layer(0.02, name="body.last"), layer(0.01, name="head")]
    remark = said(flat, scores=GUESSING, gradients=vanishing)[0]
    assert remark.fault == "vanishing_gradients"
    assert "body.first gets a gradient of 1.0e-06, body.last of 2.0e-02" in remark.evidence
    reached = [layer(1e-3), layer(0.02)]
    assert faults(flat, scores=GUESSING, gradients=reached) == ["no_learning"]
    slow = [layer(1e-2, moved=0.01), layer(0.02, moved=0.02)]
    assert faults(flat, scores=GUESSING, gradients=slow) == ["learning_rate_too_low"]
    assert faults(flat, scores=GUESSING) == ["no_learning"]
    assert "weights have moved" not in said(flat, scores=GUESSING)[0].evidence


def test_vanishing_gradients_of_a_network_that_learns_are_no_fault() -> None:
    assert faults(gradients=[layer(1e-9), layer(1.0)]) == []


def test_a_learning_rate_that_is_too_low_shows_in_the_weights() -> None:
    weak = scored({"train": (700, 1000), "validation": (690, 1000)})
    remark = said(scores=weak, gradients=[layer(moved=0.003), layer(moved=0.002)])[0]
    assert (remark.fault, remark.severity) == ("learning_rate_too_low", "warning")
    assert "more than 0.3 % of the length" in remark.evidence
    assert remark.overrides == ("optimizer.lr=0.1",)  # 0.001 times 100, which would move them by 0.3
    assert faults(gradients=[layer(moved=0.003)]) == []  # it learnt well all the same: fine-tuning
    assert faults(scores=weak, gradients=[layer(moved=None)]) == ["underfitting"]


def test_labels_of_which_one_half_says_nothing() -> None:
    scores = scored({"train": (300, 1000), "validation": (130, 1000)})
    learnt = epochs([2.2, 1.9, 1.5, 1.0], [0.15, 0.3, 0.5, 0.8], [0.1, 0.11, 0.1, 0.1])
    remark = said(learnt, scores=scores)[0]
    assert remark.fault == "wrong_labels"
    assert "reaches 80.0 %, but the validation accuracy is 10.0 % [8." in remark.evidence
    better = epochs([2.2, 1.9, 1.5, 1.0], [0.15, 0.3, 0.5, 0.8], [0.1, 0.2, 0.25, 0.25])
    assert "wrong_labels" not in faults(better, scores=scores)
    few = scored({"train": (900, 1000), "validation": (3, 10)})
    of_ten = epochs([2.2, 1.0], [0.3, 0.9], [0.3, 0.3])  # 3 of 10 may be guessing as well as half of what is learnt
    assert "wrong_labels" not in faults(of_ten, scores=few)


@dataclasses.dataclass(frozen=True)
class Stage:
    stage: str
    channels: int
    dead: int


@pytest.mark.parametrize(("dead", "expected"), [(49, []), (50, ["note"]), (80, ["warning"]), (100, ["serious"])])
def test_dead_units_by_their_share(dead: int, expected: list[str]) -> None:
    stages = [Stage("stage1", 64, 0), Stage("stage2", 100, dead)]
    assert [remark.severity for remark in said(activity=stages)] == expected
    assert [remark.severity for remark in said(gradients=[layer(idle=dead)])] == expected
    if expected:
        assert f"stage2 {dead} of 100" in said(activity=stages)[0].evidence


def test_what_is_known_of_activity_goes_before_gradients() -> None:
    assert said(activity=[Stage("stage1", 64, 0)], gradients=[layer(idle=100)]) == []


def test_many_dead_layers_are_counted_and_the_cause_decides_the_remedy() -> None:
    layers = [layer(idle=60 + number, name=f"layer{number}") for number in range(5)]
    remark = said(gradients=layers)[0]
    assert "layer4 64 of 100, layer3 63 of 100, layer2 62 of 100 and 2 more layers" in remark.evidence
    assert remark.overrides == ("optimizer.lr=0.0001",)
    born_dead = [dataclasses.replace(each, moved=0.01) for each in layers]
    assert said(gradients=born_dead)[0].overrides == ("model=regularized_cnn",)


SPEC = InputSpec(8, 8, 1, (0.5,), (0.2,), tuple("ab"))


def seen(mean: float = 0.5, deviation: float = 0.2, error: float = 0.001) -> PixelStatistics:
    return PixelStatistics(100, (mean,), (deviation,), (error,), (error,))


def images(leaks: tuple[Leak, ...] = (), **pixels: PixelStatistics) -> ImageEvidence:
    return ImageEvidence(SPEC, pixels, leaks)


def test_pixels_that_are_not_those_of_the_spec() -> None:
    assert faults(images=images(train=seen(), test=seen(0.54, 0.22))) == []
    darker = said(images=images(train=seen(), test=seen(0.44)))
    assert [remark.fault for remark in darker] == ["preprocessing_mismatch"]
    assert "test images" in darker[0].evidence
    assert "channel 0 has a mean of 0.440 instead of 0.500" in darker[0].evidence
    flatter = said(images=images(train=seen(deviation=0.15)))
    assert "a deviation of 0.150 instead of 0.200" in flatter[0].evidence
    assert flatter[0].overrides == ("seed=0",)
    assert faults(images=images(test=seen(0.44, error=0.02))) == []  # three standard errors may be chance
    assert faults(images=images(test=seen(deviation=0.0))) == ["preprocessing_mismatch"]


def test_pretrained_weights_normalise_by_other_images_on_purpose() -> None:
    recipe = plain().replace(model="pretrained")
    assert faults(recipe=recipe, images=images(train=seen(0.8), test=seen(0.8))) == []
    assert faults(recipe=recipe, images=images(train=seen(0.8), test=seen(0.5))) == ["preprocessing_mismatch"]


def test_the_remedy_for_other_light_is_one_that_is_not_in_force() -> None:
    overrides: list[str] = []
    recipe = plain()
    for _ in range(3):
        overrides += said(recipe=recipe, images=images(test=seen(0.9)))[0].overrides
        recipe = Recipe.from_dict(recipe.to_dict()).replace(**dict([overrides[-1].split("=")]))
    assert overrides == ["augment.brightness=0.4", "augment.contrast=0.4", "augment.contrast=0.8"]


def test_copies_weigh_as_much_as_the_interval_is_wide() -> None:
    def leak(count: int) -> Leak:
        rows = np.arange(7, 7 + count)
        return Leak("train", "test", rows, rows, np.arange(count) < 2, count / 1000)

    few, many = (said(images=images((leak(count),)))[0] for count in (5, 50))  # the interval is +- 1 %
    assert (few.severity, many.severity) == ("note", "warning")
    assert "50 test images (5.0 %) are in train too, pixel by pixel, 2 of them under another label" in many.evidence
    assert "row 7" in many.evidence


def test_validation_and_test_of_different_kinds() -> None:
    def split(validation: int, test: int, n: int = 1000) -> list[str]:
        return faults(scores=scored({"train": (960, 1000), "validation": (validation, n), "test": (test, n)}))

    assert split(950, 880) == ["preprocessing_mismatch"]
    assert split(930, 990) == ["preprocessing_mismatch"]
    assert split(950, 925) == []
    assert split(48, 43, 50) == []  # of 50 images, 10 points are chance


def test_a_model_that_answers_worse_than_it_did() -> None:
    history = epochs([2.0, 1.0, 0.5], validation=[0.7, 0.99, 0.95])
    remark = said(history, environment={"plan": "cpu, bf16, channels_last, 2 threads"})[0]
    assert (remark.fault, remark.severity) == ("preprocessing_mismatch", "serious")
    assert "epoch 2 had 99.0 % on the validation images" in remark.evidence
    assert "now has 97.0 %" in remark.evidence
    assert remark.overrides == ("training.precision=fp32",)
    assert said(history, environment={"plan": "cpu, fp32, contiguous, 1 thread"})[0].overrides == ("seed=0",)
    assert said(epochs([2.0, 1.0], validation=[0.7, 0.985])) == []


def test_the_kept_epoch_is_the_one_that_the_recipe_monitors() -> None:
    history = epochs([2.0, 1.0, 0.5], validation=[0.7, 0.97, 0.999], validation_losses=[1.0, 0.5, 0.9])
    assert said(history, recipe=plain(monitor="loss")) == []
    assert faults(history, recipe=plain(monitor="accuracy")) == ["preprocessing_mismatch"]


def test_remarks_come_most_serious_first_and_read_as_text() -> None:
    weak = scored({"train": (700, 1000), "validation": (690, 1000)})
    remarks = said(scores=weak, gradients=[layer(idle=100)])
    assert [remark.severity for remark in remarks] == ["serious", "note"]
    assert str(remarks[0]) == (
        "serious: dead units. Units that no image makes active: body.a 100 of 100. Take a tenth of the learning rate. "
        "(optimizer.lr=0.0001)"
    )
