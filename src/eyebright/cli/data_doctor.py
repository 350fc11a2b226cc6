"""`eyebright data doctor`: what is wrong with images and labels."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eyebright.cli.terminal import Bar, complain, output, remarks, show_log
from eyebright.core.errors import MissingExtraError

if TYPE_CHECKING:
    from eyebright.audit.data_doctor import DataFindings
    from eyebright.audit.doubtful_labels import DoubtfulLabels
    from eyebright.core.recipe import Recipe
    from eyebright.data.image_set import Splits

_UNEVEN = 2.0  # times as many images as the rarest class, from which it is worth a line


def doctor(
    source: Annotated[str, typer.Argument(metavar="NAME|FOLDER|ZIP", help="A known data set, or images.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[FIELD=VALUE]...", help="Fields of the recipe to change.")
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(help="Train this recipe on parts of the images, to find labels that are probably wrong."),
    ] = None,
    folds: Annotated[int, typer.Option(min=2, help="Trainings for --recipe; each leaves out other images.")] = 4,
    out: Annotated[Path, typer.Option(help="Folder for the page, pictures, label patch and runs.")] = Path(
        "data-doctor"
    ),
    data_root: Annotated[str | None, typer.Option("--data-root", help="Folder of the known data sets.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with every image that was found.")] = False,
) -> None:
    """Find copies of the same picture, changed ones too, blank images and, with --recipe, doubtful labels.

    Nothing is changed. OUT/report.html shows it all, and saves the labels that you believe to be wrong as a patch for:
    eyebright data fix. OUT/labels.json is the patch of all that are doubtful.

    \b
    eyebright data doctor cifar10
    eyebright data doctor path/to/photos size=64 --recipe folder/photos
    """
    from eyebright.audit.data_doctor import examine_data

    show_log()
    chosen, splits = _images(source, overrides or [], recipe, data_root)
    with Bar() as bar:
        found = examine_data(splits, progress=bar)
    if recipe:
        found = found.doubting(_doubtful(chosen, found, out / "runs", folds))
    written = _write(found, out)
    if as_json:
        sys.stdout.write(json.dumps(found.to_dict(), indent=2) + "\n")
        return
    _print(found)
    for path in written:
        output().print(f"written: {path}", soft_wrap=True)
    if found.doubtful:
        fix = shlex.join(["eyebright", "data", "fix", source, str(out / "labels.json")])
        remarks().print(
            f"Mark on the page what you believe, or take the rest out of the patch, then: {fix}", soft_wrap=True
        )


def _images(source: str, overrides: list[str], name: str | None, data_root: str | None) -> tuple[Recipe, Splits]:
    from eyebright.core.recipe import recipe
    from eyebright.data.load import load

    changes = {"data.source": source} | ({"data.root": data_root} if data_root else {})
    chosen = (
        recipe(name, overrides, **changes) if name else recipe("digits/mlp", ["data=folder", *overrides], **changes)
    )
    with Bar() as bar:
        return chosen, load(chosen.data, progress=bar)


def _doubtful(chosen: Recipe, found: DataFindings, folder: Path, folds: int) -> DoubtfulLabels:
    from eyebright.audit.data_doctor import learned_from
    from eyebright.audit.doubtful_labels import doubtful_labels
    from eyebright.training.cross_fit import cross_fit
    from eyebright.training.progress import ProgressBar

    images, bar = learned_from(found.splits), ProgressBar(remarks())
    return doubtful_labels(cross_fit(chosen, images, folder, folds=folds, groups=found.pictures, callbacks=[bar]))


def _write(found: DataFindings, out: Path) -> list[Path]:
    """The pictures, the patch and the page; what an earlier call found and this one does not is removed."""
    from eyebright.audit.data_doctor import learned_from
    from eyebright.core.files import atomic_path, storage_errors
    from eyebright.reporting.data_report import data_report

    with storage_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        sheets = {"copies.png": found.copies_sheet if len(found.copies) else None}
        if found.doubtful is not None:
            sheets["labels.png"] = found.labels_sheet if len(found.doubtful) else None
            (out / "labels.json").unlink(missing_ok=True)
        for name, sheet in sheets.items():
            if sheet is None:
                (out / name).unlink(missing_ok=True)
                continue
            with atomic_path(out / name) as temporary:
                sheet().save(temporary, format="PNG")
    written = [out / name for name, sheet in sheets.items() if sheet]
    if found.doubtful:
        found.doubtful.patch(learned_from(found.splits)).write(out / "labels.json")
        written.append(out / "labels.json")
    try:
        written.append(data_report(found).write(out / "report.html"))
    except MissingExtraError as error:
        complain(error)
    return written


def _print(found: DataFindings) -> None:
    parts = [part for part in found.splits if len(part)]
    sizes = ", ".join(f"{len(part):,} {part.split}" for part in parts)
    output().print(f"images: {sizes}", soft_wrap=True)
    (rarest, fewest), *_, (commonest, most) = found.counts.items()
    if most >= _UNEVEN * fewest:
        output().print(f"classes: {fewest:,} of {rarest} to {most:,} of {commonest}", soft_wrap=True)
    for store in {id(part.store): part.store for part in parts}.values():
        for bad in store.bad:
            output().print(f"left out: {bad.name}: {bad.reason}", soft_wrap=True)
    if found.copies.blank:
        first = ", ".join(f"{split} {row}" for split, row in found.copies.blank[:10])
        output().print(f"blank: {len(found.copies.blank)} of one colour: {first}", soft_wrap=True)
    _print_copies(found)
    if found.doubtful is not None:
        output().print(
            f"labels: {len(found.doubtful):,} of {found.doubtful.checked:,} are doubtful; the first:", soft_wrap=True
        )
        for line in repr(found.doubtful.take(10)).splitlines()[1:]:
            output().print(line, soft_wrap=True)


def _print_copies(found: DataFindings) -> None:
    parts = [part for part in found.splits if len(part)]
    leak = False
    for place, part in enumerate(parts):
        if repeated := found.repeated(part.split):
            output().print(
                f"copies: {_in_words(repeated)} of {part.split} repeat{'s' * (repeated == 1)} another one of it",
                soft_wrap=True,
            )
        for seen in parts[:place]:
            share = found.shared(seen.split, part.split)
            if share.value:
                leak = True
                output().print(
                    f"copies: {share.value:.1%} [{share.low:.1%}, {share.high:.1%}] of {part.split} "
                    f"({_in_words(round(share.value * share.n))}) show a picture of {seen.split}",
                    soft_wrap=True,
                )
    relabelled = sum(pair.relabelled for pair in found.copies.pairs)
    if relabelled:
        pairs = "1 pair has" if relabelled == 1 else f"{relabelled:,} pairs have"
        output().print(f"copies: {pairs} two labels: one is wrong, or they are no copies", soft_wrap=True)
    if not found.copies.tells_near:
        output().print(
            "copies: these images resemble one another too much to tell near copies; only the same pixels count",
            soft_wrap=True,
        )
    elif not len(found.copies):
        output().print("copies: none", soft_wrap=True)
    if leak:
        output().print("Leave them out of training: data.leave_out_copies=near")


def _in_words(images: int) -> str:
    return "1 image" if images == 1 else f"{images:,} images"
