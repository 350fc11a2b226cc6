"""`eyebright bench`: what this machine can do, what a recipe reaches of it, and how long it will take."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eyebright.cli.terminal import Bar, output, remarks, show_log

if TYPE_CHECKING:
    from rich.table import Table

    from eyebright.core.recipe import Recipe
    from eyebright.data.image_set import Splits
    from eyebright.training.measure.machine import Machine
    from eyebright.training.measure.recipe import RecipeSpeed
    from eyebright.training.measure.timing import Measurement

# What stands for all recipes where none is named: a network that everybody knows, small enough for any machine.
_EXAMPLE = "cifar10/resnet20"
# Its images are noise of the size and number of CIFAR-10, split as by default: nothing has to be downloaded.
_EXAMPLE_SIDE, _EXAMPLE_CLASSES = 32, 10
_EXAMPLE_IMAGES = {"train": 45_000, "validation": 5_000, "test": 10_000}

_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"))


def bench(
    what: Annotated[str | None, typer.Argument(metavar="[RECIPE]", help="Measure this one too.")] = None,
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[FIELD=VALUE]...", help="Fields of the recipe to change.")
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write it all there too.")] = None,
    data_root: Annotated[str | None, typer.Option(help="Folder of the known data sets.")] = None,
) -> None:
    """Measure this machine, in about a minute: arithmetic, memory, decoding, data loader, training, inference.

    With a recipe, these last three are its own, and it says how long the recipe will take; without one they are those
    of ResNet-20 on noise of the size of CIFAR-10. Other work on the machine makes every number smaller.

    \b
    eyebright bench
    eyebright bench cifar10/ladder_cnn epochs=5 --json bench.json
    """
    from eyebright.core.files import write_json
    from eyebright.core.recipe import recipe
    from eyebright.data.load import load
    from eyebright.training.fit import plan_of
    from eyebright.training.measure.machine import measure_machine
    from eyebright.training.measure.recipe import measure_recipe

    show_log()
    if what:
        chosen = recipe(what, overrides or [], **({"data.root": data_root} if data_root else {}))
        with Bar() as bar:
            splits = load(chosen.data, progress=bar)
    else:
        chosen = recipe(_EXAMPLE)
        splits = _noise(chosen)
    speed = measure_recipe(chosen, splits, progress=_tell)  # first, since a recipe may be refused
    machine = measure_machine(plan_of(chosen), progress=_tell)
    _print(machine, speed)
    if json_file:
        write_json(json_file, {"machine": dataclasses.asdict(machine), "recipe": _as_dict(machine, speed)})


def _tell(what: str, done: int, total: int) -> None:
    """A plain line: a bar would be drawn by a thread that takes its share of what is measured."""
    remarks().print(f"measuring {done + 1}/{total}: {what}", soft_wrap=True)


def _noise(chosen: Recipe) -> Splits:
    """Random pixels and labels."""
    import numpy as np

    from eyebright.core.randomness import stream
    from eyebright.data.image_set import ImageSet, ImageStore, Splits

    random = stream("noise to measure with", chosen.seed)
    total = sum(_EXAMPLE_IMAGES.values())
    pixels = random.integers(0, 256, (total, _EXAMPLE_SIDE, _EXAMPLE_SIDE, 3), dtype=np.uint8)
    labels = random.integers(0, _EXAMPLE_CLASSES, total)
    classes = tuple(str(number) for number in range(_EXAMPLE_CLASSES))
    store = ImageStore(pixels, labels, [""] * total, classes, "noise")
    parts = np.split(np.arange(total), np.cumsum(list(_EXAMPLE_IMAGES.values()))[:-1])
    return Splits(*(ImageSet(store, rows, split) for rows, split in zip(parts, _EXAMPLE_IMAGES, strict=True)))


def _as_dict(machine: Machine, speed: RecipeSpeed) -> dict[str, Any]:
    """The fields of `speed`, and what was computed from them and `machine`."""
    fields = dataclasses.asdict(speed)
    for phase, written in zip(speed.phases, fields["phases"], strict=True):
        written["share_of_peak"] = speed.training_share(machine, phase)
    return fields | {
        "inference_share_of_peak": speed.inference_share(machine),
        "predicted_seconds": speed.duration.total,
    }


def _print(machine: Machine, speed: RecipeSpeed) -> None:
    about = machine.environment
    accelerator = "" if about["accelerator"] == "none" else f"; {about['accelerator']}"
    output().print(f"{about['processor']}{accelerator}; torch {about['torch']}; {machine.plan}", soft_wrap=True)
    output().print(_machine_table(machine))
    output().print(
        f"{speed.recipe} on {speed.source}: batches of {speed.batch_size} images {'x'.join(map(str, speed.shape))}",
        soft_wrap=True,
    )
    output().print(_recipe_table(machine, speed))
    output().print(f"predicted time: {speed.duration}", soft_wrap=True)


def _machine_table(machine: Machine) -> Table:
    from eyebright.training.measure.machine import COPIED_BYTES

    made = _table("machine", "at best at")
    for peak in machine.peaks:
        made.add_row(f"{peak.operation}, {peak.dtype}", *_cells(peak.flops_per_second, "FLOP/s"), peak.shape)
    copied = f"{COPIED_BYTES >> 20} MiB; reads and writes counted"
    made.add_row("copy of memory", *_cells(machine.copied_bytes_per_second, "B/s"), copied)
    decoding = machine.decoding
    photo = (
        f"{decoding.width}x{decoding.height} pixels, {decoding.file_bytes / 1000:.0f} kB; threads: {decoding.threads}"
    )
    made.add_row("JPEG decoding", *_cells(decoding.images_per_second, "images/s"), photo)
    made.add_row("", *_cells(decoding.megapixels_per_second.times(1e6), "pixels/s"), "")
    return made


def _recipe_table(machine: Machine, speed: RecipeSpeed) -> Table:
    made = _table("recipe", "FLOPs an image", "of the peak")
    made.add_row("data loader", *_cells(speed.loader, "images/s"))
    for phase in speed.phases:
        step = ", ".join(filter(None, ("training step", str(phase.phase), speed.dtype)))
        share = f"{speed.training_share(machine, phase):.0%}"
        cells = _cells(phase.images_per_second, "images/s")
        made.add_row(step, *cells, _si(phase.flops, ""), share)
    share = f"{speed.inference_share(machine):.0%}"
    cells = _cells(speed.inference, "images/s")
    made.add_row(f"inference, {speed.dtype}", *cells, _si(speed.inference_flops, ""), share)
    made.add_row("final judging, float32", *_cells(speed.judging, "images/s"))
    return made


def _table(what: str, *others: str) -> Table:
    from eyebright.cli.lists import table

    made = table(what, "speed", "half of them between", "n", *others)
    for column in made.columns[1:4]:
        column.justify = "right"
    return made


def _cells(measured: Measurement, unit: str) -> tuple[str, str, str]:
    """Median, quartiles, number."""
    return _si(measured.median, unit), f"{_si(measured.low, '')} .. {_si(measured.high, '')}", str(measured.n)


def _si(value: float, unit: str) -> str:
    """Three digits and the unit, with a prefix where there are many."""
    factor, prefix = next(((factor, prefix) for factor, prefix in _PREFIXES if value >= factor), (1.0, ""))
    digits = f"{value / factor:,.0f}" if value / factor >= 100 else f"{value / factor:.3g}"
    return f"{digits} {prefix}{unit}".rstrip()
