"""Every operation against a hand-computed answer or a reference: torch, Pillow, colorsys."""

from __future__ import annotations

import colorsys
import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance
from torch import Tensor

from eyebright.core.errors import RecipeError
from eyebright.core.randomness import stream
from eyebright.core.settings.augment import AugmentSettings
from eyebright.data.augment import BLENDS, OPERATIONS, augment, portion
from eyebright.data.operations import blanking, blending, colour, geometry
from eyebright.data.operations.geometry import turned_over
from eyebright.data.operations.portion import Portion

PLACE = (0, 0, 0)
EACH: dict[str, Any] = {
    "flip": True,
    "crop": 2,
    "shift": 0.3,
    "rotate": 20.0,
    "zoom": 0.3,
    "brightness": 0.5,
    "contrast": 0.5,
    "saturation": 0.5,
    "hue": 0.2,
    "cutout": 3,
    "coarse_dropout": 3,
    "erasing": 0.7,
    "mixup": 0.4,
    "cutmix": 1.0,
}
INVENT_NOTHING = ("flip", "crop", "shift", "rotate", "zoom", "cutout", "coarse_dropout", "cutmix")


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))


def ones(batch: int, height: int = 32, width: int = 32) -> Tensor:
    return torch.ones(batch, 1, height, width, dtype=torch.uint8)


def pillow(image: Tensor) -> Image.Image:
    return Image.fromarray(image.permute(1, 2, 0).numpy())


def difference(image: Tensor, reference: Image.Image) -> int:
    """Largest difference between an image (C, H, W) and Pillow's, in grey levels."""
    return int(np.abs(image.permute(1, 2, 0).numpy().astype(int) - np.asarray(reference).astype(int)).max())


class Fixed(np.random.Generator):
    """A generator whose `random` and `uniform` give what the test says."""

    def __init__(self, values: Any) -> None:
        super().__init__(np.random.PCG64(0))
        self.values = np.asarray(values)

    def random(self, *_: Any, **__: Any) -> Any:
        return self.values

    def uniform(self, *_: Any, **__: Any) -> Any:
        return self.values


# The registry


def test_operations_are_the_fields_of_the_settings_in_their_order() -> None:
    fields = [field.name for field in dataclasses.fields(AugmentSettings)]
    assert ["pipeline", *(name for name, _ in (*OPERATIONS, *BLENDS))] == fields == ["pipeline", *EACH]


def test_nothing_on_returns_the_same_tensors() -> None:
    images, labels = noise(3, 3, 5, 5), torch.tensor([0, 1, 1])
    out, targets = augment(images, labels, AugmentSettings(), classes=2, place=PLACE)
    assert out is images
    assert targets is labels


@pytest.mark.parametrize("name", EACH)
def test_each_operation_changes_images_and_leaves_its_input(name: str) -> None:
    images, labels = noise(16, 3, 12, 10), torch.arange(16) % 4
    before = images.clone()
    out, _ = augment(images, labels, AugmentSettings(**{name: EACH[name]}), classes=4, place=PLACE)
    assert not torch.equal(out.float(), images.float())
    assert torch.equal(images, before)


def test_each_operation_has_its_own_draws_whatever_else_is_on(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: dict[str, list[int]] = {}

    def spy(name: str, operation: Any) -> Any:
        def wrapped(images: Tensor, value: Any, random: np.random.Generator, portion: Portion) -> Any:
            drawn[name] = random.bit_generator.random_raw(2).tolist()
            return operation(images, value, random, portion)

        return wrapped

    def run(**values: Any) -> dict[str, list[int]]:
        drawn.clear()
        images, labels = noise(4, 3, 12, 12), torch.zeros(4).long()
        augment(images, labels, AugmentSettings(**values), classes=2, place=(5, 6, 7))
        return dict(drawn)

    monkeypatch.setattr(
        "eyebright.data.augment.OPERATIONS", tuple((name, spy(name, each)) for name, each in OPERATIONS)
    )
    monkeypatch.setattr("eyebright.data.augment.BLENDS", tuple((name, spy(name, each)) for name, each in BLENDS))
    alone = {name: draws for name, value in EACH.items() for name, draws in run(**{name: value}).items()}
    together = run(**EACH)
    assert len(together) == len(EACH) - 1  # one of mixup and cutmix
    assert all(draws == alone[name] for name, draws in together.items())
    assert len({tuple(draws) for draws in alone.values()}) == len(EACH)


def test_streams_differ_by_every_part_of_the_place_and_by_purpose() -> None:
    places = [("flip", 0, 0, 0), ("crop", 0, 0, 0), ("flip", 1, 0, 0), ("flip", 0, 1, 0), ("flip", 0, 0, 1)]
    draws = {stream(*place).integers(2**63).item() for place in places}
    assert len(draws) == len(places)
    assert stream("flip", 3, 1, 2).integers(2**63) == stream("flip", 3, 1, 2).integers(2**63)


@hypothesis_settings(max_examples=40, deadline=None)
@given(
    names=st.sets(st.sampled_from(sorted(EACH))),
    batch=st.integers(1, 6),
    shape=st.tuples(st.sampled_from([1, 3]), st.integers(4, 9), st.integers(4, 9)),
    seed=st.integers(0, 2**40),
    layout=st.sampled_from([torch.channels_last, torch.contiguous_format]),
)
def test_any_combination_keeps_shape_type_range_and_is_reproducible(
    names: set[str], batch: int, shape: tuple[int, int, int], seed: int, layout: torch.memory_format
) -> None:
    images = noise(batch, *shape, seed=seed)
    labels = torch.arange(batch) % 3
    chosen = AugmentSettings(**{name: EACH[name] for name in names})
    out, targets = augment(images.contiguous(memory_format=layout), labels, chosen, classes=3, place=(seed, 1, 2))
    assert out.shape == images.shape
    assert out.dtype == torch.uint8 or (out.dtype == torch.float32 and "mixup" in names)
    assert out.min() >= 0
    assert out.max() <= 255
    if names & {"mixup", "cutmix"}:
        assert targets.shape == (batch, 3)
        assert targets.dtype == torch.float32
        torch.testing.assert_close(targets.sum(1), torch.ones(batch))
        assert targets.min() >= 0
    else:
        assert targets is labels
    # The same again, in the other memory layout.
    again, targets_again = augment(images, labels, chosen, classes=3, place=(seed, 1, 2))
    assert torch.equal(out, again)
    assert torch.equal(targets, targets_again)


def test_everything_runs_where_determinism_is_demanded() -> None:
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        for name, value in EACH.items():
            settings = AugmentSettings(**{name: value})
            images, labels = noise(4, 3, 9, 9), torch.arange(4)
            first, _ = augment(images, labels, settings, classes=4, place=PLACE)
            second, _ = augment(images, labels, settings, classes=4, place=PLACE)
            assert torch.equal(first, second)
    finally:
        torch.use_deterministic_algorithms(before)


@hypothesis_settings(max_examples=60, deadline=None)
@given(
    names=st.sets(st.sampled_from(sorted(EACH))),
    batch=st.integers(1, 9),
    cut=st.tuples(st.integers(0, 9), st.integers(0, 9)),
    seed=st.integers(0, 2**40),
    alternating=st.booleans(),
)
def test_portions_of_a_batch_are_augmented_as_the_whole_batch_is(
    names: set[str], batch: int, cut: tuple[int, int], seed: int, alternating: bool
) -> None:
    images, labels, rows = noise(batch, 3, 6, 7, seed=seed), torch.arange(batch) % 4, np.arange(batch) + 5
    values = {name: EACH[name] for name in names} | ({"flip": "alternating"} if alternating else {})
    chosen, place = AugmentSettings(**values), (seed, 1, 2)
    whole, targets = augment(images, labels, chosen, classes=4, place=place, portion=Portion(rows=rows))
    first = cut[0] % batch
    last = first + 1 + cut[1] % (batch - first)
    part = portion(chosen, place, batch, first, last)
    assert part.positions is not None
    at_hand = part.positions
    assert sorted(set(at_hand)) == sorted(at_hand)
    part = dataclasses.replace(part, rows=rows[at_hand])
    out, own_targets = augment(images[at_hand], labels[at_hand], chosen, classes=4, place=place, portion=part)
    assert out.dtype == whole.dtype
    assert torch.equal(out, whole[first:last])
    assert torch.equal(own_targets, targets[first:last])


@pytest.mark.parametrize(
    ("changes", "extra"),
    [({"flip": True, "crop": 2, "erasing": 0.5}, 0), ({"mixup": 0.4}, 8), ({"cutmix": 1.0}, 8), ({"cutout": 3}, 24)],
    ids=str,
)
def test_a_portion_asks_for_few_other_images(changes: dict[str, Any], extra: int) -> None:
    part = portion(AugmentSettings(**changes), PLACE, 32, 8, 16)
    assert part.positions is not None
    assert part.positions[:8].tolist() == list(range(8, 16))
    assert len(part.positions) - 8 <= extra


@pytest.mark.parametrize("name", INVENT_NOTHING)
def test_geometry_and_blanking_invent_no_colour(name: str) -> None:
    images = torch.full((8, 3, 16, 16), 77, dtype=torch.uint8)
    out, _ = augment(images, torch.zeros(8).long(), AugmentSettings(**{name: EACH[name]}), classes=1, place=PLACE)
    assert torch.equal(out, images)


# Geometry


def test_flip_mirrors_those_below_one_half() -> None:
    images = torch.arange(12, dtype=torch.uint8).view(3, 1, 2, 2)
    out = geometry.flip(images, True, Fixed([0.49, 0.5, 0.0]))
    assert out[:, 0].tolist() == [[[1, 0], [3, 2]], [[4, 5], [6, 7]], [[9, 8], [11, 10]]]


def test_flip_takes_half_of_the_images() -> None:
    images = torch.tensor([0, 1], dtype=torch.uint8).expand(4000, 1, 1, 2)
    flipped = geometry.flip(images, True, stream("flip", *PLACE))[:, 0, 0, 0].float().mean().item()
    assert flipped == pytest.approx(0.5, abs=4 * 0.5 / 4000**0.5)


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize(("height", "width", "pad"), [(8, 8, (4, 4)), (5, 7, (4, 2)), (6, 4, (0, 3)), (3, 1, (2, 0))])
def test_window_is_the_reflected_pad_cut_at_the_offset(
    height: int, width: int, pad: tuple[int, int], layout: torch.memory_format
) -> None:
    images = noise(20, 3, height, width)
    random = np.random.default_rng(1)
    top, left = (random.integers(0, 2 * most, 20, endpoint=True) for most in pad)
    out = geometry.window(images.contiguous(memory_format=layout), pad, top, left)
    padded = F.pad(images.float(), (pad[1], pad[1], pad[0], pad[0]), mode="reflect").to(torch.uint8)
    for i in range(20):
        assert torch.equal(out[i], padded[i, :, top[i] : top[i] + height, left[i] : left[i] + width])


def test_crop_reaches_every_offset_and_no_other() -> None:
    images = torch.arange(25, dtype=torch.uint8).view(1, 1, 5, 5).expand(1000, 1, 5, 5)
    middles = geometry.crop(images, 1, stream("crop", *PLACE))[:, 0, 2, 2]
    assert sorted(set(middles.tolist())) == [6, 7, 8, 11, 12, 13, 16, 17, 18]


def test_shift_counts_in_shares_of_each_side() -> None:
    images = torch.arange(40, dtype=torch.uint8).view(1, 1, 10, 4).expand(2000, 1, 10, 4)
    out = geometry.shift(images, 0.2, stream("shift", *PLACE))[:, 0, 5, 1]  # was 21: row 5, column 1
    assert {value // 4 for value in out.tolist()} == {3, 4, 5, 6, 7}  # 0.2 of 10: two rows
    assert {value % 4 for value in out.tolist()} == {0, 1, 2}  # 0.2 of 4 rounds to one column


@pytest.mark.parametrize("values", [{"crop": 8}, {"crop": 40}, {"shift": 0.96}])
def test_a_pad_wider_than_the_image_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match="images of 9x8 pixels cannot be padded by"):
        augment(noise(2, 3, 9, 8), torch.zeros(2).long(), AugmentSettings(**values), classes=1, place=PLACE)


def test_a_shift_of_no_pixel_is_refused() -> None:
    with pytest.raises(RecipeError, match="by less than one"):
        geometry.shift(noise(2, 3, 8, 8), 0.05, stream("shift", *PLACE))


@pytest.mark.parametrize(("degrees", "quarters"), [(0, 0), (90, 1), (180, 2), (-90, 3), (360, 0)])
def test_turn_by_quarters_is_rot90(degrees: float, quarters: int) -> None:
    images = noise(4, 3, 7, 7)
    assert torch.equal(geometry.turn(images, np.full(4, float(degrees))), torch.rot90(images, quarters, (2, 3)))


def test_turn_by_a_half_suits_images_that_are_not_square() -> None:
    images = noise(2, 1, 4, 9)
    assert torch.equal(geometry.turn(images, np.full(2, 180.0)), images.flip((2, 3)))


def test_turn_keeps_right_angles_in_images_that_are_not_square() -> None:
    images = torch.zeros(1, 1, 21, 41, dtype=torch.uint8)
    images[0, 0, 10, 30] = 200  # ten pixels right of the middle
    row, column = divmod(int(geometry.turn(images, np.array([90.0])).argmax()), 41)
    assert (row, column) == (0, 20)  # ten above the middle


def test_turn_agrees_with_pillow_inside() -> None:
    # Smooth, so that the two ways of placing pixels differ little.
    ramp = (np.add.outer(np.arange(33) * 3, np.arange(33) * 4)).astype(np.uint8)
    out = geometry.turn(torch.from_numpy(ramp).view(1, 1, 33, 33), np.array([25.0]))[0, 0].numpy()
    reference = np.asarray(Image.fromarray(ramp).rotate(25, resample=Image.Resampling.BILINEAR))
    assert np.abs(out.astype(int) - reference)[8:25, 8:25].max() <= 1


def test_rotate_draws_within_its_range(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(geometry, "turn", lambda _, degrees: degrees)
    drawn: Any = geometry.rotate(ones(2000), 30.0, stream("rotate", *PLACE))
    assert drawn.min() == pytest.approx(-30, abs=0.5)
    assert drawn.max() == pytest.approx(30, abs=0.5)


def test_enlarging_twice_shows_the_middle() -> None:
    # Smooth, so that interpolation gives the line itself.
    images = (4 * torch.arange(32)).to(torch.uint8).expand(1, 1, 32, 32)
    out = geometry.enlarge(images, np.array([2.0]))[0, 0, 5].float()
    expected = 4 * (15.5 + (torch.arange(32) - 15.5) / 2)
    assert (out - expected).abs().max() <= 0.5


def test_shrinking_reflects_the_edge() -> None:
    images = noise(1, 3, 16, 24)
    out = geometry.enlarge(images, np.array([0.5])).float()
    small = images.float().unfold(2, 2, 2).unfold(3, 2, 2).mean((4, 5))  # sampled halfway between four pixels
    assert (out[..., 4:12, 6:18] - small).abs().max() <= 0.5
    assert (out[..., :4, :] - out[..., 4:8, :].flip(2)).abs().max() <= 1  # halves round either way
    assert (out[..., 18:] - out[..., 12:18].flip(3)).abs().max() <= 1


def test_each_image_is_enlarged_by_its_own_factor() -> None:
    images = noise(2, 1, 12, 12)
    both = geometry.enlarge(images, np.array([1.0, 1.5]))
    assert torch.equal(both[0], images[0])
    assert torch.equal(both[1:], geometry.enlarge(images[1:], np.array([1.5])))


def test_zoom_draws_within_its_range(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(geometry, "enlarge", lambda _, factors: factors)
    drawn: Any = geometry.zoom(ones(2000), 0.2, stream("zoom", *PLACE))
    assert drawn.min() == pytest.approx(0.8, abs=0.01)
    assert drawn.max() == pytest.approx(1.2, abs=0.01)


# Colour


@pytest.mark.parametrize(
    ("adjust", "enhance"),
    [
        (colour.adjust_brightness, ImageEnhance.Brightness),
        (colour.adjust_contrast, ImageEnhance.Contrast),
        (colour.adjust_saturation, ImageEnhance.Color),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_colour_agrees_with_pillow(adjust: Any, enhance: Any, channels: int) -> None:
    images = noise(5, 3, 16, 12)[:, :channels]
    factors = [0.0, 0.3, 1.0, 1.4, 2.0]
    out = adjust(images, torch.tensor(factors).view(-1, 1, 1, 1))
    assert out.dtype == torch.uint8
    for i, factor in enumerate(factors):
        image = pillow(images[i].expand(3, -1, -1))
        # Pillow rounds the mean and cuts the fraction off, so it may be two grey levels away.
        assert difference(out[i].expand(3, -1, -1), enhance(image).enhance(factor)) <= 2


@pytest.mark.parametrize("adjust", [colour.adjust_brightness, colour.adjust_contrast, colour.adjust_saturation])
def test_a_factor_of_one_changes_nothing(adjust: Any) -> None:
    images = noise(3, 3, 9, 9)
    assert torch.equal(adjust(images, torch.ones(3, 1, 1, 1)), images)


def test_colour_of_two_pixels_by_hand() -> None:
    images = torch.tensor([[100, 200], [100, 200], [100, 200]], dtype=torch.uint8).view(1, 3, 1, 2)
    half = torch.full((1, 1, 1, 1), 0.5)
    assert colour.adjust_brightness(images, half)[0, 0, 0].tolist() == [50, 100]
    assert colour.adjust_contrast(images, half)[0, 0, 0].tolist() == [125, 175]  # the mean is 150
    red = torch.tensor([255, 0, 0], dtype=torch.uint8).view(1, 3, 1, 1)  # luminance 0.299 * 255 = 76
    assert colour.adjust_saturation(red, half).flatten().tolist() == [166, 38, 38]
    third = torch.full((1, 1, 1, 1), 1 / 3)
    assert colour.adjust_hue(red, third).flatten().tolist() == [0, 255, 0]
    assert colour.adjust_hue(red, -third).flatten().tolist() == [0, 0, 255]


def test_hue_agrees_with_colorsys() -> None:
    turns = [-0.5, -0.13, 0.0, 0.21, 0.5]
    images = noise(5, 3, 8, 8)
    images[:, :, 0, 0] = 90  # a grey pixel
    out = colour.adjust_hue(images, torch.tensor(turns).view(-1, 1, 1, 1))
    for i, turn in enumerate(turns):
        for row, column in np.ndindex(8, 8):
            hue, saturation, value = colorsys.rgb_to_hsv(*(images[i, :, row, column] / 255).tolist())
            wanted = 255 * torch.tensor(colorsys.hsv_to_rgb((hue + turn) % 1, saturation, value))
            torch.testing.assert_close(out[i, :, row, column].float(), wanted, atol=0.502, rtol=0)


@pytest.mark.parametrize("name", ["saturation", "hue"])
def test_grey_images_have_no_colour_to_change(name: str) -> None:
    images = noise(4, 1, 6, 6)
    values: dict[str, Any] = {name: 0.5}
    settings = AugmentSettings(**values)
    assert torch.equal(augment(images, torch.zeros(4).long(), settings, classes=1, place=PLACE)[0], images)


def test_jitter_draws_around_its_middle() -> None:
    images = torch.full((2000, 1, 1, 1), 100, dtype=torch.uint8)
    out = dict(OPERATIONS)["brightness"](images, 0.25, stream("brightness", *PLACE), Portion())
    assert [out.min().item(), out.max().item()] == [75, 125]
    assert out.float().mean().item() == pytest.approx(100, abs=4 * 14.5 / 2000**0.5)


# Blanking


def test_rectangles_by_hand() -> None:
    mask = blanking.rectangles(ones(3, 3, 4), *np.array([[0, -1, 2], [1, 2, 3], [2, 2, 0], [2, 5, 1]]))
    assert mask[:, 0].int().tolist() == [
        [[0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]],
        [[0, 0, 1, 1], [0, 0, 0, 0], [0, 0, 0, 0]],
        [[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]],
    ]


def test_cutout_blanks_one_square_with_the_mean_colour_of_the_batch() -> None:
    images = torch.zeros(400, 2, 9, 9, dtype=torch.uint8)
    images[::2, 0], images[::2, 1] = 200, 100
    out = blanking.cutout(images, 3, stream("cutout", *PLACE))
    blank = (out != images)[:, 0]
    assert set(out[:, 0][blank].tolist()) == {100}
    assert set(out[:, 1][blank].tolist()) == {50}
    # A square whose centre lies on the border loses a row or a column.
    assert set(blank.sum((1, 2)).tolist()) == {4, 6, 9}
    assert blank.any(0).all()


@pytest.mark.parametrize("side", [1, 2, 3, 4])
def test_cutout_has_the_side_it_is_asked_for(side: int) -> None:
    images = torch.tensor([0, 2], dtype=torch.uint8).view(2, 1, 1, 1).repeat(50, 1, 20, 20)
    blank = (blanking.cutout(images, side, stream("cutout", *PLACE)) == 1)[:, 0]
    assert blank.any(2).sum(1).max() == side
    assert blank.any(1).sum(1).max() == side


def test_a_cutout_larger_than_the_image_is_refused() -> None:
    with pytest.raises(RecipeError, match="cutout=9 is larger than images of 10x8 pixels"):
        blanking.cutout(noise(2, 3, 10, 8), 9, stream("cutout", *PLACE))


def test_coarse_dropout_blanks_one_to_the_given_number_of_rectangles() -> None:
    images = torch.tensor([0, 2], dtype=torch.uint8).view(2, 1, 1, 1).repeat(500, 1, 40, 20)
    one = (blanking.coarse_dropout(images, 1, stream("coarse_dropout", *PLACE)) == 1)[:, 0]
    heights, widths = one.any(2).sum(1), one.any(1).sum(1)
    assert [heights.min().item(), heights.max().item()] == [4, 10]
    assert [widths.min().item(), widths.max().item()] == [2, 5]
    assert torch.equal(heights * widths, one.sum((1, 2)))  # exactly one full rectangle each
    many = (blanking.coarse_dropout(images, 6, stream("coarse_dropout", *PLACE)) == 1)[:, 0].sum((1, 2))
    assert 8 <= many.min() <= 50  # where one was drawn
    assert 150 < many.max() <= 300


def test_erasing_fills_the_drawn_share_of_images_with_noise() -> None:
    images = ones(2000)
    out = blanking.erasing(images, 0.3, stream("erasing", *PLACE))
    changed = (out != images)[:, 0]
    erased = changed.any((1, 2))
    assert erased.float().mean().item() == pytest.approx(0.3, abs=4 * 0.46 / 2000**0.5)
    heights, widths = changed.any(2).sum(1)[erased], changed.any(1).sum(1)[erased]
    area = (heights * widths) / 32**2
    assert 0.012 < area.min() < 0.03  # 2 % with its sides rounded to whole pixels
    assert 0.3 < area.max() < 0.36
    aspect = heights / widths
    assert aspect.min() < 0.36
    assert aspect.max() > 2.8
    values = out[:, 0][changed].double()
    assert values.mean().item() == pytest.approx(127.5, abs=1)
    assert values.std().item() == pytest.approx(255 / 12**0.5, abs=1)


def test_erasing_with_certainty_touches_every_image() -> None:
    assert (blanking.erasing(ones(200), 1.0, stream("erasing", *PLACE)) != 1).any(3).any(2).all()


# Blending


def test_mixup_blends_images_as_their_targets_say() -> None:
    labels = torch.arange(6)
    images = (40 * labels).to(torch.uint8).view(6, 1, 1, 1).expand(6, 3, 4, 5)  # image k is all 40 k
    out, targets = augment(images, labels, AugmentSettings(mixup=1.0), classes=6, place=PLACE)
    assert out.dtype == torch.float32
    torch.testing.assert_close(out.mean((1, 2, 3)), targets @ (40 * torch.arange(6.0)))
    assert (targets > 0).sum(1).max() == 2
    assert (targets.diagonal() > 0).all()


def test_mixup_draws_from_beta() -> None:
    _, _, kept = blending.mixup(ones(4000, 1, 1), 0.5, stream("mixup", *PLACE))
    assert kept.mean().item() == pytest.approx(0.5, abs=0.025)
    assert kept.var().item() == pytest.approx(1 / (4 * (2 * 0.5 + 1)), abs=0.01)  # 0.125


def test_cutmix_pastes_a_rectangle_whose_area_is_the_partners_share() -> None:
    labels = torch.arange(200)
    images = labels.to(torch.uint8).view(200, 1, 1, 1).expand(200, 1, 12, 9)  # image k is all k
    out, targets = augment(images, labels, AugmentSettings(cutmix=1.0), classes=200, place=PLACE)
    assert out.dtype == torch.uint8
    for k in range(200):
        counts = torch.bincount(out[k].flatten().long(), minlength=200)
        torch.testing.assert_close(counts / (12 * 9), targets[k])
        pasted = out[k, 0] != k
        assert pasted.sum() == pasted.any(0).sum() * pasted.any(1).sum()
    assert (targets.diagonal() < 1).float().mean() > 0.9


def test_with_both_each_batch_draws_one_of_the_two() -> None:
    settings = AugmentSettings(mixup=1.0, cutmix=1.0)
    images, labels = noise(8, 3, 8, 8), torch.arange(8)
    kinds = [augment(images, labels, settings, classes=8, place=(0, 0, number))[0].dtype for number in range(200)]
    assert 70 < kinds.count(torch.float32) < 130
    assert kinds.count(torch.float32) + kinds.count(torch.uint8) == 200


def test_a_batch_of_one_blends_with_itself() -> None:
    images = noise(1, 3, 6, 6)
    out, targets = augment(images, torch.tensor([1]), AugmentSettings(mixup=1.0), classes=2, place=PLACE)
    torch.testing.assert_close(out, images.float())
    torch.testing.assert_close(targets, torch.tensor([[0.0, 1.0]]))


# Alternating flips


def test_alternating_flips_show_both_sides_in_any_two_epochs() -> None:
    rows = np.random.default_rng(0).permutation(50_000)
    first, second, third = (turned_over(rows, seed=3, epoch=epoch) for epoch in (0, 1, 2))
    assert np.array_equal(first, ~second)
    assert np.array_equal(first, third)
    assert abs(first.mean() - 0.5) < 0.01  # four standard deviations
    assert abs((first == turned_over(rows, seed=4, epoch=0)).mean() - 0.5) < 0.01
    assert abs(np.corrcoef(first[np.argsort(rows)][:-1], first[np.argsort(rows)][1:])[0, 1]) < 0.02


def test_an_image_keeps_its_side_in_whatever_batch_it_comes() -> None:
    images, rows = noise(40, 3, 5, 6), np.arange(100, 140)
    settings = AugmentSettings(flip="alternating")
    labels = torch.zeros(40).long()
    whole, _ = augment(images, labels, settings, classes=1, place=(0, 1, 0), portion=Portion(rows=rows))
    part, _ = augment(images[7:9], labels[:2], settings, classes=1, place=(0, 1, 5), portion=Portion(rows=rows[7:9]))
    assert torch.equal(whole[7:9], part)
    other_epoch, _ = augment(images, labels, settings, classes=1, place=(0, 2, 0), portion=Portion(rows=rows))
    assert torch.equal(other_epoch, whole.flip(3))
