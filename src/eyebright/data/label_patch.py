"""`LabelPatch`: corrections of wrong labels as a file, which can be applied and taken back.

A patch is JSON. The report's page, a person or `LabelPatch.of` writes it:

    {
      "eyebright_label_patch": 1,
      "source": "photos",
      "split": "test",
      "changes": [
        {"index": 17, "file": "cat/0017.jpg", "given": "cat", "proposed": "dog"}
      ]
    }

    eyebright_label_patch   version of this format
    source                  name of the data set, as `ImageStore.source` has it: of a folder its own name
    split                   "train", "validation" or "test": the one that the images were seen in
    index                   row of the source, as `ImageSet.index` and `Predictions.index` have it
    file                    path inside the folder or zip with "/" between folders, as `ImageStore.names` has it;
                            null where the images are no single files
    given, proposed         class names
    sha256                  optional: of the file's bytes, 64 hex digits; then another content is refused
    fingerprint             optional, beside `source`: `ImageSet.fingerprint` of the split as it was seen. A note for
                            the reader: it depends on the size that images are brought to, so it is not compared

Two things can be done with it. `move` moves the files of a folder of one's own to the folders of their proposed classes
and keeps a journal, by which `move_back` restores them. What cannot be moved (known data sets, zips) stays as it is;
there the setting `data.label_patches` corrects the labels each time the images are loaded.

The journal lies in the folder, as `.eyebright-labels-DIGEST.json` with the digest of the patch. It is written before
the first file is moved, and every move is one renaming; so after a crash each file is in its old or its new place, and
either command brings the rest to where it belongs.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal, TypeVar

from pydantic import Field, TypeAdapter, ValidationError

from eyebright.core.errors import DataError, nearest
from eyebright.core.files import storage_errors, write_json
from eyebright.core.settings.fields import NotNegative, settings
from eyebright.data.image_files import open_files
from eyebright.data.image_set import ImageSet, ImageStore, Splits

_VERSION_KEY = "eyebright_label_patch"
_JOURNAL_KEY = "eyebright_label_journal"
_VERSION = 1  # of both formats
_JOURNAL = ".eyebright-labels-{digest}.json"  # hidden, so that no loader takes it for data
Split = Literal["train", "validation", "test"]
_SPLITS: Mapping[str, Split] = {"train": "train", "validation": "validation", "test": "test"}

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Read = TypeVar("Read")


@settings
class Change:
    """One wrong label; the fields are those of the file, see the module."""

    index: NotNegative
    file: str | None = None
    given: str
    proposed: str
    sha256: Digest | None = None


@settings
class LabelPatch:
    """Corrections for one split of one data set; the fields are those of the file, see the module."""

    source: str
    split: Split
    changes: tuple[Change, ...]
    fingerprint: str | None = None

    @classmethod
    def of(cls, images: ImageSet, proposed: Mapping[int, str]) -> LabelPatch:
        """The patch that gives images of one split other classes.

        Parameters
        ----------
        images : the split.
        proposed : class name by row of the source.

        Raises
        ------
        DataError : a row is not in `images`, or a class is none of theirs; or they are no split.
        """
        if images.split not in _SPLITS:
            raise DataError(f"{images.split!r} is no split of a data set.", f"Take one of {', '.join(_SPLITS)}.")
        chosen, store = images[list(proposed)], images.store
        for name in proposed.values():
            _position(name, store)
        files = open_files(store.root) if store.root is not None else None
        changes = []
        for row, label, name in zip(chosen.index.tolist(), chosen.labels.tolist(), chosen.names, strict=True):
            file, content = (name, _sha256(files.read(name))) if files is not None else (None, None)
            given = store.classes[label]
            changes.append(Change(index=row, file=file, given=given, proposed=proposed[row], sha256=content))
        split = _SPLITS[images.split]
        made = cls(source=store.source, split=split, changes=tuple(changes), fingerprint=images.fingerprint)
        return _checked(made, "the patch")

    @classmethod
    def read(cls, path: str | Path) -> LabelPatch:
        """Read a patch file.

        Raises
        ------
        DataError : it is missing, no patch, of a later version, or contradicts itself.
        """
        remedy = "See the format: python -m pydoc eyebright.data.label_patch"
        return _checked(_read(cls, Path(path), _VERSION_KEY, remedy), str(path))

    def write(self, path: str | Path) -> None:
        """Write the patch file, atomically."""
        write_json(Path(path), {_VERSION_KEY: _VERSION} | dataclasses.asdict(self))

    @property
    def digest(self) -> str:
        """BLAKE2b of the content, however the file was written: 16 hex digits."""
        plain = json.dumps(dataclasses.asdict(self), sort_keys=True)
        return hashlib.blake2b(plain.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()

    def applied(self, splits: Splits) -> Splits:
        """The same images in the same splits, with the corrected labels.

        Raises
        ------
        DataError : the patch is for other images: another source, an image or class that is not there, a label that
            is not the given one, or a file with another content.
        """
        store = next(part.store for part in splits if part.split == self.split)
        _refuse_other_source(self, store.source)
        known = any(change.sha256 for change in self.changes)
        files = open_files(store.root) if store.root is not None and known else None
        wanted = {change.file for change in self.changes}
        rows = {name: row for row, name in enumerate(store.names) if name in wanted} if store.root is not None else {}
        labels = store.labels.copy()  # (M,)
        for change in self.changes:
            row = _row(change, store, rows)
            if labels[row] != _position(change.given, store):
                found = repr(store.classes[labels[row]]) if labels[row] >= 0 else "none of the chosen classes"
                raise _misfit(change, f"its label is {found} and not {change.given!r}")
            if files is not None and change.file is not None and change.sha256 is not None:
                _refuse_other_content(change, files.read(change.file))
            labels[row] = _position(change.proposed, store)
        corrected = dataclasses.replace(store, labels=labels)
        return Splits(*(dataclasses.replace(part, store=corrected) if part.store is store else part for part in splits))


@settings
class Move:
    """One file that changes its class folder; both paths are relative to the folder of the images."""

    before: str
    after: str
    sha256: Digest


@settings
class Journal:
    """What `move` did or was about to do: the moves, and the folders that were made for them, outer ones first."""

    moves: tuple[Move, ...]
    made: tuple[str, ...]


def relabelled(splits: Splits, paths: Iterable[str | Path]) -> Splits:
    """The splits with the labels that the patch files correct, one after the other; see `LabelPatch.applied`."""
    for path in paths:
        splits = LabelPatch.read(path).applied(splits)
    return splits


def override(paths: Sequence[str | Path]) -> str:
    """The override by which a recipe loads its images with these patches."""
    # In Hydra's quotes a backslash is itself, unless a quote comes after it.
    quoted = (re.sub(r"(\\*)('|$)", _escaped, str(Path(path).absolute())) for path in paths)
    return "data.label_patches=[" + ",".join(f"'{path}'" for path in quoted) + "]"


def _escaped(found: re.Match[str]) -> str:
    backslashes, quote = found.groups()
    return 2 * backslashes + ("\\'" if quote else "")


def move(folder: Path, patch: LabelPatch) -> int:
    """Move the files of a folder of images to the folders of their proposed classes, and count them.

    Nothing is moved unless all can be. Files that are there already, from an earlier call, are not counted.

    Raises
    ------
    DataError : the patch is for another folder, a file is missing, in another class or has another content, or a path
        leads out of the folder.
    StorageError : the folder cannot be written.
    """
    _refuse_other_source(patch, folder.resolve().name)
    place = _journal_path(folder, patch)
    if place.exists():
        journal = _read_journal(place)
    else:
        journal = _plan(folder, patch)
        write_json(place, {_JOURNAL_KEY: _VERSION} | dataclasses.asdict(journal))
    waiting = [each for each in journal.moves if not _has_moved(folder, each.before, each.after, each.sha256)]
    for each in waiting:
        _rename(folder, each.before, each.after)
    return len(waiting)


def move_back(folder: Path, patch: LabelPatch) -> int:
    """Undo `move`: every file is again where it was, and what was made for it is gone. Returns the files moved.

    Raises
    ------
    DataError : the patch was not applied here, or a file is no longer where `move` left it, or has another content.
    StorageError : the folder cannot be written.
    """
    place = _journal_path(folder, patch)
    if not place.exists():
        raise DataError(
            f"{folder} keeps no journal of this patch, so there is nothing to take back.",
            "Give the folder and the very patch that were used, unchanged.",
        )
    journal = _read_journal(place)
    waiting = [each for each in journal.moves if not _has_moved(folder, each.after, each.before, each.sha256)]
    for each in reversed(waiting):
        _rename(folder, each.after, each.before)
    with storage_errors(folder):
        for name in reversed(journal.made):
            _refuse_outside(folder, name)
            made = folder / name
            if made.is_dir() and not any(made.iterdir()):  # what others have put there since stays
                made.rmdir()
        place.unlink()
    return len(waiting)


def _plan(folder: Path, patch: LabelPatch) -> Journal:
    """All the moves of a patch, after every check; nothing is touched."""
    moves: list[Move] = []
    taken: set[str] = set()
    for change in patch.changes:
        if change.file is None:
            raise DataError(
                f"the patch names no file for source image {change.index} of {patch.source}.",
                "Only named files can be moved. Correct the labels on loading: " + override(["PATCH"]),
            )
        content = _content(folder, change)
        after = _free(folder, _target(folder, change, change.file), taken)
        taken.add(after)
        moves.append(Move(before=change.file, after=after, sha256=content))
    parents = {str(parent) for each in moves for parent in PurePosixPath(each.after).parents}
    made = sorted(parent for parent in parents if not (folder / parent).exists())
    return Journal(moves=tuple(moves), made=tuple(made))


def _content(folder: Path, change: Change) -> str:
    """SHA-256 of the file of a change, if it is a file of the folder with the content that the patch expects."""
    file = change.file or ""
    _refuse_outside(folder, file)
    if not (folder / file).is_file():
        raise _misfit(change, f"it is not in {folder}")
    content = (folder / file).read_bytes()
    _refuse_other_content(change, content)
    return _sha256(content)


def _refuse_other_content(change: Change, content: bytes) -> None:
    if change.sha256 not in {None, _sha256(content)}:
        raise _misfit(change, "its content is another than the patch was made for")


def _target(folder: Path, change: Change, file: str) -> PurePosixPath:
    """The path of a file below the folder of its proposed class, which is a sibling of that of its given class."""
    parts = PurePosixPath(file).parts
    _refuse_outside(folder, change.proposed)
    for level, part in enumerate(parts[:-1]):
        # The first one that has such a sibling: above it are splits and wrappers, below it the user's own folders.
        if part == change.given and folder.joinpath(*parts[:level], change.proposed).is_dir():
            target = PurePosixPath(*parts[:level], change.proposed, *parts[level + 1 :])
            _refuse_outside(folder, str(target))  # the folder may be a link to elsewhere
            return target
    raise _misfit(change, f"it is in no folder {change.given!r} that has a folder {change.proposed!r} beside it")


def _free(folder: Path, wanted: PurePosixPath, taken: set[str]) -> str:
    """`wanted`, or the first of NAME-2, NAME-3, ... that no other file has."""
    name, number = wanted, 1
    while str(name) in taken or (folder / name).exists():
        number += 1
        name = wanted.with_name(f"{wanted.stem}-{number}{wanted.suffix}")
    return str(name)


def _has_moved(folder: Path, before: str, after: str, content: str) -> bool:
    """Whether a file is at `after` already; False where it is at `before`, unchanged."""
    _refuse_outside(folder, before)
    _refuse_outside(folder, after)
    old, new = folder / before, folder / after
    if old.is_file() == new.is_file():
        state = "both are there" if old.is_file() else "neither is there"
        raise DataError(
            f"{before} was to become {after} in {folder}, but {state}.",
            "Take later patches back first, or put the file by hand where it was.",
        )
    there = old if old.is_file() else new
    if _sha256(there.read_bytes()) != content:
        raise DataError(
            f"{there} has been changed since the patch was applied.", "Restore its content, or move it by hand."
        )
    return new.is_file()


def _rename(folder: Path, before: str, after: str) -> None:
    with storage_errors(folder / after):
        (folder / after).parent.mkdir(parents=True, exist_ok=True)
        (folder / before).rename(folder / after)


def _refuse_outside(folder: Path, file: str) -> None:
    """A patch or journal may come from a stranger; it must not reach beyond the folder."""
    path = PurePosixPath(file)
    plain = str(path) == file and not path.is_absolute() and ".." not in path.parts and "\\" not in file and path.name
    # Of the file itself only the place counts: it may be a link into a store, which is moved as a link.
    if not plain or not (folder / path).parent.resolve().is_relative_to(folder.resolve()):
        raise DataError(f"{file!r} is no plain path inside {folder}.", "Use a patch that was made for this folder.")


def _row(change: Change, store: ImageStore, rows: Mapping[str, int]) -> int:
    """The row of the image in `store`: by its file where there are files, since rows depend on what was left out."""
    if change.file is not None and store.root is not None:
        if change.file not in rows:
            raise _misfit(change, f"{store.source} has no such image (were the files moved already?)")
        return rows[change.file]
    if change.index >= len(store.labels):
        raise _misfit(change, f"{store.source} has only {len(store.labels)} images there")
    if change.file is not None and store.names[change.index] != change.file:
        raise _misfit(change, f"in {store.source} this row is {store.names[change.index]}")
    return change.index


def _position(name: str, store: ImageStore) -> int:
    if name not in store.classes:
        raise DataError(f"the label patch names the class {name!r}.", nearest(name, store.classes))
    return store.classes.index(name)


def _misfit(change: Change, reason: str) -> DataError:
    image = f"source image {change.index}" if change.file is None else change.file
    return DataError(
        f"the label patch does not fit {image}: {reason}.",
        "Use the patch with the images that it was made for, or take this change out of it.",
    )


def _refuse_other_source(patch: LabelPatch, source: str) -> None:
    if patch.source != source:
        raise DataError(
            f"the label patch is for {patch.source!r} and not for {source!r}.",
            "Name the images that it was made for; if only the folder was renamed, change `source` in the patch.",
        )


def _checked(patch: LabelPatch, where: str) -> LabelPatch:
    """`patch`, unless it changes an image twice or not at all."""
    seen: set[tuple[str | None, int]] = set()
    for change in patch.changes:
        key = (change.file, -1 if change.file is not None else change.index)
        image = change.file or f"source image {change.index}"
        if key in seen:
            raise DataError(f"{where} changes {image} twice.", "Leave one of the changes out.")
        if change.given == change.proposed:
            raise DataError(f"{where} proposes for {image} the class that it has.", "Leave this change out.")
        seen.add(key)
    return patch


def _journal_path(folder: Path, patch: LabelPatch) -> Path:
    return folder / _JOURNAL.format(digest=patch.digest)


def _read_journal(path: Path) -> Journal:
    return _read(Journal, path, _JOURNAL_KEY, "Restore it from a backup, or move the files by hand.")


def _read(kind: type[Read], path: Path, key: str, remedy: str) -> Read:
    """A versioned JSON file as `kind`."""
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(fields, dict) or key not in fields:
            raise ValueError(f"it has no field {key!r}")
        if fields.pop(key) != _VERSION:
            raise ValueError(f"it is of another version than {_VERSION}, the only one that is known here")
        return TypeAdapter(kind).validate_python(fields)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(step) for step in first["loc"])
        raise DataError(f"{path} cannot be used: {place}: {first['msg']}.", remedy) from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be used: {error}.", remedy) from error


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
