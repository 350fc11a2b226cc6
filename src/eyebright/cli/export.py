"""`eyebright export`: from a run to a file that other programs can use, with the proof that it answers the same."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from eyebright.cli.images import given, images_of
from eyebright.cli.terminal import Bar, output, show_log
from eyebright.core.errors import ExportError

if TYPE_CHECKING:
    from eyebright.exporting.foreign import ForeignFormat
    from eyebright.exporting.site import Runtime
    from eyebright.exporting.write import Precision


class Form(enum.StrEnum):
    """What kind of file to write."""

    onnx = "onnx"
    pt2 = "pt2"
    openvino = "openvino"
    executorch = "executorch"
    site = "site"


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A folder to write, or one file with the ending .onnx.")],
    form: Annotated[
        Form | None,
        typer.Option(
            "--format",
            help="For which programs; Eyebright itself reads onnx, the default. site, the default for a folder whose "
            "name ends so, is a web page that computes the model in the browser.",
        ),
    ] = None,
    int8: Annotated[bool, typer.Option("--int8", help="Compute in eight bits: a fourth of the size.")] = False,
    fp16: Annotated[bool, typer.Option("--fp16", help="Store the weights in half the size; compute as ever.")] = False,
    bf16: Annotated[bool, typer.Option("--bf16", hidden=True)] = False,
    images: Annotated[int, typer.Option(min=1, help="Test images that are compared, at most.")] = 1_000,
    tolerance: Annotated[
        float | None,
        typer.Option(min=0, help="Of a logit (default 0.001); of the loss of accuracy with fewer bits (0.01)."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Of the model; default: the recipe's.")] = None,
    licence: Annotated[str, typer.Option(help="Of the model, for its card.")] = "",
    with_images: Annotated[
        bool, typer.Option("--with-images", help="Put some training images, small, and examples into the folder.")
    ] = False,
    runtime: Annotated[
        Path | None,
        typer.Option(help="For a site: the npm package onnxruntime-web, .tgz or folder; default: npm's registry."),
    ] = None,
    data: Annotated[str | None, typer.Option(help="Where the images are now, if they were moved.")] = None,
    data_root: Annotated[str | None, typer.Option(help="Folder of the known data sets.")] = None,
    trust: Annotated[bool, typer.Option("--trust", help="Run the code that a custom model names.")] = False,
) -> None:
    """Export a run's best model with its preprocessing, and prove that it answers as it did.

    The test images go through PyTorch and through the exported file. If they differ by more than the tolerance,
    nothing is written and the command fails.

    \b
    eyebright export runs/digits/cnn/20260101-120000-1a2b model.onnx
    eyebright export RUN bundle/ --with-images
    eyebright export RUN small.onnx --int8
    eyebright export RUN phone/ --format executorch
    eyebright export RUN site/ --with-images
    """
    from eyebright.training.run import Run

    form = form or (Form.site if out.name.endswith("site") else Form.onnx)
    precision = _precision(int8=int8, fp16=fp16, bf16=bf16)
    if form not in {Form.onnx, Form.site} and (precision != "fp32" or with_images):
        raise ExportError(
            f"--format {form} is written in fp32 and without images.", "Leave --int8, --fp16 and --with-images away."
        )
    if runtime and form is not Form.site:
        raise ExportError("--runtime is for a site.", "Add: --format site")
    show_log()
    computing = _runtime(out, runtime) if form is Form.site else None
    opened = Run.open(run, trust=trust)
    splits = images_of(opened, given(source=data, root=data_root))
    opened.check_data(splits)
    check = splits.test if len(splits.test) else splits.validation
    calibrate = splits.validation if len(splits.validation) else check
    if form in {Form.onnx, Form.site}:
        from eyebright.exporting.site import MODEL_FOLDER, write_page
        from eyebright.exporting.write import export as write

        bundle = write(
            opened,
            out / MODEL_FOLDER if computing else out,
            check=check,
            calibrate=calibrate,
            precision=precision,
            images=images,
            tolerance=tolerance,
            known=splits.train if with_images else None,
            examples=check if with_images else None,
            name=name,
            licence=licence,
        )
        certificate = bundle.certificate
        if computing:
            write_page(out, bundle, computing)
    else:
        from eyebright.exporting.write import export_for

        certificate = export_for(
            cast("ForeignFormat", form.value),
            opened,
            out,
            check=check,
            calibrate=calibrate,
            images=images,
            tolerance=tolerance,
            name=name,
            licence=licence,
        )
    output().print(repr(certificate), soft_wrap=True)
    output().print(f"exported: {out}", soft_wrap=True)
    if computing:
        output().print(f"to look at it: python -m http.server --directory {out}", soft_wrap=True)


def _precision(*, int8: bool, fp16: bool, bf16: bool) -> Precision:
    if bf16:
        raise ExportError(
            "ONNX Runtime has no bf16 convolutions for processors, so such a file could not be computed.",
            "--int8 is faster and smaller, --fp16 is smaller.",
        )
    if int8 and fp16:
        raise ExportError("--int8 and --fp16 exclude each other.", "Choose one.")
    return "int8" if int8 else "fp16" if fp16 else "fp32"


def _runtime(out: Path, given: Path | None) -> Runtime:
    """What computes the model in browsers. Asked for before the work, not after it."""
    from eyebright.exporting.site import fetch_runtime, read_runtime, refuse_to_mix

    refuse_to_mix(out)
    if given:
        return read_runtime(given)
    with Bar() as bar:
        return fetch_runtime(progress=bar)
