"""`Space`: the fields that a sweep changes, and the values that each may take."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, final

from eyebright.core.errors import RecipeError, SweepError
from eyebright.core.recipe import GROUPS, Recipe, locate

if TYPE_CHECKING:
    from hydra.core.override_parser.types import IntervalSweep, Override
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

_DECIMALS = 12  # of the values of a range: 0.1 + 0.2 is meant to be 0.3
_SCALARS = (bool, int, float, str)  # besides None, what a study keeps as it is


@final
@dataclasses.dataclass(frozen=True)
class Choice:
    """Values of which a trial takes one, without an order.

    Attributes
    ----------
    values : two different ones at least, such as YAML can hold.
    """

    values: tuple[Any, ...]

    @property
    def listed(self) -> tuple[Any, ...]:
        """The values of a grid."""
        return self.values

    def holds(self, value: Any) -> bool:
        """Whether a trial may take it."""
        return any(_same(value, each) for each in self.values)

    def encoded(self, value: Any) -> Any:
        """As a study keeps it."""
        return value if value is None or isinstance(value, _SCALARS) else json.dumps(value)

    @property
    def distribution(self) -> CategoricalDistribution:
        """As Optuna draws from it."""
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution([self.encoded(value) for value in self.values])

    def decoded(self, kept: Any) -> Any:
        """The inverse of `encoded`."""
        return next(value for value in self.values if _same(self.encoded(value), kept))

    def to_plain(self) -> Any:
        """As YAML holds it."""
        return list(self.values)


@final
@dataclasses.dataclass(frozen=True)
class Interval:
    """Numbers from `low` to `high`, both included; whole numbers where both ends are of type int.

    Attributes
    ----------
    low, high : the ends, low < high.
    log : search evenly in the exponent.
    step : distance of the values from `low` on; None where every number between the ends is one.
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise SweepError(f"there is no interval from {self.low:g} to {self.high:g}.", "Give the smaller end first.")
        if self.log and self.low <= 0:
            raise SweepError(f"a logarithmic interval cannot begin at {self.low:g}.", "Begin it above 0.")
        if self.step is not None and (self.step <= 0 or self.log):
            raise SweepError(
                f"an interval cannot have the step {self.step:g}{' and be logarithmic' if self.log else ''}.",
                "Give a step above 0, without log; or no step.",
            )

    @property
    def whole(self) -> bool:
        """Whether the values are whole numbers."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def listed(self) -> tuple[float, ...] | None:
        """The values of a grid; None where there is no end to them."""
        if self.step is None:
            return None
        steps = math.floor(_rounded((self.high - self.low) / self.step))
        return tuple(_rounded(self.low + position * self.step) for position in range(steps + 1))

    def holds(self, value: Any) -> bool:
        """Whether a trial may take it."""
        if isinstance(value, bool) or not isinstance(value, int if self.whole else (int, float)):
            return False
        listed = self.listed
        return self.low <= value <= self.high and (listed is None or _rounded(value) in listed)

    def encoded(self, value: Any) -> Any:
        """As a study keeps it."""
        return value

    @property
    def distribution(self) -> IntDistribution | FloatDistribution:
        """As Optuna draws from it."""
        from optuna.distributions import FloatDistribution, IntDistribution

        if self.whole:
            step = 1 if self.step is None else int(self.step)
            return IntDistribution(int(self.low), int(self.high), log=self.log, step=step)
        return FloatDistribution(self.low, self.high, log=self.log, step=self.step)

    def decoded(self, kept: Any) -> Any:
        """The inverse of `encoded`."""
        return _rounded(kept) if self.step is not None else kept

    def to_plain(self) -> Any:
        """As YAML holds it."""
        return {
            name: value for name, value in dataclasses.asdict(self).items() if value is not None and value is not False
        }


Values = Choice | Interval
Space = Mapping[str, Values]


def read(overrides: Iterable[str]) -> tuple[list[str], dict[str, Values]]:
    """Divide FIELD=VALUES texts, in Hydra's grammar, into those with one value and those with several.

    Several are `1,2,3`, `choice(a,b)`, `range(0,1,0.25)`, `interval(0.1,1)`, `tag(log,interval(1e-4,1e-1))`, and
    `int(interval(16,128))`.

    Raises
    ------
    RecipeError : a text is none of these.
    SweepError : a field is given twice, or an interval is empty.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    parser = OverridesParser.create()
    fixed: list[str] = []
    swept: dict[str, Values] = {}
    for text in overrides:
        try:
            override = parser.parse_override(text)
        except HydraException as error:
            reason = str(error).splitlines()[0]
            raise RecipeError(
                f"cannot read {text!r}: {reason}", "Write FIELD=VALUE, or FIELD=VALUE,VALUE to try several."
            ) from None
        if not override.is_sweep_override():
            fixed.append(text)
            continue
        field = override.key_or_group
        if field in swept:
            raise _twice(field)
        swept[field] = _values(override, text)
    return fixed, swept


def given(fields: Mapping[str, Any]) -> dict[str, Values]:
    """The same from Python: a list of values, an `Interval`, or a text in Hydra's grammar, by field.

    Raises
    ------
    RecipeError, SweepError : a field's values are none of these.
    """
    found: dict[str, Values] = {}
    for field, values in fields.items():
        if isinstance(values, Choice | Interval):
            found[field] = values
        elif isinstance(values, str):
            _, read_values = read([f"{field}={values}"])
            if field not in read_values:
                raise SweepError(
                    f"{field}={values!r} is one value.",
                    'Give a list, or a text with several: "1e-4,1e-3", "interval(0.1,0.9)".',
                )
            found |= read_values
        else:
            found[field] = _choice(field, list(values))
    return found


def located(space: Space, base: Recipe) -> dict[str, Values]:
    """The space by full names of fields, in units that fit the recipe.

    Raises
    ------
    RecipeError : a field does not exist; names the nearest that does. Or a value does not fit.
    SweepError : a field is given twice, or there is none.
    """
    if not space:
        raise SweepError(
            "nothing to sweep: no field has several values.", "Give some, such as optimizer.lr=1e-4,1e-3,1e-2"
        )
    found: dict[str, Values] = {}
    for name, values in space.items():
        field = locate(base, name)
        if field in found:
            raise _twice(field)
        found[field] = _fitting(values, value_of(base, field))
    _check(found, base)
    return found


def value_of(recipe: Recipe, field: str) -> Any:
    """The recipe's own value of a field, as YAML holds it; of a group the name of its entry. None where it has none."""
    value: Any = recipe.to_dict()
    for step in field.split("."):
        value = value.get(step) if isinstance(value, dict) else None
    return value.get("name") if field in GROUPS and isinstance(value, dict) else value


def own_values(space: Space, base: Recipe) -> dict[str, Any] | None:
    """The point of the space that is the recipe itself; None where the recipe lies outside."""
    own = {field: value_of(base, field) for field in space}
    if not all(values.holds(own[field]) for field, values in space.items()):
        return None
    return own if base.replace(**own) == base else None


def combinations(space: Space) -> Iterator[dict[str, Any]]:
    """All points of a grid; the last field changes fastest.

    Raises
    ------
    SweepError : an interval has no end of values.
    """
    return (dict(zip(space, point, strict=True)) for point in itertools.product(*_listed(space)))


def size(space: Space) -> int:
    """The number of points of a grid.

    Raises
    ------
    SweepError : an interval has no end of values.
    """
    return math.prod(len(values) for values in _listed(space))


def to_plain(space: Space) -> dict[str, Any]:
    """As YAML holds it."""
    return {field: values.to_plain() for field, values in space.items()}


def from_plain(plain: Mapping[str, Any]) -> dict[str, Values]:
    """The inverse of `to_plain`."""
    return {
        field: Interval(**values) if isinstance(values, dict) else Choice(tuple(values))
        for field, values in plain.items()
    }


def short_names(fields: Iterable[str]) -> dict[str, str]:
    """Each field without its group, where that leaves no doubt."""
    every = list(fields)
    last = [field.rsplit(".", 1)[-1] for field in every]
    return {field: name if last.count(name) == 1 else field for field, name in zip(every, last, strict=True)}


def shown(value: Any) -> str:
    """A value as people write it."""
    if value is None or isinstance(value, bool):
        return str(value).lower().replace("none", "null")
    if isinstance(value, float):
        text = f"{value:.3g}"
        return f"{value:g}" if "e+" in text else text
    return json.dumps(value) if isinstance(value, list | dict) else str(value)


def described(values: Mapping[str, Any]) -> str:
    """The values of a trial: "lr=0.001 batch_size=64"."""
    names = short_names(values)
    return " ".join(f"{names[field]}={shown(value)}" for field, value in values.items())


def _values(override: Override, text: str) -> Values:
    """What Hydra read, as ours."""
    from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, RangeSweep

    found, field = override.value(), override.key_or_group
    if isinstance(found, IntervalSweep):
        return _interval(found)
    if isinstance(found, RangeSweep):
        numbers = sorted(_rounded(value) for value in found.range())
        if len(numbers) < 2:
            raise SweepError(
                f"{text!r} gives fewer than two values.", "Its end is not part of a range(START,END,STEP)."
            )
        return Interval(numbers[0], numbers[-1], step=_rounded(abs(found.step)))
    if not isinstance(found, ChoiceSweep):  # a glob, which Hydra needs its own folders for
        raise SweepError(f"{text!r} names no values.", "List them: FIELD=VALUE,VALUE")
    return _choice(field, [_plain(value) for value in found.list])


def _interval(found: IntervalSweep) -> Interval:
    if found.start is None or found.end is None:
        raise SweepError("an interval has two ends.", "Write interval(LOW,HIGH).")
    unknown = found.tags - {"log"}
    if unknown:
        raise SweepError(f"an interval cannot be {', '.join(sorted(unknown))}.", "Write tag(log,interval(LOW,HIGH)).")
    return Interval(found.start, found.end, log="log" in found.tags)


def _plain(value: Any) -> Any:
    """A parsed element without Hydra's wrapping of quoted texts."""
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {_plain(key): _plain(each) for key, each in value.items()}
    return getattr(value, "text", value)


def _choice(field: str, values: Sequence[Any]) -> Choice:
    for position, value in enumerate(values):
        if any(_same(value, other) for other in values[:position]):
            raise SweepError(f"{field} is to be {shown(value)} twice.", "Give each value once.")
    if len(values) < 2:
        raise SweepError(
            f"{field} has {'one value' if values else 'no value'} to try.",
            "Give two at least, or set it for all trials.",
        )
    return Choice(tuple(list(value) if isinstance(value, tuple) else value for value in values))


def _fitting(values: Values, own: Any) -> Values:
    """An interval with whole ends, of a field that counts something, is one of whole numbers."""
    if not isinstance(values, Interval) or values.whole or isinstance(own, bool) or not isinstance(own, int):
        return values
    low, high, step = values.low, values.high, values.step
    if low != int(low) or high != int(high) or (step is not None and step != int(step)):
        return values
    return dataclasses.replace(values, low=int(low), high=int(high), step=None if step is None else int(step))


def _check(space: Space, base: Recipe) -> None:
    """Try each value with the recipe's own values of all other fields.

    Fields below a group whose entry is swept may fit another entry than the recipe's own: what does not fit shows
    when the trial is run.
    """
    for field, values in space.items():
        if field.partition(".")[0] in space and field not in GROUPS:
            continue
        for value in _examples(values):
            base.replace(**{field: value})


def _examples(values: Values) -> tuple[Any, ...]:
    """Values that a field must take, if it is to take all of them."""
    if isinstance(values, Choice):
        return values.values
    ends = (values.low, values.high)
    # A field that takes whole numbers only takes the ends 2.0 and 9.0, and no number between them.
    return ends if values.whole or values.step else (*ends, values.low + (values.high - values.low) / math.pi)


def _listed(space: Space) -> list[tuple[Any, ...]]:
    lists = []
    for field, values in space.items():
        listed = values.listed
        if listed is None:
            raise SweepError(
                f"a grid cannot try every number of {field} between {values.to_plain()['low']:g} and "
                f"{values.to_plain()['high']:g}.",
                "List values, or search the interval: --search tpe --trials 50",
            )
        lists.append(listed)
    return lists


def _twice(field: str) -> SweepError:
    return SweepError(f"{field} is swept twice.", "Give all values of a field at once.")


def _same(one: Any, other: Any) -> bool:
    """Equality that tells true from 1."""
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def _rounded(value: float) -> float:
    return value if isinstance(value, int) else round(value, _DECIMALS)
