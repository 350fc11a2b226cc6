"""Predicting for millions of files on a cluster: Ray Data hands out parts of the list to processes that hold the model.

Only names travel to these, and only counts come back; Ray Data keeps as many parts under way as they can take. Each
part becomes one Parquet file, written whole or not at all: whatever dies, the next call does only what is missing.
"""

from __future__ import annotations

import dataclasses
import socket
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, final

import numpy as np

from eyebright.cluster.conversation import Conversation, Voice
from eyebright.cluster.folder import SharedFolder, marked, packed, unpack
from eyebright.cluster.resources import Share
from eyebright.core.errors import ClusterError, DataError, EyebrightError
from eyebright.data.image_files import ImageFiles
from eyebright.data.progress import Progress
from eyebright.exporting.answer_tables import ParquetTable
from eyebright.exporting.bulk import OnBadImage, Summary, answers_in_order, divided, sources
from eyebright.exporting.bundle import Bundle, open_bundle

# Each process computes on one core: so many small ones answer more images a second than few large ones.
_SHARE = Share(cpus=1, gpus=0)
# Processes that a part may cost before the whole fails: an image that kills what decodes it would cost all.
_LOSSES = 5
_LISTED = 20  # problems that the summary names

# What a part is called: its place among all, so that the files in order of their names are the rows in order of the
# images, and what it is made of.
_FILE = "{number:07d}-{digest}.parquet"
_FILES = "[0-9]*-*.parquet"


@final
@dataclasses.dataclass(frozen=True)
class _Order:
    """What is to be answered, in words that other machines understand.

    Attributes
    ----------
    bundle : its name, and what it holds as `packed` gives it.
    paths : of images, absolute.
    out : folder of the answers, absolute.
    top, on_bad_image : as `predict_files`.
    workers : processes at most.
    """

    bundle: tuple[str, bytes]
    paths: tuple[str, ...]
    out: str
    top: int
    on_bad_image: OnBadImage
    workers: int


@final
@dataclasses.dataclass(frozen=True)
class _Part:
    """Some of the files, and the file of their answers."""

    files: ImageFiles
    path: Path


@final
@dataclasses.dataclass(frozen=True)
class _Done:
    """What came of a part."""

    images: int
    unreadable: int
    problems: tuple[str, ...]


def predict_files(  # noqa: PLR0913 - all but the first three have a default
    bundle: str | Path,
    paths: Iterable[str | Path],
    out: str | Path,
    *,
    top: int = 3,
    on_bad_image: OnBadImage = "skip",
    workers: int | None = None,
    progress: Progress | None = None,
) -> Summary:
    """Write a folder of Parquet files with a row for each image, on the cluster that this process is connected to.

    The columns are those of `eyebright.exporting.bulk.predict_files`, and the rows are in its order where the files are
    read in the order of their names. The same call after a failure goes on: parts that are there are left as they are.

    Parameters
    ----------
    bundle : as `open_bundle` takes it; this process reads it.
    paths : files, folders and zips, which all machines of the cluster see at the same place.
    out : folder that all machines of the cluster see; new, or of an earlier call with the same images and bundle.
    top : classes of a row.
    on_bad_image : give a file that is no image a row with its problem, or stop at it.
    workers : processes at most; default: one for each core of the cluster.
    progress : called as `progress("predict", done, total)` in images.

    Raises
    ------
    BundleError : there is no bundle, or it is damaged.
    BadImageError : a file is no image, and `on_bad_image` is "error". What was done before is kept.
    DataError : a path does not exist or holds no image, or `out` holds something else.
    ClusterError : a machine does not see the images or `out`, or the cluster fails.
    """
    import ray

    source = Path(bundle)
    classes = open_bundle(source).classes  # what is wrong with it is better said now than from afar
    order = _Order(
        (source.name, packed(source)),
        tuple(str(Path(path).absolute()) for path in paths),
        str(Path(out).absolute()),
        min(top, len(classes)),
        on_bad_image,
        workers or _SHARE.room(),
    )

    def hear(done: int, total: int) -> None:
        if progress is not None:
            progress("predict", done, total)

    conversation = Conversation(hear)
    # Not in this process: it may be far away from the images, and Ray Data would speak into its terminal.
    task = ray.remote(_conduct).options(num_cpus=0, max_retries=_LOSSES).remote(order, conversation.voice)
    summary: Summary = conversation.result_of(task)
    return summary


def _conduct(order: _Order, voice: Voice) -> Summary:
    """The task that lists the images and has Ray Data give them out."""
    parts = _listed(order)
    with marked(Path(order.out)) as folder:
        total = sum(len(part.files.names) for part in parts)
        missing = [part for part in parts if not part.path.is_file()]
        resumed = done = total - sum(len(part.files.names) for part in missing)
        problems: list[str] = []
        unreadable = 0
        for part in _answered(missing, order, folder):
            done += part.images
            unreadable += part.unreadable
            problems += part.problems[: _LISTED - len(problems)]
            voice.ask(done, total)
    return Summary(total, resumed, unreadable, tuple(problems))


def _listed(order: _Order) -> list[_Part]:
    """All parts.

    Raises
    ------
    DataError : the folder of the answers holds something that is none of them.
    """
    out = Path(order.out)
    bundle, table = _opened(order.bundle), ParquetTable(order.top)
    whole = [part for files in sources(order.paths) for part in divided(bundle, files, table, out)]
    parts = [
        _Part(part.files.part(part.rows), out / _FILE.format(number=number, digest=part.path.stem))
        for number, part in enumerate(whole)
    ]
    others = {path.name for path in out.glob(_FILES)} - {part.path.name for part in parts}
    if others:
        raise DataError(
            f"{out} holds answers about other images or of another model, such as {min(others)}.",
            "Choose another folder, or remove this one.",
        )
    return parts


def _answered(parts: list[_Part], order: _Order, folder: SharedFolder) -> Iterable[_Done]:
    import ray
    from ray.data import ActorPoolStrategy, DataContext

    if not parts:
        return
    DataContext.get_current().enable_progress_bars = False
    listed = ray.data.from_items([{"part": part} for part in parts], override_num_blocks=len(parts))
    done = listed.map_batches(
        _Answering,
        fn_constructor_args=(ray.put(order), folder),
        batch_size=1,
        compute=ActorPoolStrategy(min_size=1, max_size=min(order.workers, len(parts))),
        num_cpus=_SHARE.cpus,
        max_task_retries=_LOSSES,
    )
    for row in done.iter_rows():
        if isinstance(row["done"], EyebrightError):
            raise row["done"]
        yield row["done"]


@final
class _Answering:
    """A process that holds the model; Ray Data calls it with one part after the other."""

    def __init__(self, order: Any, folder: SharedFolder) -> None:
        import ray

        self.order: _Order = ray.get(order)
        self.folder = folder
        self.bundle = _opened(self.order.bundle)
        self.table = ParquetTable(self.order.top)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        done = np.empty(1, object)
        try:
            done[0] = self.do(batch["part"][0])
        except EyebrightError as error:  # if it were raised, Ray Data would send an error of its own, without this one
            done[0] = error
        return {"done": done}

    def do(self, part: _Part) -> _Done:
        """Answer a part, and write its file."""
        files, order = part.files, self.order
        for seen, path in ((self.folder.seen, order.out), (files.root.exists(), files.root)):
            if not seen:
                raise ClusterError(
                    f"{socket.gethostname()}, a machine of the cluster, does not see {path}.",
                    "Images and answers must be on storage that all machines share, at the same place.",
                )
        answers = list(answers_in_order(self.bundle, files, files.names, order.top, order.on_bad_image))
        self.table.write(answers, part.path)
        problems = [answer.problem for answer in answers if answer.problem]
        return _Done(len(answers), len(problems), tuple(problems[:_LISTED]))


def _opened(bundle: tuple[str, bytes]) -> Bundle:
    """A bundle that came as a message; the files it was read from are not needed any more."""
    name, content = bundle
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        unpack(content, path)
        return open_bundle(path, threads=_SHARE.cpus)
