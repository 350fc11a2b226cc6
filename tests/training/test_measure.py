"""Measuring: clocks that are faked for the arithmetic, real small trainings for the wiring."""

from __future__ import annotations

import dataclasses
import io
import tempfile
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from rich.console import Console
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from eyebright.core.device import Plan
from eyebright.core.errors import DataError, DivergedError
from eyebright.core.recipe import Recipe
from eyebright.data.image_set import Splits
from eyebright.models.classifier import Classifier
from eyebright.training import checkpoint, loop, progressive
from eyebright.training.callbacks import Callback, Moment
from eyebright.training.fit import fit, judge, resume
from eyebright.training.measure import forecast, machine, timing
from eyebright.training.measure import recipe as measured
from eyebright.training.measure.duration import Costs, Duration, in_words, remaining
from eyebright.training.measure.forecast import Forecast
from eyebright.training.measure.machine import BOTH, FORWARD, MATRIX, Decoding, Machine, Peak, measure_machine
from eyebright.training.measure.pace import Pace
from eyebright.training.measure.phases import Phase, only, phase_at, phases, training_flops
from eyebright.training.measure.recipe import PhaseSpeed, RecipeSpeed, measure_recipe
from eyebright.training.measure.timing import Effort, Measurement
from eyebright.training.run import Run
from tests.conftest import make_images

CPU = torch.device("cpu")
QUICK = Effort(seconds=0, fewest=2)
TINY = Recipe.from_dict(
    {
        "name": "test/tiny",
        "data": {"source": "shades"},
        "model": {"name": "regularized_cnn", "widths": [4, 8], "hidden": 16},
        "augment": {"flip": True, "crop": 1},
        "training": {"epochs": 4, "batch_size": 16, "threads": 1, "device": "cpu"},
    }
)
BATCHES = 9  # 130 images in batches of 16


def make_plan(dtype: torch.dtype = torch.float32) -> Plan:
    return Plan(CPU, dtype, channels_last=True, threads=1, keep_pages=False)


class Clock:
    """Stands for `time` in a module."""

    def __init__(self) -> None:
        self.now = 100.0

    def perf_counter(self) -> float:
        return self.now

    def passing(self, seconds: Sequence[float]) -> Callable[[], None]:
        """A step that takes these times, one after the other."""
        waiting = iter(seconds)

        def step() -> None:
            self.now += next(waiting)

        return step


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    fake = Clock()
    for module in (timing, forecast):
        monkeypatch.setattr(module, "time", fake)
    return fake


# Timing


def test_a_measurement_is_the_median_between_its_quartiles() -> None:
    found = Measurement.of([5, 1, 4, 2, 3])
    assert found == Measurement(median=3, low=2, high=4, n=5)
    assert found.times(10) == Measurement(median=30, low=20, high=40, n=5)


def test_warming_up_is_not_measured(clock: Clock) -> None:
    step = clock.passing([90, 50, 1, 2, 4])  # 1 + 2 are below five seconds, with 4 it is enough
    found = timing.rate(step, 8, CPU, Effort(seconds=5, fewest=1))
    assert found == Measurement(median=4, low=3, high=6, n=3)  # rates 8, 4, 2


def test_a_slow_step_is_measured_as_often_as_asked(clock: Clock) -> None:
    step = clock.passing([90, 50, 7, 7, 7])
    assert timing.rate(step, 7, CPU, Effort(seconds=5, fewest=3)).n == 3


def test_short_steps_are_timed_together(clock: Clock) -> None:
    step = clock.passing([9, 1 / 256] + [1 / 256] * 12)  # six of them last 0.02 seconds
    found = timing.rate(step, 2, CPU, Effort(seconds=0, fewest=2))
    assert found == Measurement(median=512, low=512, high=512, n=2)


def test_an_accelerator_is_waited_for_before_and_after(monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    monkeypatch.setattr(torch.accelerator, "synchronize", lambda device: events.append(f"wait for {device}"))
    timing.seconds(lambda: events.append("step"), torch.device("cuda"), calls=2)
    assert events == ["wait for cuda", "step", "step", "wait for cuda"]
    timing.seconds(lambda: events.append("on the CPU"), CPU)
    assert events[4:] == ["on the CPU"]


# The machine


@pytest.fixture
def small_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_MATRIX_SIDES", {"cpu": (4, 8)})
    monkeypatch.setattr(machine, "_BATCH", {"cpu": 3})
    monkeypatch.setattr(machine, "_CONVOLUTIONS", ((2, 4), (4, 2)))
    monkeypatch.setattr(machine, "COPIED_BYTES", 4096)
    monkeypatch.setattr(machine, "_DECODED_AT_ONCE", 1)


@pytest.mark.parametrize(
    ("operation", "by_hand"),
    [
        (MATRIX, [2 * 4**3, 2 * 8**3]),
        (FORWARD, [2 * 3 * 16 * 4 * 9, 2 * 3 * 4 * 16 * 9]),
        (BOTH, [6 * 3 * 16 * 4 * 9, 6 * 3 * 4 * 16 * 9]),
    ],
)
@pytest.mark.usefixtures("small_shapes")
def test_each_step_does_the_work_that_it_claims(operation: str, by_hand: list[int]) -> None:
    """By hand, and as torch counts it."""
    cases = list(machine._CASES[operation](make_plan(), torch.float32))
    assert [case.flops for case in cases] == by_hand
    for case in cases:
        with FlopCounterMode(display=False) as counter:
            case.step()
        assert counter.get_total_flops() == case.flops


@pytest.mark.usefixtures("small_shapes")
def test_the_peak_is_that_of_the_fastest_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    speeds = {2 * 4**3: 7.0, 2 * 8**3: 5.0}

    def rate(step: object, amount: float, device: object, effort: object) -> Measurement:
        return Measurement.of([speeds[int(amount)]])

    monkeypatch.setattr(machine, "rate", rate)
    found = machine._peak(MATRIX, torch.float32, make_plan(), QUICK)
    assert found == Peak(MATRIX, "float32", "4x4 by 4x4", Measurement(7, 7, 7, 1))


@pytest.mark.usefixtures("small_shapes")
def test_the_whole_machine_is_measured_and_given_back_as_it_was() -> None:
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    told: list[tuple[str, int, int]] = []
    plan = make_plan(torch.bfloat16)
    found = measure_machine(plan, effort=QUICK, progress=lambda *what: told.append(what))
    pairs = {(peak.operation, peak.dtype) for peak in found.peaks}
    assert pairs == {(operation, dtype) for operation in (MATRIX, FORWARD, BOTH) for dtype in ("float32", "bfloat16")}
    assert all(peak.flops_per_second.low > 0 and peak.flops_per_second.n >= 2 for peak in found.peaks)
    assert found.peak(BOTH, "bfloat16") in found.peaks
    assert found.copied_bytes_per_second.median > 0
    assert (found.device, found.plan, found.threads) == ("cpu", str(plan), 1)
    assert "torch" in found.environment
    assert [done for _, done, _ in told] == list(range(8))
    assert {total for _, _, total in told} == {8}
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads


@pytest.mark.usefixtures("small_shapes")
def test_in_float32_each_peak_is_measured_once() -> None:
    assert len(measure_machine(make_plan(), effort=QUICK).peaks) == 3


def test_both_directions_of_a_copy_count(monkeypatch: pytest.MonkeyPatch) -> None:
    measured_bytes: list[float] = []

    def rate(step: Callable[[], Tensor], amount: float, device: object, effort: object) -> Measurement:
        measured_bytes.append(step().nbytes)
        return Measurement.of([amount])

    monkeypatch.setattr(machine, "COPIED_BYTES", 1000)
    monkeypatch.setattr(machine, "rate", rate)
    assert machine._copied(make_plan(), QUICK).median == 2 * 1000
    assert measured_bytes == [1000]


def test_the_photo_is_one_and_pixels_count_in_millions() -> None:
    file = machine._photo()
    with Image.open(io.BytesIO(file)) as photo:
        assert (photo.format, photo.size, photo.mode) == ("JPEG", (500, 375), "RGB")
        pixels = np.asarray(photo, dtype=float)
    assert 30 < pixels.std() < 70  # contrast
    assert abs(pixels[:, 1:] - pixels[:, :-1]).mean() < abs(pixels[:, 50:] - pixels[:, :-50]).mean() / 2  # smooth
    assert machine._photo() == file
    decoding = Decoding(300, 500, len(file), 2, Measurement(40, 20, 60, 5))
    assert decoding.megapixels_per_second == Measurement(6, 3, 9, 5)


# The pace


def moment(epoch: int, batch: int, images: int, seconds: float, *, batches: int = 4, epochs: int = 10) -> Moment:
    return Moment(epoch, epochs, batch, batches, loss=1.0, accuracy=0.5, images=images, seconds=seconds)


def paced(*moments: Moment) -> Pace:
    pace = Pace()
    for each in moments:
        pace.note(each)
    return pace


def test_steps_and_the_ends_of_epochs_are_told_apart() -> None:
    pace = paced(
        moment(1, 1, 10, 50),  # warms up
        moment(1, 2, 20, 80),  # and still does
        moment(1, 3, 30, 82),  # 5 images/s
        moment(1, 4, 40, 84),
        moment(2, 1, 50, 89),  # the step takes 2 of these 5 seconds, the end of the epoch 3
        moment(2, 2, 60, 91),
    )
    assert pace.images_per_second() == Measurement(median=5, low=5, high=5, n=3)
    assert pace.end_seconds(expected=77) == pytest.approx(3)
    assert pace.enough(Effort(seconds=11, fewest=4))
    assert not pace.enough(Effort(seconds=11.5, fewest=4))
    assert not pace.enough(Effort(seconds=11, fewest=5))


def test_what_was_not_heard_is_as_expected() -> None:
    pace = paced(moment(1, 1, 10, 50), moment(1, 2, 20, 80), moment(1, 3, 30, 82))
    assert pace.end_seconds(expected=77) == 77


def test_an_end_that_seems_to_take_no_time_is_not_negative() -> None:
    pace = paced(moment(1, 3, 1, 1), moment(1, 4, 2, 2), moment(2, 1, 3, 2.5), moment(2, 2, 4, 3.5))
    assert pace.end_seconds(expected=77) == 0


def test_epochs_of_one_batch_have_their_ends_in_their_steps() -> None:
    pace = paced(*(moment(epoch, 1, 10 * epoch, 4.0 * epoch, batches=1) for epoch in range(1, 6)))
    assert pace.images_per_second().median == 10 / 4
    assert pace.end_seconds(expected=77) == 0


def test_bursts_of_prepared_batches_do_not_look_fast() -> None:
    """Three batches were ready, the fourth is waited for: 40 images in 4 seconds, though most steps take 0.1."""
    moments, seconds = [moment(1, 1, 10, 0.0, batches=99), moment(1, 2, 20, 0.1, batches=99)], 0.1
    for batch in range(3, 43):
        seconds += 3.7 if batch % 4 == 2 else 0.1
        moments.append(moment(1, batch, 10 * batch, seconds, batches=99))
    assert paced(*moments).images_per_second().median == pytest.approx(10)


# The arithmetic of the duration


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (0.0123, "0.012 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (38.4, "38 s"),
        (59.6, "1 min 00 s"),
        (380, "6 min 20 s"),
        (3599.6, "1 h 00 min"),
        (7529, "2 h 05 min"),
        (86_399, "1 d 0 h"),
        (100_800, "1 d 4 h"),
    ],
)
def test_durations_are_said_as_people_say_them(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


def test_a_duration_names_its_parts() -> None:
    assert str(Duration(300, 60, 20)) == "6 min 20 s (training 5 min 00 s, validation 1 min 00 s, judging 20 s)"
    assert str(Duration(30, 0, 8)) == "38 s (training 30 s, judging 8 s)"
    assert str(Duration(30, 0, 8, 20)) == "58 s (so far 20 s, training 30 s, judging 8 s)"


HALF, WHOLE = Phase(0.5), Phase()


@pytest.mark.parametrize(
    ("progressive", "freeze", "done", "expected"),
    [
        ((), {}, 0.0, {WHOLE: 1.0}),
        ((), {}, 0.75, {WHOLE: 0.25}),
        ((), {}, 1.0, {}),
        (((0.5, 0.5),), {}, 0.0, {HALF: 0.5, WHOLE: 0.5}),
        (((0.75, 0.25), (0.5, 0.5)), {}, 0.25, {HALF: 0.25, Phase(0.25): 0.25, WHOLE: 0.25}),
        (((0.25, 0.5), (0.5, 0.25), (0.75, 0.5)), {}, 0.0, {HALF: 0.5, Phase(0.25): 0.25, WHOLE: 0.25}),
        (((0.5, 0.5),), {}, 0.5, {WHOLE: 0.5}),
        (((1.0, 0.5),), {}, 0.5, {HALF: 0.5}),
        ((), {"a": 0.0}, 0.0, {Phase(1.0, ("a",)): 1.0}),
        ((), {"a": 1.0}, 0.0, {WHOLE: 1.0}),
        (
            ((0.5, 0.5),),
            {"a": 0.25, "b": 0.75},
            0.0,
            {
                HALF: 0.25,
                Phase(0.5, ("a",)): 0.25,
                Phase(1.0, ("a",)): 0.25,
                Phase(1.0, ("a", "b")): 0.25,
            },
        ),
    ],
)
def test_phases_are_what_is_left_of_resizing_and_freezing(
    progressive: Any, freeze: dict[str, float], done: float, expected: dict[Phase, float]
) -> None:
    settings = TINY.replace(progressive=progressive, freeze=freeze).training
    assert phases(settings, done) == expected


@pytest.mark.parametrize(
    ("unfreeze", "done", "expected"),
    [
        ([], 0.0, {Phase(learning=()): 1.0}),
        (["a"], 0.5, {Phase(learning=("a",)): 0.5}),
        ({"a": 0.0, "b": 0.25}, 0.0, {Phase(learning=("a",)): 0.25, Phase(learning=("a", "b")): 0.75}),
    ],
)
def test_phases_know_which_stages_have_begun_to_learn(unfreeze: Any, done: float, expected: dict[Phase, float]) -> None:
    settings = TINY.replace(unfreeze=unfreeze).training
    assert phases(settings, done) == expected
    for phase in expected:
        assert phases(only(TINY, phase).training) == {phase: 1.0}


@given(
    stages=st.lists(st.tuples(st.floats(0, 1), st.floats(0.1, 1)), max_size=4).map(tuple),
    freeze=st.dictionaries(st.sampled_from("abc"), st.floats(0, 1)),
)
def test_phases_cover_the_training_at_the_cost_of_its_pixels(stages: Any, freeze: dict[str, float]) -> None:
    settings = dataclasses.replace(TINY.training, progressive=stages, freeze=freeze)
    found = phases(settings)
    assert sum(found.values()) == pytest.approx(1)
    pixels = sum(share * phase.scale**2 for phase, share in found.items())
    steps = 1000
    mean = sum(progressive.scale_at(stages, (step + 0.5) / steps) ** 2 for step in range(steps)) / steps
    assert pixels == pytest.approx(mean, abs=4 / steps)
    for name, share in freeze.items():
        assert sum(found[phase] for phase in found if name in phase.frozen) == pytest.approx(1 - share)


def test_a_phase_alone_is_the_whole_training_and_says_what_it_is() -> None:
    phase = Phase(0.75, ("conv1", "conv2"))
    alone = only(TINY.replace(progressive=[[0.5, 0.25]], freeze={"conv3": 0.5}), phase)
    assert phases(alone.training) == {phase: 1.0}
    assert only(alone, WHOLE) == TINY
    assert phase_at(alone.training, 0.99) == phase
    assert str(phase) == "at 0.75 of the size, conv1 frozen, conv2 frozen"
    assert str(WHOLE) == ""


def costs(image: float, epoch_end: float, judged_image: float) -> Costs:
    return Costs(image=lambda phase: image * phase.scale, epoch_end=epoch_end, judged_image=judged_image)


def test_what_remains_is_computed_by_hand(shades: Splits) -> None:
    """130 training, 30 validation and 45 test images, four epochs."""
    each = costs(image=0.5, epoch_end=3, judged_image=0.25)
    assert remaining(TINY, shades, each) == Duration(4 * 130 * 0.5, 4 * 3, 205 * 0.25)
    later = remaining(TINY, shades, each, done=2.5, ended=2)
    assert later == Duration(1.5 * 130 * 0.5, 2 * 3, 205 * 0.25)
    growing = remaining(TINY.replace(progressive=[[0.5, 0.5]]), shades, each, done=1, ended=1)
    assert growing.training == pytest.approx(130 * 0.25 + 2 * 130 * 0.5)


def test_only_a_sample_of_many_training_images_is_judged() -> None:
    splits = Splits(make_images(12_000, "train", 0, size=1), make_images(3, "validation", 1), make_images(5, "test", 2))
    assert remaining(TINY, splits, costs(0, 0, 1)).judging == 10_000 + 3 + 5


# A recipe


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders are made; the current folder is beside it."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return folder


def test_a_recipe_is_measured_with_the_engine_and_leaves_nothing_behind(
    shades: Splits, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[int] = []
    step = loop._step

    def watched(job: loop.Job, trained: Any, batch: Any) -> tuple[Tensor, Tensor]:
        steps.append(len(batch))
        return step(job, trained, batch)

    monkeypatch.setattr(loop, "_step", watched)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    told: list[tuple[str, int, int]] = []
    found = measure_recipe(TINY, shades, effort=QUICK, progress=lambda *what: told.append(what))
    assert steps == [16] * 4  # two warm up, two are measured
    assert [name for name, _, _ in told] == ["data loader", "training", "inference", "judging"]
    assert [(done, total) for _, done, total in told] == [(0, 4), (1, 4), (2, 4), (3, 4)]
    assert list(scratch.iterdir()) == []
    assert list(Path.cwd().iterdir()) == []
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads

    (speed,) = found.phases
    assert (speed.phase, speed.share) == (WHOLE, 1)
    assert (found.recipe, found.source, found.batch_size, found.shape) == ("test/tiny", "shades", 16, (8, 8, 3))
    assert found.loader.median > 0
    training, validation, judging, so_far = dataclasses.astuple(found.duration)
    assert so_far == 0
    assert training == pytest.approx(4 * 130 / speed.images_per_second.median)
    assert validation == pytest.approx(4 * 30 / found.inference.median)  # no epoch ended, so no checkpoint was timed
    assert judging == pytest.approx((130 + 30 + 45) / found.judging.median)


def test_the_checkpoints_of_short_epochs_count(shades: Splits, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step of a batch takes one second, a checkpoint five."""
    clock, step, save = Clock(), loop._step, checkpoint.save

    def slow_step(*arguments: Any) -> tuple[Tensor, Tensor]:
        clock.now += 1
        return step(*arguments)

    def slow_save(*arguments: Any) -> None:
        clock.now += 5
        save(*arguments)

    monkeypatch.setattr(loop, "time", clock)
    monkeypatch.setattr(loop, "_step", slow_step)
    monkeypatch.setattr(checkpoint, "save", slow_save)
    found = measure_recipe(TINY.replace(precision="fp32"), shades, effort=Effort(seconds=0, fewest=BATCHES))
    assert found.dtype == "float32"
    assert found.phases[0].images_per_second.median == 16
    assert found.duration.epoch_ends == pytest.approx(4 * (5 + 30 / found.inference.median))


def test_a_training_set_of_one_batch_is_measured(shades: Splits) -> None:
    found = measure_recipe(TINY.replace(batch_size=200, epochs=1), shades, effort=QUICK)
    assert found.phases[0].images_per_second.median > 0


def test_each_stage_of_progressive_resizing_is_measured_at_its_size(
    shades: Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    forward = Classifier.forward

    def watched(self: Classifier, images: Tensor, *, any_size: bool = False) -> Tensor:
        if self.training:
            seen.append(images.shape[2])
        return forward(self, images, any_size=any_size)

    monkeypatch.setattr(Classifier, "forward", watched)
    recipe = TINY.replace(model="resnet20", progressive=[[0.25, 0.5], [0.5, 0.75], [0.75, 0.5]], views="mirror")
    found = measure_recipe(recipe, shades, effort=QUICK)
    assert {speed.phase: speed.share for speed in found.phases} == {HALF: 0.5, Phase(0.75): 0.25, WHOLE: 0.25}
    assert seen == [4] * 4 + [6] * 4 + [8] * 4
    by_hand = sum(4 * 130 * speed.share / speed.images_per_second.median for speed in found.phases)
    assert found.duration.training == pytest.approx(by_hand)
    small, _, whole = (speed.flops for speed in found.phases)
    assert small < whole / 3


def test_frozen_stages_are_frozen_in_their_trial(shades: Splits, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []
    forward = Classifier.forward

    def watched(self: Classifier, images: Tensor, *, any_size: bool = False) -> Tensor:
        if self.training:
            seen.append(all(parameter.requires_grad for parameter in self.body.parameters()))
        return forward(self, images, any_size=any_size)

    monkeypatch.setattr(Classifier, "forward", watched)
    stage = next(name for name, _ in measured.untrained(TINY, shades.train).body.named_children())
    found = measure_recipe(TINY.replace(freeze={stage: 0.25}), shades, effort=QUICK)
    assert {speed.phase: speed.share for speed in found.phases} == {WHOLE: 0.25, Phase(1.0, (stage,)): 0.75}
    assert seen == [True] * 4 + [False] * 4


def test_flops_of_training_by_hand(shades: Splits) -> None:
    model = measured.untrained(TINY.replace(model={"name": "mlp", "hidden": [8]}), shades.train)
    first, second = 8 * 8 * 3 * 8, 8 * 3
    # Forward; the gradients of both matrices; the gradient of the second one's input, for the first has no need of it.
    assert training_flops(model, WHOLE) == 2 * (2 * (first + second) + second)
    (layer,) = (name for name, part in model.body.named_children() if any(True for _ in part.parameters()))
    assert training_flops(model, Phase(1.0, (layer,))) == 2 * (first + 2 * second)
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())


def test_shares_of_the_peak_by_hand() -> None:
    def speed(value: float) -> Measurement:
        return Measurement(value, value, value, 1)

    peaks = (
        Peak(FORWARD, "float32", "", speed(1000)),
        Peak(BOTH, "float32", "", speed(500)),
        Peak(FORWARD, "bfloat16", "", speed(2000)),
        Peak(BOTH, "bfloat16", "", speed(1600)),
    )
    found = Machine("cpu", "", 1, {}, peaks, speed(1), Decoding(1, 1, 1, 1, speed(1)), 1.0)
    steps = PhaseSpeed(WHOLE, 1.0, flops=20, images_per_second=speed(40))
    reached = RecipeSpeed(
        "", "", "", "bfloat16", 1, (1, 1, 1), speed(1), (steps,), 8, speed(100), speed(1), Duration(1, 1, 1)
    )
    assert reached.training_share(found, steps) == 20 * 40 / 1600
    assert reached.inference_share(found) == 8 * 100 / 2000


def test_images_of_a_trial_are_what_the_loader_brings_in_seconds(shades: Splits) -> None:
    def images(per_second: float, batch_size: int) -> int:
        loader = Measurement(per_second, per_second, per_second, 1)
        trial = measured._trial_splits(TINY.replace(batch_size=batch_size), shades, loader)
        assert (len(trial.validation), len(trial.test)) == (0, 0)
        assert len(np.unique(trial.train.index)) == len(trial.train)
        return len(trial.train)

    assert images(1000, 4) == 130  # more than there are
    assert images(20, 4) == 80
    assert images(1, 4) == 32  # eight batches


def test_predictions_are_timed_on_more_images_until_they_take_long_enough(
    shades: Splits, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, int, str]] = []

    def predict(model: object, images: Any, *, batch_size: int, views: str, plan: Plan) -> None:
        asked.append((len(images), batch_size, views))
        clock.now += len(images) / 400

    monkeypatch.setattr(measured, "predict", predict)
    model = measured.untrained(TINY, shades.train)
    found = measured.prediction_speed(TINY, model, shades.train, make_plan(), "mirror", Effort(0, 1))
    assert found.median == pytest.approx(400)
    assert [number for number, _, _ in asked] == [8, 8, 16, 16, 32, 32, 64, 64, 64, 64, 64]  # 0.1 seconds hold 40
    assert {(batch_size, views) for _, batch_size, views in asked} == {(32, "mirror")}


def test_a_recipe_without_training_images_is_refused(shades: Splits) -> None:
    with pytest.raises(DataError, match="shades has no training images"):
        measure_recipe(TINY, Splits(shades.train.take([]), shades.validation, shades.test), effort=QUICK)


def test_a_trial_that_fails_leaves_nothing_behind_either(shades: Splits, scratch: Path) -> None:
    with pytest.raises(DivergedError):
        measure_recipe(TINY.replace(model="mlp", lr=1e20), shades, effort=Effort(seconds=0, fewest=9))
    assert list(scratch.iterdir()) == []


# The forecast


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=300, highlight=False)


def printed(console: Console) -> list[str]:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def known(recipe: Recipe, *, resumed: bool = False) -> Any:
    """A forecast's knowledge: 0.1 seconds to validate an image, 0.2 to judge one; FLOPs go by the pixels."""
    flops = {phase: round(1000 * phase.scale**2) for phase in phases(recipe.training)}
    return forecast._Known(recipe, resumed, flops, validated_image=0.1, judged_image=0.2)


def test_the_prediction_is_computed_by_hand(shades: Splits, clock: Clock, console: Console) -> None:
    """Batches of 16 images in 2 seconds; 130 images an epoch, 30 to validate, 205 to judge."""
    watcher = Forecast(shades, console)
    watcher._known = known(TINY.replace(epochs=10))
    clock.now += 37  # since then
    for batch in range(1, 6):
        assert watcher.predicted is None
        watcher.batch_done(moment(1, batch, 16 * batch, 20 + 2 * batch, batches=10))
    # Three intervals were heard. 9.5 of ten epochs are left, at 8 images/s, and ten validations.
    assert watcher.predicted is not None
    assert watcher.predicted.so_far == 37
    assert watcher.predicted.training == pytest.approx(9.5 * 130 / 8)
    assert watcher.predicted.epoch_ends == pytest.approx(10 * 30 * 0.1)
    assert watcher.predicted.judging == pytest.approx(205 * 0.2)
    before = watcher.predicted
    watcher.batch_done(moment(1, 6, 96, 99, batches=10))
    assert watcher.predicted == before  # said once
    clock.now += 300
    watcher.judged()
    assert printed(console) == [
        "predicted time: 4 min 22 s (so far 37 s, training 2 min 34 s, validation 30 s, judging 41 s)",
        "training and judging took 5 min 37 s; 4 min 22 s were predicted",
    ]


def test_the_end_of_an_epoch_that_was_heard_counts(shades: Splits, clock: Clock, console: Console) -> None:
    watcher = Forecast(shades, console)
    watcher._known = known(TINY.replace(epochs=10), resumed=True)
    for number, (epoch, batch, seconds) in enumerate([(3, 1, 9), (3, 2, 9.1), (3, 3, 9.2), (3, 4, 9.3), (4, 1, 13.4)]):
        watcher.batch_done(moment(epoch, batch, 16 * (number + 1), seconds))
    # 160 images/s, and an end of 4 seconds, of which seven are to come: those of epochs 4 to 10.
    assert watcher.predicted is not None
    assert watcher.predicted.epoch_ends == pytest.approx(7 * 4)
    assert watcher.predicted.training == pytest.approx(6.75 * 130 / 160)
    assert printed(console)[0].startswith("predicted time of the rest: 1 min 14 s (")


def test_small_images_say_what_large_ones_will_cost(shades: Splits, clock: Clock, console: Console) -> None:
    watcher = Forecast(shades, console)
    watcher._known = known(TINY.replace(epochs=10, progressive=[[0.5, 0.5]], patience=3))
    for batch in range(1, 6):
        watcher.batch_done(moment(1, batch, 16 * batch, 2 * batch, batches=10))
    # 8 images/s at half the size are 2 at the whole: 4.5 epochs of these, 5 of those.
    assert watcher.predicted is not None
    assert watcher.predicted.training == pytest.approx(4.5 * 130 / 8 + 5 * 130 / 2)
    assert printed(console)[0].endswith(" at most; patience may end it earlier")


def weights(run: Run) -> bytes:
    return run.best_checkpoint.read_bytes()


def test_a_forecast_changes_no_bit_of_a_real_training(shades: Splits, tmp_path: Path, console: Console) -> None:
    watcher = Forecast(shades, console)
    watched = fit(TINY, shades, folder=tmp_path / "watched", callbacks=[watcher])
    assert weights(watched) == weights(fit(TINY, shades, folder=tmp_path / "alone", callbacks=()))
    judge(watched, shades)
    watcher.judged()
    assert watcher.predicted is not None
    first, last = printed(console)
    assert first == f"predicted time: {watcher.predicted}"
    assert last.startswith("training and judging took ")
    assert last.endswith(" were predicted")


class Stop(Callback):
    """Stops in the second epoch."""

    def batch_done(self, moment: Moment) -> None:
        if (moment.epoch, moment.batch) == (2, 5):
            raise InterruptedError


def test_a_resumed_training_predicts_its_rest(shades: Splits, tmp_path: Path, console: Console) -> None:
    with pytest.raises(InterruptedError):
        fit(TINY, shades, folder=tmp_path / "run", callbacks=[Stop()])
    watcher = Forecast(shades, console)
    run = resume(Run.open(tmp_path / "run"), shades, callbacks=[watcher])
    assert printed(console)[0] == f"predicted time of the rest: {watcher.predicted}"
    assert weights(run) == weights(fit(TINY, shades, folder=tmp_path / "whole", callbacks=()))
    finished = Forecast(shades, console)
    resume(run, shades, callbacks=[finished])
    finished.judged()
    assert finished.predicted is None
    assert printed(console)[-1].startswith("training and judging took ")
    assert "predicted" not in printed(console)[-1]


def test_a_training_too_short_for_a_pace_predicts_its_judging(shades: Splits, tmp_path: Path, console: Console) -> None:
    watcher = Forecast(shades, console)
    fit(TINY.replace(epochs=1, batch_size=130), shades, folder=tmp_path / "run", callbacks=[watcher])
    assert watcher.predicted is not None
    assert watcher.predicted.judging > 0
    assert watcher.predicted.epoch_ends == 0


def test_the_engine_is_asked_in_its_precision_and_judging_in_float32(
    shades: Splits, tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[torch.dtype, str]] = []

    def prediction_speed(recipe: Recipe, model: object, images: object, plan: Plan, *how: Any) -> Measurement:
        asked.append((plan.dtype, how[0]))
        return Measurement(1, 1, 1, 1)

    monkeypatch.setattr(forecast, "prediction_speed", prediction_speed)
    run = types.SimpleNamespace(
        history=[], recipe=TINY.replace(views="shift"), last_checkpoint=tmp_path / "none.safetensors"
    )
    Forecast(shades, console).started(run, make_plan(torch.bfloat16))  # type: ignore[arg-type]
    assert asked == [(torch.bfloat16, "one"), (torch.float32, "shift")]
