"""What the processes of a cluster do, without one."""

from __future__ import annotations

import dataclasses
import secrets
import sys
from pathlib import Path
from typing import Any

import pytest

from eyebright.cluster import prediction, training, trials
from eyebright.cluster.command import named
from eyebright.cluster.folder import SharedFolder, marked, packed, unpack
from eyebright.cluster.resources import Share
from eyebright.core.errors import ClusterError, DataError
from eyebright.core.recipe import Recipe, recipe
from eyebright.data.image_set import Splits
from eyebright.exporting.bulk import Summary
from eyebright.sweeps.definition import Pruner
from eyebright.sweeps.trial import Coordinates, Job
from eyebright.training.run import Run
from tests.serving.bundles import png, write_bundle


class Voice:
    """Keeps what was said, and answers always the same."""

    def __init__(self, answer: object = None) -> None:
        self.answer = answer
        self.said: list[tuple[Any, ...]] = []

    def ask(self, *question: Any) -> Any:
        self.said.append(question)
        return self.answer

    tell = ask


@pytest.fixture
def tiny() -> Recipe:
    changes = ["epochs=2", "batch_size=32", "lr=0.01", "model.hidden=[8]", "threads=1", "precision=fp32", "device=cpu"]
    return recipe("digits/mlp", changes)


@pytest.fixture
def unseen(tmp_path: Path) -> SharedFolder:
    """A folder of another machine."""
    return SharedFolder(str(tmp_path / "unseen"), f"seen-{secrets.token_hex(8)}")


def job(tiny: Recipe, folder: Path, pruner: Pruner = "none") -> Job:
    return Job(tiny.to_dict(), {"optimizer.lr": 0.003}, str(folder / "0003"), Coordinates("nowhere", "", 3, pruner, 2))


def test_a_trial_where_the_folder_is_not_seen_sends_its_run(
    tiny: Recipe, shades: Splits, unseen: SharedFolder, tmp_path: Path
) -> None:
    voice: Any = Voice(answer=False)
    outcome, content = trials._trial(job(tiny, Path(unseen.path)), unseen, voice, lambda _: shades, ["eyebright", "x"])
    assert outcome.state == "finished"
    assert [(what, number) for what, number, *_ in voice.said] == [("begun", 3), ("epoch", 3), ("epoch", 3)]
    assert voice.said[0][2] is False
    assert not Path(unseen.path).exists()
    assert not unseen.own.exists()
    assert content is not None
    unpack(content, tmp_path / "arrived")
    run = Run.open(tmp_path / "arrived")
    assert run.status == "finished"
    assert run.environment["command"] == "eyebright x"
    assert run.recipe.optimizer.lr == 0.003


def test_a_trial_where_the_folder_is_seen_works_in_it_and_is_pruned_from_afar(
    tiny: Recipe, shades: Splits, tmp_path: Path
) -> None:
    voice: Any = Voice(answer=True)
    with marked(tmp_path / "trials") as folder:
        asked = job(tiny, tmp_path / "trials", "median")
        outcome, content = trials._trial(asked, folder, voice, lambda _: shades, ["eyebright"])
        assert (outcome.state, outcome.epochs, content) == ("pruned", 1, None)
        again, _ = trials._trial(asked, folder, voice, lambda _: shades, ["eyebright"])
    assert again == outcome
    assert Run.open(tmp_path / "trials" / "0003").status == "pruned"


def order(tiny: Recipe, folder: SharedFolder) -> training._Order:
    return training._Order(tiny.to_dict(), "run", folder, 1, Share(1, 0), True, ("eyebright", "train"))


def test_a_training_where_the_folder_is_not_seen_sends_its_run(
    tiny: Recipe, unseen: SharedFolder, tmp_path: Path
) -> None:
    voice: Any = Voice()
    training._work({"order": order(tiny, unseen), "voice": voice})
    assert [what for what, _ in voice.said] == ["batch_done", "epoch_done", "epoch_done", "run"]
    assert not unseen.own.exists()
    unpack(voice.said[-1][1], tmp_path / "arrived")
    run = Run.open(tmp_path / "arrived")
    assert run.scores["test"].n == 360
    assert run.environment["command"] == "eyebright train"


def test_a_training_that_was_interrupted_goes_on(tiny: Recipe, tmp_path: Path) -> None:
    with marked(tmp_path) as folder:
        training._work({"order": order(tiny, folder), "voice": Voice()})
        run = Run.open(tmp_path / "run")
        run.set_status("running")
        kept = run.best_checkpoint.read_bytes()
        (tmp_path / "run" / "scores.json").unlink()
        training._work({"order": order(tiny, folder), "voice": Voice()})
    assert run.status == "finished"
    assert len(run.history) == 2
    assert run.best_checkpoint.read_bytes() == kept
    assert run.scores


def test_an_error_of_ours_is_said_and_not_raised(tiny: Recipe, tmp_path: Path) -> None:
    voice: Any = Voice()
    gone = dataclasses.replace(tiny, data=dataclasses.replace(tiny.data, source=str(tmp_path / "gone")))
    with marked(tmp_path) as folder:
        training._work({"order": order(gone, folder), "voice": voice})
    ((what, error),) = voice.said
    assert what == "failed"
    assert isinstance(error, DataError)


def test_a_run_begins_under_the_users_command() -> None:
    own = sys.argv
    with named(["eyebright", "train", "digits/mlp"]):
        assert sys.argv == ["eyebright", "train", "digits/mlp"]
    assert sys.argv is own


@pytest.fixture
def asked(tmp_path: Path) -> prediction._Order:
    """Two images, one of them none."""
    (tmp_path / "album").mkdir()
    (tmp_path / "album" / "light.png").write_bytes(png("light"))
    (tmp_path / "album" / "none.png").write_bytes(b"no image")
    bundle = write_bundle(tmp_path / "shades")
    answers = str(tmp_path / "answers")
    return prediction._Order((bundle.name, packed(bundle)), (str(tmp_path / "album"),), answers, 2, "skip", 1)


def process(asked: prediction._Order, folder: SharedFolder, monkeypatch: pytest.MonkeyPatch) -> prediction._Answering:
    ray = pytest.importorskip("ray")
    monkeypatch.setattr(ray, "get", lambda value: value)
    return prediction._Answering(asked, folder)


def test_a_part_becomes_a_file(asked: prediction._Order, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    (part,) = prediction._listed(asked)
    with marked(Path(asked.out)) as folder:
        done = process(asked, folder, monkeypatch)({"part": [part]})["done"][0]
    assert (done.images, done.unreadable) == (2, 1)
    table = parquet.read_table(tmp_path / "answers").to_pylist()
    assert [row["class_1"] for row in table] == ["light", None]
    assert [row["problem"] is None for row in table] == [True, False]
    assert part.path.name.startswith("0000000-")


def test_a_machine_that_does_not_see_the_folders_says_so(
    asked: prediction._Order, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (part,) = prediction._listed(asked)
    with marked(Path(asked.out)) as folder:
        seeing = process(asked, folder, monkeypatch)
        blind = process(asked, dataclasses.replace(folder, token="other"), monkeypatch)  # noqa: S106
        (tmp_path / "album").rename(tmp_path / "moved")
        errors = [each({"part": [part]})["done"][0] for each in (seeing, blind)]
    assert [type(error) for error in errors] == [ClusterError] * 2
    assert errors[0].cause.endswith(f"does not see {tmp_path / 'album'}.")
    assert errors[1].cause.endswith(f"does not see {tmp_path / 'answers'}.")


def test_a_folder_of_other_answers_is_refused(asked: prediction._Order, tmp_path: Path) -> None:
    (tmp_path / "answers").mkdir()
    (tmp_path / "answers" / "0000000-abc.parquet").touch()
    with pytest.raises(DataError, match="answers about other images or of another model"):
        prediction._listed(asked)


def test_nothing_is_left_to_do(asked: prediction._Order) -> None:
    (part,) = prediction._listed(asked)
    part.path.parent.mkdir()
    part.path.touch()
    voice: Any = Voice()
    assert prediction._conduct(asked, voice) == Summary(2, 2, 0, ())
    assert voice.said == []
