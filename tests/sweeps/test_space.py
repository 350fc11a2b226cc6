from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from eyebright.core.errors import RecipeError, SweepError
from eyebright.core.recipe import Recipe
from eyebright.sweeps import space
from eyebright.sweeps.space import Choice, Interval


def test_reads_hydras_grammar() -> None:
    fixed, swept = space.read(
        [
            "optimizer.lr=1e-4,1e-3",
            "epochs=5",
            "batch_size=range(32,129,32)",
            "model.dropout=interval(0,0.6)",
            "optimizer.weight_decay=tag(log,interval(1e-6,1e-2))",
            "patience=int(interval(2,9))",
            "model.hidden=[64],[64,32]",
            "augment=choice(none,standard)",
            "data.classes=['a,b',c],null",
        ]
    )
    assert fixed == ["epochs=5"]
    assert swept == {
        "optimizer.lr": Choice((1e-4, 1e-3)),
        "batch_size": Interval(32, 128, step=32),
        "model.dropout": Interval(0.0, 0.6),
        "optimizer.weight_decay": Interval(1e-6, 1e-2, log=True),
        "patience": Interval(2, 9),
        "model.hidden": Choice(([64], [64, 32])),
        "augment": Choice(("none", "standard")),
        "data.classes": Choice((["a,b", "c"], None)),
    }
    assert isinstance(swept["patience"], Interval)
    assert swept["patience"].whole


def test_python_may_give_lists_texts_and_intervals() -> None:
    given_fields = {"lr": [0.1, 0.2], "dropout": "interval(0,0.5)", "epochs": Interval(1, 9), "hidden": [(8,), (8, 8)]}
    assert space.given(given_fields) == {
        "lr": Choice((0.1, 0.2)),
        "dropout": Interval(0.0, 0.5),
        "epochs": Interval(1, 9),
        "hidden": Choice(([8], [8, 8])),
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("lr=1e-3,0.001", "lr is to be 0.001 twice"),
        ("lr=choice(1)", "one value"),
        ("lr=choice()", "cannot read"),
        ("lr=range(1,2)", "fewer than two"),
        ("lr=interval(2,1)", "no interval from 2 to 1"),
        ("lr=tag(log,interval(0,1))", "cannot begin at 0"),
        ("lr=tag(exp,interval(1,2))", "cannot be exp"),
        ("model=glob(*)", "names no values"),
        ("lr=1,", "cannot read"),
    ],
)
def test_bad_values_are_named(text: str, said: str) -> None:
    with pytest.raises((SweepError, RecipeError), match=said):
        space.read([text])


def test_a_field_is_swept_once(tiny: Recipe) -> None:
    with pytest.raises(SweepError, match="lr is swept twice"):
        space.read(["lr=1,2", "lr=3,4"])
    with pytest.raises(SweepError, match=r"optimizer\.lr is swept twice"):
        space.located(space.given({"lr": [0.1, 0.2], "optimizer.lr": [0.3, 0.4]}), tiny)


def test_one_value_from_python_is_no_sweep() -> None:
    with pytest.raises(SweepError, match="is one value"):
        space.given({"lr": "0.1"})
    with pytest.raises(SweepError, match="no value"):
        space.given({"lr": []})


def test_names_are_completed_and_intervals_of_counts_are_whole(tiny: Recipe) -> None:
    found = space.located(
        space.given(
            {"lr": "interval(1,2)", "batch_size": "interval(8,64)", "seed": [1, 2], "model": ["mlp", "resnet20"]}
        ),
        tiny,
    )
    assert list(found) == ["optimizer.lr", "training.batch_size", "seed", "model"]
    assert found["training.batch_size"] == Interval(8, 64)
    assert isinstance(found["training.batch_size"].distribution, IntDistribution)
    assert isinstance(found["optimizer.lr"].distribution, FloatDistribution)
    assert isinstance(found["model"].distribution, CategoricalDistribution)


@pytest.mark.parametrize(
    ("field", "values", "said"),
    [
        ("lrr", [1, 2], "Did you mean 'lr'"),
        ("optimizer.lrr", [1, 2], "Did you mean 'lr'"),
        ("model", ["mlp", "mpl"], "Did you mean 'mlp'"),
        ("lr", [0.1, -1], "does not fit"),
        ("batch_size", "interval(0.5,3)", "does not fit"),
        ("dropout", "interval(0,2)", "does not fit"),
        ("patience", "interval(2,9)", "does not fit"),  # without a value of its own, it has to be int(interval(2,9))
    ],
)
def test_what_the_recipe_does_not_know_is_refused(tiny: Recipe, field: str, values: object, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        space.located(space.given({field: values}), tiny)


def test_nothing_to_sweep(tiny: Recipe) -> None:
    with pytest.raises(SweepError, match="nothing to sweep"):
        space.located({}, tiny)


def test_a_grid_has_all_combinations_in_order() -> None:
    points: dict[str, space.Values] = {"a": Choice((1, 2)), "b": Interval(0.1, 0.3, step=0.1)}
    assert space.size(points) == 6
    assert [tuple(point.values()) for point in space.combinations(points)] == [
        (1, 0.1), (1, 0.2), (1, 0.3), (2, 0.1), (2, 0.2), (2, 0.3)
    ]  # fmt: skip
    with pytest.raises(SweepError, match="every number of c between 1 and 2"):
        space.size(points | {"c": Interval(1.0, 2.0)})


def test_the_recipe_itself_is_found_where_it_lies_in_the_space(tiny: Recipe) -> None:
    inside = space.located(space.given({"lr": [0.01, 0.1], "batch_size": "range(16,65,16)"}), tiny)
    assert space.own_values(inside, tiny) == {"optimizer.lr": 0.01, "training.batch_size": 32}
    assert space.own_values(space.located(space.given({"lr": [0.02, 0.1]}), tiny), tiny) is None
    assert space.own_values(space.located(space.given({"batch_size": "range(20,65,20)"}), tiny), tiny) is None
    # The entry `mlp` has other hidden units than the recipe, so that to choose it is not the recipe itself.
    assert space.own_values(space.located(space.given({"model": ["mlp", "resnet20"]}), tiny), tiny) is None


def test_true_is_not_one() -> None:
    choice = Choice((True, 1))
    assert choice.holds(True)
    assert not Choice((1, 2)).holds(True)
    assert not Interval(0, 1).holds(True)


VALUES = st.one_of(
    st.lists(st.one_of(st.none(), st.integers(), st.floats(allow_nan=False), st.text()), min_size=2, max_size=4)
    .filter(lambda values: all(values.count(value) == 1 for value in values))
    .map(lambda values: Choice(tuple(values))),
    st.tuples(st.floats(1e-6, 1), st.floats(2, 9), st.booleans()).map(lambda ends: Interval(*ends)),
    st.tuples(st.integers(0, 5), st.integers(6, 9)).map(lambda ends: Interval(*ends)),
)


@given(VALUES)
def test_yaml_keeps_it(values: Choice | Interval) -> None:
    assert space.from_plain(space.to_plain({"field": values})) == {"field": values}


@given(VALUES)
def test_a_study_keeps_it(values: Choice | Interval) -> None:
    ends = values.values if isinstance(values, Choice) else (values.low, values.high)
    for value in ends:
        assert values.holds(value)
        assert values.distribution._contains(values.distribution.to_internal_repr(values.encoded(value)))
        assert values.decoded(values.encoded(value)) == value


def test_steps_end_within_the_interval() -> None:
    assert Interval(0.0, 1.0, step=0.6).listed == (0.0, 0.6)
    assert Interval(0.1, 0.7, step=0.1).listed == (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
    for step, log in ((0.0, False), (-0.1, False), (0.1, True)):
        with pytest.raises(SweepError, match="cannot have the step"):
            Interval(0.1, 1.0, step=step, log=log)


def test_names_are_short_where_that_leaves_no_doubt() -> None:
    assert space.short_names(["model.dropout", "optimizer.lr", "seed"]) == {
        "model.dropout": "dropout", "optimizer.lr": "lr", "seed": "seed"
    }  # fmt: skip
    assert space.short_names(["a.name", "b.name"]) == {"a.name": "a.name", "b.name": "b.name"}
    values = {"a.x": 0.00042687, "a.y": [8, 4], "a.z": None, "a.w": 1000.0, "a.v": True, "a.u": "adam"}
    assert space.described(values) == "x=0.000427 y=[8, 4] z=null w=1000 v=true u=adam"
