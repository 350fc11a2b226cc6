"""`eyebright data`: look at data before training on it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eyebright.cli.data_doctor import doctor
from eyebright.cli.terminal import Bar, output, remarks, show_log

if TYPE_CHECKING:
    from eyebright.core.recipe import Recipe
    from eyebright.data.image_set import Splits

app = typer.Typer(help="Look at data before training on it.", no_args_is_help=True, rich_markup_mode=None)
app.command()(doctor)

Source = Annotated[str, typer.Argument(metavar="NAME|FOLDER|ZIP", help="A known data set, or images.")]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[FIELD=VALUE]...", help="Fields of data and augment to change.")
]
Root = Annotated[str | None, typer.Option("--data-root", help="Folder of the known data sets.")]


@app.command("list")
def list_() -> None:
    """List the known data sets and where they are looked for."""
    from eyebright.cli.lists import table
    from eyebright.data.load import data_root
    from eyebright.data.sources.base import SOURCES, find

    known = table("name", "what it is")
    for name in SOURCES:
        known.add_row(name, find(name).description)
    output().print(known)
    remarks().print(f"data root: {data_root(None)} (set --data-root or EYEBRIGHT_DATA)", soft_wrap=True)


@app.command()
def info(source: Source, overrides: Overrides = None, data_root: Root = None) -> None:
    """Count the images of each class in each split.

    \b
    eyebright data info cifar10
    eyebright data info path/to/photos size=96
    """
    import numpy as np

    from eyebright.cli.lists import table

    _, splits = _load(source, overrides, data_root)
    counts = table("class", *(part.split for part in splits))
    for column in counts.columns[1:]:
        column.justify = "right"
    rows = np.stack([np.bincount(part.labels, minlength=len(part.classes)) for part in splits], axis=1)
    for name, row in zip(splits.train.classes, rows, strict=True):
        counts.add_row(name, *(f"{number:,}" for number in row))
    counts.add_row("all", *(f"{number:,}" for number in rows.sum(axis=0)))
    output().print(counts)
    for part in splits:
        output().print(f"{part}  fingerprint {part.fingerprint}", soft_wrap=True)
    for bad in {id(part.store): part.store for part in splits}.values():
        for each in bad.bad:
            output().print(f"left out: {each.name}: {each.reason}", soft_wrap=True)


@app.command()
def show(
    source: Source,
    overrides: Overrides = None,
    augment: Annotated[bool, typer.Option("--augment", help="Show what augmentation makes of them.")] = False,
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "train",
    count: Annotated[int, typer.Option(min=1, help="Images to show.")] = 8,
    out: Annotated[Path, typer.Option(help="PNG to write.")] = Path("sheet.png"),
    data_root: Root = None,
) -> None:
    """Write a contact sheet; with --augment, a row for each operation that is on.

    \b
    eyebright data show cifar10
    eyebright data show cifar10 --augment flip=true crop=4 cutout=8
    eyebright data show path/to/photos --augment augment=strong
    eyebright data show cifar10 --augment augment=table_e
    """
    import numpy as np

    from eyebright.core.errors import DataError, nearest
    from eyebright.core.files import atomic_path
    from eyebright.data.sheet import augmentation_sheet, sheet
    from eyebright.data.transforms import pipeline

    recipe, splits = _load(source, overrides, data_root)
    parts = {part.split: part for part in splits}
    if split not in parts:
        raise DataError(f"there is no split {split!r}.", nearest(split, parts))
    images = parts[split]
    if augment:
        pipeline.check(recipe.augment.pipeline, images.shape)
    shown = images.take(np.linspace(0, len(images) - 1, min(count, len(images))).astype(np.int64))
    picture = augmentation_sheet(shown, recipe.augment) if augment else sheet(shown)
    with atomic_path(out) as temporary:
        picture.save(temporary, format="PNG")
    output().print(f"{out}: {picture.width}x{picture.height}", soft_wrap=True)


@app.command()
def fix(
    source: Source,
    patch: Annotated[Path, typer.Argument(metavar="PATCH", help="Label patch, such as the report's page saves.")],
    revert: Annotated[bool, typer.Option("--revert", help="Take the patch back.")] = False,
    data_root: Root = None,
) -> None:
    """Correct wrong labels by a patch file: moves images of a folder of your own to the folders of their classes.

    Known data sets and zips stay as they are; the command to train with corrected labels is printed.

    \b
    eyebright data fix path/to/photos labels.json
    eyebright data fix path/to/photos labels.json --revert
    """
    import shlex

    from eyebright.core.errors import DataError
    from eyebright.data.label_patch import LabelPatch, move, move_back, override
    from eyebright.data.load import own_folder

    corrections = LabelPatch.read(patch)
    folder = own_folder(source)
    again = shlex.join(["eyebright", "data", "fix", source, str(patch)])
    if folder is not None and revert:
        output().print(f"images moved back in {folder}: {move_back(folder, corrections)}", soft_wrap=True)
    elif folder is not None:
        output().print(f"images moved in {folder}: {move(folder, corrections)}", soft_wrap=True)
        remarks().print(f"Take it back with: {again} --revert", soft_wrap=True)
    elif revert:
        raise DataError(f"nothing was changed in {source}.", "Train without data.label_patches.")
    else:
        setting = override([patch])
        _load(source, [setting], data_root)  # refuses a patch that does not fit
        count = len(corrections.changes)
        output().print(f"labels that fit {source}: {count}; its files stay as they are.", soft_wrap=True)
        output().print("Train with the corrected labels by this override:", soft_wrap=True)
        output().print(shlex.quote(setting), soft_wrap=True)


@app.command()
def cache(
    clear: Annotated[bool, typer.Option("--clear", help="Delete all of it.")] = False,
) -> None:
    """Show the decoded images that are kept on disk, or delete them."""
    from eyebright.cli.lists import table
    from eyebright.data.cache import Cache, cache_folder

    decoded = Cache(cache_folder())
    if clear:
        output().print(f"freed {decoded.clear() / 1e6:,.1f} MB")
        return
    kept = table("source", "images", "MB", "last used")
    for entry in decoded.entries():
        kept.add_row(entry.source, f"{entry.n:,}", f"{entry.bytes / 1e6:,.1f}", f"{entry.last_used:%Y-%m-%d %H:%M}")
    output().print(kept)
    remarks().print(f"in {cache_folder()}", soft_wrap=True)


def _load(source: str, overrides: list[str] | None, data_root: str | None) -> tuple[Recipe, Splits]:
    """The splits of a source, and the recipe that the overrides make of the plain one."""
    from eyebright.core.recipe import recipe
    from eyebright.data.load import load

    show_log()
    changes: dict[str, Any] = {"data.source": source} | ({"data.root": data_root} if data_root else {})
    chosen = recipe("digits/mlp", ["data=folder", *(overrides or [])], **changes)
    with Bar() as bar:
        return chosen, load(chosen.data, progress=bar)
