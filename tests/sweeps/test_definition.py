from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

import pytest

from eyebright.core.errors import RecipeError, SweepError
from eyebright.core.recipe import Recipe
from eyebright.sweeps import definition
from eyebright.sweeps.definition import define
from eyebright.sweeps.space import Choice, Interval, given

LR = given({"lr": [0.01, 0.1]})


def test_a_grid_knows_its_trials_and_stops_none(tiny: Recipe) -> None:
    defined = define(tiny, LR | given({"batch_size": [16, 32, 64]}))
    assert (defined.trials, defined.pruner) == (6, "none")
    assert defined.planned[1] == {"optimizer.lr": 0.01, "training.batch_size": 32}
    assert len(defined.planned) == 6


def test_a_search_begins_with_the_recipe_itself(tiny: Recipe) -> None:
    defined = define(tiny, given({"lr": "interval(0.001,0.1)", "hidden": [[8], [4]]}), search="tpe", trials=5)
    assert defined.pruner == "median"
    assert defined.planned == [{"optimizer.lr": 0.01, "model.hidden": "[8]"}]
    assert define(tiny, given({"lr": [1, 2]}), search="random", trials=5).planned == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"search": "grd"}, "Did you mean 'grid'"),
        ({"pruner": "medium"}, "Did you mean 'median'"),
        ({"trials": 5}, "a grid tries all of its 2 combinations, not 5"),
        ({"search": "tpe"}, "no end of its own"),
        ({"search": "tpe", "trials": 0}, "find nothing"),
        ({"search": "cmaes", "trials": 5}, "two intervals"),
    ],
)
def test_what_does_not_go_together_is_refused(tiny: Recipe, options: dict[str, object], said: str) -> None:
    with pytest.raises(SweepError, match=said):
        define(tiny, LR, **options)  # type: ignore[arg-type]  # a mixture on purpose


def test_a_combination_that_no_model_has_is_refused_before_the_first_trial(tiny: Recipe) -> None:
    both = given({"model": ["mlp", "resnet20"], "model.dropout": [0.1, 0.2]})
    with pytest.raises(RecipeError, match=r"no field 'model\.dropout'"):
        define(tiny, both)
    assert define(tiny, both, search="random", trials=3).trials == 3  # there such a trial fails, and is named


def test_many_combinations_are_remarked_and_too_many_refused(tiny: Recipe, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "eyebright"):
        define(tiny, given({"epochs": list(range(1, 102))}))
    assert "101 combinations; --search tpe --trials 50 would try 50 of them." in caplog.text
    several = dict.fromkeys(("epochs", "batch_size", "accumulate"), "range(1,30)")
    with pytest.raises(SweepError, match="24,389 combinations are too many"):
        define(tiny, given(several))


def test_choosing_among_seeds_is_choosing_luck(tiny: Recipe, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "eyebright"):
        define(tiny, given({"seed": [0, 1]}))
    assert "to choose among seeds is to choose luck" in caplog.text


def test_the_longest_trial(tiny: Recipe) -> None:
    assert define(tiny, LR).epochs == 2
    assert define(tiny, given({"epochs": [3, 9]})).epochs == 9
    assert define(tiny, given({"epochs": "range(3,8)"})).epochs == 7


def test_the_file_keeps_everything(tiny: Recipe, tmp_path: Path) -> None:
    fields = given({"lr": "tag(log,interval(1e-4,1e-1))", "hidden": [[8], [4]], "batch_size": "range(8,33,8)"})
    defined = dataclasses.replace(define(tiny, fields, search="tpe", trials=7), study="tiny")
    definition.write(tmp_path, defined)
    assert definition.read(tmp_path) == (defined, {})
    definition.write(tmp_path, defined, {"tested": [3]})
    again, results = definition.read(tmp_path)
    assert (again, results) == (defined, {"tested": [3]})
    assert again.space == {
        "optimizer.lr": Interval(1e-4, 1e-1, log=True),
        "model.hidden": Choice(([8], [4])),
        "training.batch_size": Interval(8, 32, step=8),
    }


@pytest.mark.parametrize("content", ["", "[1]", "study: x", "study: [\n", "\xff"])
def test_a_damaged_file_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "sweep.yaml").write_bytes(content.encode("latin-1"))
    with pytest.raises(SweepError, match=r"sweep\.yaml is damaged"):
        definition.read(tmp_path)


def test_a_folder_without_a_sweep_is_named(tmp_path: Path) -> None:
    with pytest.raises(SweepError, match="is not a sweep"):
        definition.read(tmp_path)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql+psycopg://ann:secret@db.example/sweeps", "postgresql+psycopg://ann:***@db.example/sweeps"),
        ("postgresql://ann@db.example:5432/sweeps", "postgresql://ann@db.example:5432/sweeps"),
        ("sqlite:////data/a b.db", "sqlite:////data/a b.db"),
        ("postgresql:///sweeps?host=db&password=secret&user=ann", "postgresql:///sweeps?host=db&password=***&user=ann"),
        ("mysql://h/s?charset=utf8&PWD=secret", "mysql://h/s?charset=utf8&PWD=***"),
        ("postgresql://ann:one@h/s?sslpassword=two", "postgresql://ann:***@h/s?sslpassword=***"),
    ],
)
def test_passwords_are_not_written_down(url: str, shown: str) -> None:
    assert definition.without_password(url) == shown


def test_a_url_that_is_none() -> None:
    with pytest.raises(SweepError, match="is not the URL of a database"):
        definition.without_password("study.db")


def test_all_who_work_on_a_study_do_the_same(tiny: Recipe) -> None:
    defined = define(tiny, LR)
    elsewhere = dataclasses.replace(tiny, data=dataclasses.replace(tiny.data, root="/elsewhere"), description="x")
    defined.refuse_other(dataclasses.replace(define(elsewhere, LR), trials=99))  # its data may lie elsewhere
    with pytest.raises(SweepError, match="another space and another recipe"):
        defined.refuse_other(define(tiny.replace(epochs=3), given({"lr": [0.01, 0.2]})))
