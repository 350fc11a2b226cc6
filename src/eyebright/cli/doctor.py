"""`eyebright doctor`: what is wrong with a training, and what to try."""

from __future__ import annotations

import dataclasses
import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eyebright.cli.images import given, images_of
from eyebright.cli.terminal import output, show_log

if TYPE_CHECKING:
    from eyebright.audit.training_doctor import Remark


def doctor(
    run: Annotated[Path, typer.Argument(metavar="RUN")],
    data: Annotated[str | None, typer.Option(help="Where the images are now, if they were moved.")] = None,
    data_root: Annotated[str | None, typer.Option(help="Folder of the known data sets.")] = None,
    trust: Annotated[bool, typer.Option("--trust", help="Run the code that a custom model names.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what is wrong with a run's training, by what evidence, and one change to try for each fault.

    \b
    eyebright doctor runs/cifar10/simple_cnn/20260101-120000-1a2b
    """
    from eyebright.audit.training_doctor import examine
    from eyebright.training.run import Run

    show_log()
    opened = Run.open(run, trust=trust)
    found = examine(opened, images_of(opened, given(source=data, root=data_root)))
    if as_json:
        sys.stdout.write(json.dumps([dataclasses.asdict(remark) for remark in found], indent=2) + "\n")
        return
    if not found:
        output().print("No fault found: neither in the training nor in the images.")
    for remark in found:
        _print(remark, opened.path)


def _print(remark: Remark, path: Path) -> None:
    output().print(f"{remark.severity}: {remark.fault.replace('_', ' ')}")
    output().print(f"  {remark.evidence}", soft_wrap=True)
    output().print(f"  {remark.change}", soft_wrap=True)
    command = shlex.join(["eyebright", "train", str(path / "recipe.yaml"), *remark.overrides])
    output().print(f"  {command}\n", soft_wrap=True)
