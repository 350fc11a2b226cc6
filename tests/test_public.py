"""The package as a stranger imports it: light, complete, and the walk of the README works word for word."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import eyebright as eb


def loaded_after(code: str) -> list[str]:
    heavy = "{'torch', 'matplotlib', 'sklearn', 'scipy', 'hydra', 'rich', 'PIL', 'numpy', 'mlflow', 'tensorboard'}"
    command = [
        sys.executable,
        "-c",
        f"import sys\n{code}\nimport json; print(json.dumps(sorted({heavy} & set(sys.modules))))",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    loaded: list[str] = json.loads(done.stdout.splitlines()[-1])
    return loaded


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert loaded_after("import eyebright") == []


def test_composing_a_recipe_needs_no_torch() -> None:
    assert "torch" not in loaded_after("import eyebright as eb; eb.recipe('digits/cnn', epochs=1)")


def test_every_public_name_resolves() -> None:
    for name in eb.__all__:
        assert getattr(eb, name) is not None
    assert set(eb.__all__) <= set(dir(eb))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'fitt'"):
        _ = eb.fitt


def test_the_walk_from_recipe_to_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = eb.recipe("digits/cnn", epochs=8, seed=0)
    splits = eb.load(recipe.data)
    run = eb.fit(recipe, splits)
    test = eb.predict(run.model, splits.test)
    scores = eb.evaluate(test)
    assert str(scores.accuracy).endswith("n=360")
    assert 0.9 < scores.accuracy.value <= 1
    assert scores.accuracy.low < scores.accuracy.value < scores.accuracy.high
    wrong = test.index[~test.correct]
    assert np.array_equal(splits.test[wrong].labels, test.labels[~test.correct])
    page = eb.report(run).write("report.html")
    assert "digits/cnn" in page.read_text()
    assert [found.path for found in eb.runs(Path("runs"))] == [run.path]


def test_real_cifar10_goes_the_same_way(cifar10_root: Path, tmp_path: Path) -> None:
    """A short training on a part of the real images is far better than guessing, which has 10 %."""
    recipe = eb.recipe("cifar10/simple_cnn", epochs=3, limit=4000, **{"data.root": str(cifar10_root)})
    splits = eb.load(recipe.data)
    assert [len(part) for part in splits] == [4000, 5000, 10000]
    run = eb.fit(recipe, splits, folder=tmp_path / "run", callbacks=())
    accuracy = eb.evaluate(eb.predict(run.model, splits.test)).accuracy
    assert accuracy.low > 0.35
