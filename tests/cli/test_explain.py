"""`eyebright explain`: answers, a picture, and bad input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from eyebright.cli import explain
from eyebright.core.recipe import recipe
from eyebright.data.load import load
from eyebright.training.fit import fit
from tests.cli.conftest import Command


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CNN and an MLP on digits."""
    folder = tmp_path_factory.mktemp("runs")
    for name, epochs in (("cnn", 3), ("mlp", 1)):
        chosen = recipe(f"digits/{name}", epochs=epochs)
        fit(chosen, load(chosen.data), folder=folder / name, callbacks=())
    splits = load(recipe("digits/cnn").data)
    for number, pixels in enumerate(splits.test.take(range(9)).images):
        Image.fromarray(pixels[..., 0]).save(folder / f"digit{number}.png")
    return folder


def test_answers_and_a_picture(command: Command, runs: Path, tmp_path: Path) -> None:
    ran = command("explain", runs / "cnn", runs / "digit0.png", "--top", 2)
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert lines[0] == str(runs / "digit0.png")
    assert "%" in lines[1]
    assert "%" in lines[2]
    assert "grad_cam at " in lines[3]
    with Image.open(tmp_path / "explained.png") as picture:
        assert picture.width > 100


def test_several_images_another_class_and_method(command: Command, runs: Path, tmp_path: Path) -> None:
    images = [runs / f"digit{number}.png" for number in range(9)]
    ran = command("explain", runs / "cnn", *images, "--class", "3", "--method", "occlusion", "--out", "why")
    assert ran.code == 0
    assert "occlusion at input: 9 maps" in ran.out
    with Image.open(tmp_path / "why") as picture:  # whatever the file is called
        assert picture.format == "PNG"


def test_a_model_without_maps_still_answers_and_says_what_to_use(command: Command, runs: Path) -> None:
    ran = command("explain", runs / "mlp", runs / "digit0.png")
    assert ran.code == 2
    assert "%" in ran.out
    assert "integrated_gradients" in ran.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("digit99.png",), "digit99.png"),
        (("digit0.png", "--class", "cat"), "no class 'cat'"),
        (("digit0.png", "--method", "gradcam"), "grad_cam"),
        (("digit0.png", "--layer", "nowhere"), "nowhere"),
    ],
)
def test_bad_input_is_named(command: Command, runs: Path, arguments: tuple[str, ...], said: str) -> None:
    ran = command("explain", runs / "cnn", runs / arguments[0], *arguments[1:])
    assert ran.code == 2
    assert said in ran.err


def test_a_picture_in_the_terminal_shows_two_pixels_a_character() -> None:
    picture = np.zeros((4, 3, 3), np.uint8)
    picture[1] = (255, 0, 128)
    console = Console(force_terminal=True, color_system="truecolor", width=20)
    with console.capture() as captured:
        console.print(explain._blocks(picture))
    first = captured.get().splitlines()[0]
    assert first.count("▀") == 3
    assert "38;2;0;0;0;48;2;255;0;128" in first
