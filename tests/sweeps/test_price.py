from __future__ import annotations

import math

import numpy as np
import pytest

from eyebright.core.errors import EyebrightError
from eyebright.evaluation.intervals import difference, proportion
from eyebright.sweeps.price import expected_maximum, price, standard_error


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (1, 0.0),
        (2, 1 / math.sqrt(math.pi)),
        (3, 3 / (2 * math.sqrt(math.pi))),
        (10, 1.5387527308),  # Harter 1961, table 1
        (12, 1.6292276400),
        (100, 2.5075936390),
    ],
)
def test_the_expected_largest_of_normal_numbers(count: int, expected: float) -> None:
    assert expected_maximum(count) == pytest.approx(expected, abs=1e-7)


def test_agrees_with_drawing_them() -> None:
    drawn = np.random.default_rng(0).standard_normal((20_000, 50)).max(axis=1)
    assert expected_maximum(50) == pytest.approx(float(drawn.mean()), abs=4 * float(drawn.std()) / math.sqrt(20_000))


def test_none_has_no_largest() -> None:
    with pytest.raises(EyebrightError, match="have no largest"):
        expected_maximum(0)


def test_a_price_by_hand() -> None:
    validation, test = proportion(80, 100), proportion(1500, 2000)
    assert standard_error(validation) == pytest.approx(0.04, abs=0.0005)  # sqrt(0.8 * 0.2 / 100)
    assert standard_error(proportion(100, 100)) > 0
    paid = price(2, validation, test, None)
    assert paid.luck == pytest.approx(0.04 / math.sqrt(math.pi), abs=0.0005)
    assert paid.fall is not None
    assert paid.fall[0] == pytest.approx(0.05)
    assert paid.fall[1:] == difference(validation, test)


def test_without_test_images_nothing_is_said_of_them() -> None:
    paid = price(1, proportion(80, 100), None, None)
    assert (paid.luck, paid.test, paid.fall) == (0.0, None, None)
