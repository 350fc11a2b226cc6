"""`Transfer`: what was carried over, as numbers and as text."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any, final

from eyebright.core.files import write_json, write_text
from eyebright.evaluation.score import Score
from eyebright.evaluation.scores import Scores
from eyebright.insight.parts import Missing

FINE_TUNED, FROM_SCRATCH = "fine-tuned", "from scratch"

HEADINGS = ("way", "labels", "test accuracy", "95 % interval", "n", "gain over from scratch", "p")
EXPLANATION = (
    "Labels: training images of the new data that were used, with no more validation images to choose by. Intervals "
    "are over test images (Wilson); the gain is paired by image (Tango), its p McNemar's. All of it holds for this "
    "one choice of labelled images and one seed of training."
)


@dataclasses.dataclass(frozen=True, eq=False)
class Way:
    """One way to use the model on the new data.

    Attributes
    ----------
    name : such as "linear probe".
    labels : training images of the new data that it has seen.
    scores : on the test images; the model as it is sees those of the shared classes only.
    gain : accuracy minus that from scratch with the same labels, paired; None where there is none to compare with.
    p : McNemar's.
    """

    name: str
    labels: int
    scores: Scores
    gain: Score | None = None
    p: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """A dictionary that JSON can hold."""
        return dataclasses.asdict(self) | {"scores": self.scores.to_dict()}


@final
@dataclasses.dataclass(frozen=True, eq=False)
class Transfer:
    """What the model of a run is worth on other data.

    Attributes
    ----------
    run, recipe : where the model comes from.
    data : the new data set.
    classes : class of the model to class of the data.
    images : test images of all classes.
    guessing : accuracy of always saying the most frequent class of the test images.
    epochs : of each training.
    ways : first the model as it is, then by the number of labels.
    missing : what could not be tried, and why.
    folder : of the trainings, `transfer.md` and `transfer.json`.
    """

    run: str
    recipe: str
    data: str
    classes: dict[str, str]
    images: int
    guessing: float
    epochs: int
    ways: tuple[Way, ...]
    missing: tuple[Missing, ...]
    folder: Path

    def __repr__(self) -> str:
        shown = "; ".join(f"{way.name}, {way.labels} labels: {way.scores.accuracy}" for way in self.ways)
        return f"Transfer({self.recipe} to {self.data}: {shown})"

    @property
    def sentences(self) -> tuple[str, ...]:
        """What carried over, a sentence for each number of labels."""
        gains: dict[int, list[str]] = {}
        for way in self.ways:
            if way.gain is not None:
                gains.setdefault(way.labels, []).append(f"{way.name} {_points(way.gain)}")
        return tuple(
            f"{labels:,} labels, against training from scratch: {'; '.join(found)}." for labels, found in gains.items()
        )

    def to_dict(self) -> dict[str, Any]:
        """A dictionary that JSON can hold."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return fields | {
            "ways": [way.to_dict() for way in self.ways],
            "missing": [dataclasses.asdict(part) for part in self.missing],
            "folder": str(self.folder),
        }

    def write(self) -> None:
        """Write `transfer.md` and `transfer.json` into the folder, atomically."""
        write_text(self.folder / "transfer.md", self.markdown())
        write_json(self.folder / "transfer.json", self.to_dict())

    def rows(self) -> Iterator[tuple[str, ...]]:
        """The table, as `HEADINGS` name its cells."""
        yield "guessing the most frequent class", "0", f"{self.guessing:.3f}", "", f"{self.images}", "", ""
        for way in self.ways:
            accuracy = way.scores.accuracy
            yield (
                way.name,
                str(way.labels),
                f"{accuracy.value:.3f}",
                f"{accuracy.low:.3f} to {accuracy.high:.3f}",
                str(accuracy.n),
                "" if way.gain is None else f"{way.gain.value:+.3f} [{way.gain.low:+.3f}, {way.gain.high:+.3f}]",
                "" if way.p is None else f"{way.p:.2g}",
            )

    def markdown(self) -> str:
        """A page of Markdown."""
        lines = [HEADINGS, ("---",) * len(HEADINGS), *self.rows()]
        parts = [
            f"# {self.recipe} carried over to {self.data}",
            f"Model: `{self.run}`. Trainings of {self.epochs} epochs each.",
            "\n".join(f"| {' | '.join(cells)} |" for cells in lines),
            EXPLANATION,
            *self.sentences,
        ]
        if self.classes:
            pairs = ", ".join(name if name == own else f"{name} = {own}" for name, own in self.classes.items())
            parts.append(f"The same in both: {pairs}.")
        parts += [f"Not tried: {part.what}, for {part.cause} {part.remedy}" for part in self.missing]
        return "\n\n".join(parts) + "\n"


def _points(gain: Score) -> str:
    clear = "" if gain.low > 0 or gain.high < 0 else ", which can be chance"
    return f"{100 * gain.value:+.1f} points [{100 * gain.low:+.1f}, {100 * gain.high:+.1f}]{clear}"
