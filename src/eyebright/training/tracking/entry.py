"""`Entry`: what a tracker is to hold of a folder, whichever tracker it is."""

from __future__ import annotations

import dataclasses
import datetime
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from eyebright.evaluation.scores import Scores
from eyebright.training.run import EpochRecord, Run, Status
from eyebright.training.tracking.reading import Reading, milliseconds
from eyebright.training.tracking.system import system_readings

# Files of a finished run that are worth copying, where they exist.
_FILES = (
    "recipe.yaml",
    "run.json",
    "history.jsonl",
    "scores.json",
    "report.html",
    "curves.png",
    "confusion_matrix.png",
    "checkpoints/best.safetensors",
)


@dataclasses.dataclass(frozen=True)
class Images:
    """The images of one split.

    Attributes
    ----------
    split, source, n : which, and how many.
    fingerprint : 32 hex digits of their content.
    """

    split: str
    source: str
    n: int
    fingerprint: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entry:
    """What a tracker is to hold.

    Attributes
    ----------
    name, description : for readers.
    started : milliseconds since 1970.
    parameters : flat, as text.
    about : versions, machine, command and commit, as text.
    images : a row a split.
    readings : an epoch each.
    system : load of the machine; the step counts the readings.
    status : where the training stands.
    scores : what was said of the finished model, or None before.
    files : to be copied, relative to the folder; empty while the training runs.
    """

    name: str
    started: int
    description: str = ""
    parameters: Mapping[str, str] = dataclasses.field(default_factory=dict)
    about: Mapping[str, str] = dataclasses.field(default_factory=dict)
    images: Sequence[Images] = ()
    readings: Sequence[Reading] = ()
    system: Sequence[Reading] = ()
    status: Status = "running"
    scores: Reading | None = None
    files: Sequence[str] = ()

    @property
    def ended(self) -> int:
        """When the last epoch was over, of a sweep when it was concluded; in milliseconds since 1970."""
        last = self.readings[-1] if self.readings else self.scores
        return last.time if last else self.started


def entry_of(run: Run) -> Entry:
    """Read the folder of a run.

    Raises
    ------
    RunError : the run is damaged.
    """
    recipe, environment, status = run.recipe, run.environment, run.status
    started = milliseconds(datetime.datetime.fromisoformat(environment["started"]).timestamp())
    readings = epochs(started, run.history)
    return Entry(
        name="/".join(run.path.resolve().parts[-2:]) if recipe.name == "unnamed" else f"{recipe.name} {run.path.name}",
        description=recipe.description,
        started=started,
        parameters=flattened(recipe.choices),
        about=environment,
        images=[
            Images(split, recipe.data.source, found["n"], found["fingerprint"])
            for split, found in run.data.items()
            if split != "bad" and found["n"]
        ],
        readings=readings,
        system=system_readings(run.path),
        status=status,
        scores=_final(run, len(readings)),
        files=[] if status == "running" else [name for name in _FILES if (run.path / name).is_file()],
    )


def epochs(started: int, history: Sequence[EpochRecord]) -> list[Reading]:
    """A reading an epoch, timed by the training's own clock, on which a pause takes no time.

    The times follow from the folder alone. So a reading that is sent again, since the answer to the first attempt
    was lost, is the same to the bit, and a tracker can tell that it has it.
    """
    seconds = itertools.accumulate(record["seconds"] for record in history)
    return [
        Reading(
            round(record["epoch"]),
            started + milliseconds(passed),
            {name: value for name, value in record.items() if name != "epoch"},
        )
        for record, passed in zip(history, seconds, strict=True)
    ]


def flattened(tree: Mapping[str, Any], group: str = "") -> dict[str, str]:
    """Nested settings as `group.field`; what is no text is written as JSON."""
    flat: dict[str, str] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping) and value:
            flat |= flattened(value, f"{group}{name}.")
        else:
            flat[f"{group}{name}"] = value if isinstance(value, str) else json.dumps(value)
    return flat


def _final(run: Run, step: int) -> Reading | None:
    """The scores of the kept model, as `final/SPLIT_NAME`; accuracy with the ends of its interval."""
    scores = run.scores
    if not scores:
        return None
    judged = (run.path / "scores.json").stat().st_mtime
    values = {f"final/{split}_{name}": value for split, found in scores.items() for name, value in _values(found)}
    return Reading(step, milliseconds(judged), values)


def _values(scores: Scores) -> Iterator[tuple[str, float]]:
    yield "n", scores.n
    for name, score in scores.overall.items():
        yield name.replace(" ", "_"), score.value
    yield "accuracy_low", scores.accuracy.low
    yield "accuracy_high", scores.accuracy.high
