from __future__ import annotations

import pytest
import torch
from torch import Tensor

from eyebright.core.settings.training import Views
from eyebright.evaluation.views import averaged


def corner(images: Tensor) -> Tensor:
    """A model whose two logits are the pixels at the top left and top right."""
    return images[:, 0, 0][:, [0, -1]].float()


IMAGE = torch.arange(9, dtype=torch.uint8).view(1, 1, 3, 3)  # rows 0 1 2, 3 4 5, 6 7 8


@pytest.mark.parametrize(
    ("views", "expected"),
    [
        ("one", [0.0, 2.0]),
        ("mirror", [1.0, 1.0]),
        # Moved up and left the top row is 4, 5, 4 (reflected); down and right it is 4, 3, 4.
        ("shift", [0.5 * 1 + 0.25 * 4 + 0.25 * 4] * 2),
    ],
)
def test_by_hand(views: Views, expected: list[float]) -> None:
    assert averaged(corner, IMAGE, views).tolist() == [expected]


@pytest.mark.parametrize("views", ["one", "mirror", "shift"])
def test_a_model_that_sees_no_difference_answers_as_before(views: Views) -> None:
    images = torch.full((2, 3, 5, 4), 7, dtype=torch.uint8)
    assert averaged(lambda x: x.float().mean((2, 3)), images, views).tolist() == [[7.0] * 3] * 2


def test_moving_by_a_pixel_is_exact() -> None:
    seen: list[Tensor] = []

    def model(images: Tensor) -> Tensor:
        seen.append(images.float())
        return torch.zeros(len(images), 2)

    image = torch.randint(0, 256, (1, 1, 6, 7), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    averaged(model, image, "shift")
    assert len(seen) == 6
    plain = image.float()[0, 0]
    inner = {tuple(view[0, 0, 1:-1, 1:-1].flatten().tolist()) for view in seen}
    for rows, columns in ((slice(1, -1), slice(1, -1)), (slice(2, None), slice(2, None)), (slice(-2), slice(-2))):
        cut = plain[rows, columns]
        assert tuple(cut.flatten().tolist()) in inner
        assert tuple(cut.flip(1).flatten().tolist()) in inner
