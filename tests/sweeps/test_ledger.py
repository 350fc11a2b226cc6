"""Who runs which trial: never two the same, and none is forgotten."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy

from eyebright.core.errors import StorageError, SweepError
from eyebright.core.recipe import Recipe
from eyebright.sweeps.definition import Definition, define
from eyebright.sweeps.ledger import Ledger, kept
from eyebright.sweeps.space import given
from eyebright.sweeps.storage import file_url
from eyebright.sweeps.trial import Outcome

DONE = Outcome("finished", accuracy=0.5, loss=1.0, images=30, epoch=1, epochs=2, seconds=1.0)
Open = Callable[..., Ledger]


@pytest.fixture
def grid(tiny: Recipe) -> Definition:
    return dataclasses.replace(define(tiny, given({"lr": [0.1, 0.2, 0.3, 0.4]})), study="tiny")


@pytest.fixture
def open_ledger(tmp_path: Path) -> Iterator[Open]:
    """A ledger as a process of its own has it: of the file in a folder, or of a database that several share."""
    with contextlib.ExitStack() as stack:

        def open_ledger(definition: Definition, folder: str = "sweep", shared: bool = False) -> Ledger:
            path = tmp_path / folder
            path.mkdir(exist_ok=True)
            url = file_url(tmp_path / "shared.db") if shared else None
            defined = dataclasses.replace(definition, storage=url)
            return stack.enter_context(kept(defined, path, url))

        yield open_ledger


def test_two_processes_share_the_trials(grid: Definition, open_ledger: Open) -> None:
    first, second = open_ledger(grid), open_ledger(grid)
    claims = []
    for ledger in (first, second, second, first):
        claim = ledger.claim()
        assert claim is not None
        claims.append((ledger, claim))
    assert [claim.trial.number for _, claim in claims] == [0, 1, 2, 3]
    assert [claim.job.values["optimizer.lr"] for _, claim in claims] == [0.1, 0.2, 0.3, 0.4]
    assert first.claim() is None
    assert second.claim() is None
    assert [trial.state for trial in first.trials()] == ["running"] * 4
    for ledger, claim in claims:
        ledger.tell(claim, DONE)
    assert [trial.outcome for trial in second.trials()] == [DONE] * 4
    assert second.claim() is None


def test_a_dead_trial_goes_on_under_its_number(grid: Definition, open_ledger: Open) -> None:
    first, second = open_ledger(grid), open_ledger(grid)
    dead = first.claim()
    assert dead is not None
    following = second.claim()
    assert following is not None
    assert following.trial.number == 1  # while the first lives, its trial is not touched
    dead.release()  # as the operating system does when the process dies
    taken = second.claim()
    assert taken is not None
    assert taken.job == dead.job
    second.tell(taken, DONE)
    assert [trial.state for trial in second.trials()] == ["finished", "running"]


def test_a_kill_before_the_values_were_drawn(grid: Definition, open_ledger: Open) -> None:
    ledger = open_ledger(grid)
    ledger.study.ask()  # killed right after it: a number, and no values
    claim = ledger.claim()
    assert claim is not None
    assert (claim.trial.number, claim.job.values) == (0, {"optimizer.lr": 0.1})


def test_a_kill_while_it_told(grid: Definition, open_ledger: Open) -> None:
    ledger = open_ledger(grid)
    claim = ledger.claim()
    assert claim is not None
    claim.trial.set_user_attr("outcome", dataclasses.asdict(DONE))
    claim.release()
    assert [trial.state for trial in ledger.trials()] == ["running"]
    again = ledger.claim()
    assert again is not None
    ledger.tell(again, DONE)
    assert [trial.outcome for trial in ledger.trials()] == [DONE]


def test_outcomes_are_kept(grid: Definition, open_ledger: Open) -> None:
    ledger = open_ledger(grid)
    outcomes = [
        DONE,
        Outcome("failed", failure="DivergedError: training diverged."),
        dataclasses.replace(DONE, state="pruned"),
        dataclasses.replace(DONE, same_as=0, seconds=0.0),
    ]
    for outcome in outcomes:
        claim = ledger.claim()
        assert claim is not None
        ledger.tell(claim, outcome)
    assert [trial.outcome for trial in ledger.trials()] == outcomes
    assert [state.name for state in (trial.state for trial in ledger.study.trials)] == [
        "COMPLETE", "FAIL", "PRUNED", "COMPLETE"
    ]  # fmt: skip


def test_one_trial_too_many_is_dropped(grid: Definition, open_ledger: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes see one trial left, and both begin one."""
    ledger = open_ledger(grid)
    claims = [ledger.claim() for _ in range(4)]
    left = iter([True, False])
    monkeypatch.setattr(Ledger, "_more", lambda _: next(left))
    assert ledger.claim() is None
    monkeypatch.undo()
    assert len(ledger.study.trials) == 5
    assert [trial.number for trial in ledger.trials()] == [0, 1, 2, 3]
    longer = open_ledger(dataclasses.replace(grid, trials=5))
    assert longer._more()  # the dropped one is none of the five
    assert all(claims)


def test_a_lost_machine(grid: Definition, open_ledger: Open, caplog: pytest.LogCaptureFixture) -> None:
    """Its trial is run anew elsewhere, under another number, and counts once."""
    lost, other = open_ledger(grid, "one", shared=True), open_ledger(grid, "two", shared=True)
    gone = lost.claim()
    assert gone is not None
    gone.release()
    second = other.claim()
    assert second is not None
    assert second.trial.number == 1  # no lock of the other machine can be seen: it may be alive
    assert [trial.number for trial in other.trials()] == [0, 1]
    with lost.storage.engine.begin() as connection:
        connection.execute(
            sqlalchemy.text("UPDATE trial_heartbeats SET heartbeat = datetime('now', '-1 hour') WHERE trial_id = 1")
        )
    again = other.claim()
    assert again is not None
    assert again.trial.number == 2
    assert again.job.values == gone.job.values
    third = other.claim()
    assert third is not None
    assert third.job.values == {"optimizer.lr": 0.3}  # the grid goes on where it was
    lost.tell(gone, DONE)  # it was only asleep
    assert "trial 0 was given up for lost" in caplog.text
    other.tell(again, DONE)
    assert [trial.number for trial in other.trials()] == [1, 2, 3]
    fourth = other.claim()
    assert fourth is not None
    assert fourth.job.values == {"optimizer.lr": 0.4}
    assert other.claim() is None
    for claim in (second, third, fourth):
        claim.release()


def test_a_machine_lost_before_its_first_sign_of_life(grid: Definition, open_ledger: Open) -> None:
    lost, other = open_ledger(grid, "one", shared=True), open_ledger(grid, "two", shared=True)
    with pytest.warns(UserWarning, match="Heartbeat"):
        lost.study.ask()
    second = other.claim()
    assert second is not None
    second.release()
    assert second.trial.number == 1
    with lost.storage.engine.begin() as connection:
        connection.execute(
            sqlalchemy.text("UPDATE trial_heartbeats SET heartbeat = datetime('now', '-1 hour') WHERE trial_id = 1")
        )
    again = open_ledger(grid, "three", shared=True).claim()
    assert again is not None
    again.release()
    assert again.job.values == {"optimizer.lr": 0.1}
    assert [trial.number for trial in other.trials()] == [1, 2]


def test_the_same_machine_takes_its_trial_up_at_once(grid: Definition, open_ledger: Open) -> None:
    first = open_ledger(grid, "one", shared=True)
    dead = first.claim()
    assert dead is not None
    dead.release()
    taken = open_ledger(grid, "one", shared=True).claim()
    assert taken is not None
    assert taken.job == dead.job
    taken.release()


def test_a_study_is_joined_with_the_same_command_only(tiny: Recipe, grid: Definition, open_ledger: Open) -> None:
    open_ledger(grid, "one", shared=True)
    other = dataclasses.replace(define(tiny, given({"lr": [0.1, 0.5]})), study="tiny")
    with pytest.raises(SweepError, match="begun with another space"):
        open_ledger(other, "two", shared=True)


def test_a_database_that_does_not_answer(grid: Definition, tmp_path: Path) -> None:
    url = file_url(tmp_path / "missing" / "study.db")
    with pytest.raises(StorageError, match="cannot be read or written"), kept(grid, tmp_path, url):
        pass


@pytest.mark.parametrize("url", ["oracle+nothing://host/db", "no url at all"])
def test_a_database_that_this_machine_does_not_speak(grid: Definition, tmp_path: Path, url: str) -> None:
    with pytest.raises(SweepError), kept(grid, tmp_path, url):
        pass


def test_an_error_that_is_not_of_the_database_stays_as_it_is(grid: Definition, tmp_path: Path) -> None:
    with pytest.raises(ImportError, match="of a model"), kept(grid, tmp_path):
        raise ImportError("of a model")


def test_a_folder_with_braces(grid: Definition, open_ledger: Open, tmp_path: Path) -> None:
    ledger = open_ledger(grid, "a {b} %20 c")
    assert ledger.claim() is not None
    assert (tmp_path / "a {b} %20 c" / "study.db").is_file()
