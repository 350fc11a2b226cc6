"""Predicting for as many files as there are: decoding and computing side by side, in parts that survive a kill.

No torch. Besides one part only the packed names are in memory, some 70 MB for a million files.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import itertools
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from eyebright.core.errors import BadImageError, DataError
from eyebright.data.decode import EXTENSIONS
from eyebright.data.image_files import FolderFiles, ImageFiles, open_files
from eyebright.data.names import Names
from eyebright.data.progress import Progress
from eyebright.data.streaming import Decoding, decode_in_order
from eyebright.evaluation.answer import Answer
from eyebright.exporting.answer_tables import Table, table_for
from eyebright.exporting.bundle import Bundle

OnBadImage = Literal["error", "skip"]

_BATCH = 64  # images computed at a time
_PART = 1_024  # images of a part: what a kill costs at most
_LISTED = 20  # files that could not be read, which the summary names


@dataclasses.dataclass(frozen=True)
class Summary:
    """What came of predicting for many files.

    Attributes
    ----------
    images : rows in the table.
    resumed : of them, those that an earlier call had done.
    unreadable : of the others, those that are no images; the column `problem` says why.
    problems : of the first 20 of those.
    """

    images: int
    resumed: int
    unreadable: int
    problems: tuple[str, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Part:
    """Consecutive files, and the file that holds their answers once it is whole.

    Attributes
    ----------
    files : of the whole folder or zip.
    rows : of the part.
    path : its name changes with the files and with what answers.
    """

    files: ImageFiles
    rows: range
    path: Path


def predict_files(
    bundle: Bundle,
    paths: Iterable[str | Path],
    out: str | Path,
    *,
    top: int = 3,
    on_bad_image: OnBadImage = "error",
    progress: Progress | None = None,
) -> Summary:
    """Write a table with a row for each image file, in the order of `paths` and below them of the names.

    Its columns are name, class_1, probability_1, ... up to `top`, and problem. Finished parts lie in a folder beside
    `out` until all are there: the same call after a kill continues. A part is known by the names, sizes and dates of
    its files and by the bundle, so that whatever has changed meanwhile is done anew.

    Parameters
    ----------
    bundle : that answers.
    paths : files, folders (searched to any depth) and zips.
    out : ends in .parquet, .csv or .jsonl.
    top : classes of a row.
    on_bad_image : stop at a file that is no image, or give it a row with its problem.
    progress : called as `progress("predict", done, total)` in images.

    Raises
    ------
    BadImageError : a file is no image, and `on_bad_image` is "error". What was done before is kept.
    DataError : a path does not exist, a folder holds no image, or `out` has another ending.
    MissingExtraError : the ending is .parquet, and pyarrow is not installed.
    """
    target = Path(out)
    table = table_for(target, min(top, len(bundle.classes)))
    folder = target.with_name(f"{target.name}.parts")
    parts = [part for files in sources(paths) for part in divided(bundle, files, table, folder)]
    missing = [part for part in parts if not part.path.is_file()]
    total = sum(len(part.rows) for part in parts)
    resumed = done = total - sum(len(part.rows) for part in missing)
    problems: list[str] = []
    unreadable = 0
    for part, answers in _answered_parts(bundle, missing, table.top, on_bad_image):
        rows: list[Answer] = []
        for answer in answers:
            rows.append(answer)
            if progress is not None and (len(rows) % _BATCH == 0 or len(rows) == len(part.rows)):
                progress("predict", done + len(rows), total)
        table.write(rows, part.path)
        done += len(rows)
        bad = [answer.problem for answer in rows if answer.problem]
        unreadable += len(bad)
        problems += bad[: _LISTED - len(problems)]
    table.merge([part.path for part in parts], target)
    shutil.rmtree(folder)
    return Summary(total, resumed, unreadable, tuple(problems))


def answer_files(
    bundle: Bundle, paths: Iterable[str | Path], *, top: int = 3, on_bad_image: OnBadImage = "error"
) -> Iterator[Answer]:
    """Answers for image files, folders and zips as they come, in order; see `predict_files`."""
    for files in sources(paths):
        yield from answers_in_order(bundle, files, files.names, top, on_bad_image)


def sources(paths: Iterable[str | Path]) -> Iterator[ImageFiles]:
    """Folders and zips; and files that are named one after the other and lie in one folder, together."""
    for parent, together in itertools.groupby(map(Path, paths), _parent_of_a_file):
        if parent is not None:
            yield _named_files(parent, [path.name for path in together])
            continue
        for path in together:
            files = open_files(path)
            if not files.names:
                raise DataError(f"{path} holds no images.", f"Extensions: {' '.join(sorted(EXTENSIONS))}")
            yield files


def _parent_of_a_file(path: Path) -> Path | None:
    if not path.exists():
        raise DataError(f"there is no file or folder {path}.", "Check the path.")
    return None if path.is_dir() or path.suffix.lower() == ".zip" else path.parent


def _named_files(parent: Path, names: Sequence[str]) -> FolderFiles:
    found = [(parent / name).stat() for name in names]
    stamps = np.array([(status.st_size, status.st_mtime_ns, status.st_ctime_ns) for status in found], np.int64)
    return FolderFiles(parent, Names.of(names), (), np.full(len(names), -1, np.int32), stamps)


def divided(bundle: Bundle, files: ImageFiles, table: Table, folder: Path) -> Iterator[Part]:
    """The parts whose answers are to lie in `folder`."""
    about = f"{bundle.manifest.digest} {bundle.temperature} {files.root} {table.columns}"
    for start in range(0, len(files.names), _PART):
        rows = range(start, min(start + _PART, len(files.names)))
        signature = files.signature(np.arange(rows.start, rows.stop))
        name = hashlib.blake2b(f"{signature} {about}".encode(errors="surrogateescape"), digest_size=16).hexdigest()
        yield Part(files, rows, folder / f"{name}.part")


def _answered_parts(
    bundle: Bundle, parts: Sequence[Part], top: int, on_bad_image: OnBadImage
) -> Iterator[tuple[Part, Iterator[Answer]]]:
    """The answers of each part, to be taken before the next. Decoding goes on across the parts of one source."""
    for files, grouped in itertools.groupby(parts, lambda part: part.files):
        together = list(grouped)
        names = files.names.take(np.concatenate([np.arange(part.rows.start, part.rows.stop) for part in together]))
        answers = answers_in_order(bundle, files, names, top, on_bad_image)
        for part in together:
            yield part, itertools.islice(answers, len(part.rows))


def answers_in_order(
    bundle: Bundle, files: ImageFiles, names: Names, top: int, on_bad_image: OnBadImage
) -> Iterator[Answer]:
    """One answer a name, in their order: threads decode while this one computes."""
    spec = bundle.spec
    decoding = Decoding(spec.height, spec.width, spec.channels, spec.resize, spec.interpolation)
    waiting = iter(names)
    with contextlib.closing(decode_in_order(files, names, decoding)) as decoded:
        while batch := list(itertools.islice(decoded, _BATCH)):
            named = [(str(files.root / next(waiting)), image) for image in batch]
            whole = [(name, image) for name, image in named if not isinstance(image, BadImageError)]
            answered = iter(_of_whole(bundle, whole, top))
            for name, image in named:
                if not isinstance(image, BadImageError):
                    yield next(answered)
                elif on_bad_image == "skip":
                    yield Answer(name, (), (), image.cause)
                else:
                    raise image


def _of_whole(bundle: Bundle, named: Sequence[tuple[str, NDArray[np.uint8]]], top: int) -> list[Answer]:
    if not named:
        return []
    names, images = zip(*named, strict=True)
    return bundle.answers(names, bundle.probabilities(np.stack(images)), top)
