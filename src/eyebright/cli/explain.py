"""`eyebright explain`: what a model sees in images, in the terminal and as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eyebright.cli.terminal import complain, output, remarks
from eyebright.core.errors import DataError, ModelError, nearest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from rich.text import Text

    from eyebright.data.image_set import ImageSet
    from eyebright.models.classifier import Classifier

# The maps of more images would not fit on a screen, and those of a large folder not into memory.
_MOST = 32
_BAR = 30  # characters of a probability of 1
_COLUMNS = 48  # characters of a picture in the terminal; each shows two pixels, one above the other


def explain(
    run: Annotated[Path, typer.Argument(metavar="RUN")],
    images: Annotated[list[str], typer.Argument(metavar="IMAGE|FOLDER...")],
    method: Annotated[str, typer.Option(help="grad_cam, integrated_gradients, occlusion, ...")] = "grad_cam",
    layer: Annotated[str | None, typer.Option(help="To explain; default: the best, which is said.")] = None,
    label: Annotated[str | None, typer.Option("--class", help="To explain; default: what is predicted.")] = None,
    top: Annotated[int, typer.Option(min=1, help="Classes to print for each image.")] = 3,
    out: Annotated[Path, typer.Option(help="PNG to write.")] = Path("explained.png"),
    trust: Annotated[bool, typer.Option("--trust", help="Run the code that a custom model names.")] = False,
) -> None:
    """Show what speaks for a class in an image: the model's answer, and a map of it over the image.

    \b
    eyebright explain RUN photo.jpg
    eyebright explain RUN photo.jpg --class cat --method occlusion --out why.png
    """
    import numpy as np

    from eyebright.core.files import atomic_path
    from eyebright.evaluation.predict import predict
    from eyebright.insight.activation_maps import activation_maps
    from eyebright.insight.faithfulness import FEWEST
    from eyebright.insight.overlay import overlay
    from eyebright.training.run import Run

    model = Run.open(run, trust=trust).model
    found = _loaded(images, model)
    said = predict(model, found)
    classes = None if label is None else np.full(len(found), _number(label, found.classes))
    try:
        check = len(found) >= FEWEST  # a single image cannot tell whether its map is better than chance
        maps = activation_maps(model, found, method=method, layer=layer, classes=classes, check=check)
    except ModelError as error:
        # The answers are worth printing: a network without any map inside has them too.
        for name, probabilities in zip(found.names, said.probabilities, strict=True):
            _print_answer(name, probabilities, found.classes, top)
        complain(error)
        raise typer.Exit(2) from error
    heat = overlay(found.images, maps.maps)
    for name, probabilities, picture in zip(found.names, said.probabilities, heat, strict=True):
        _print_answer(name, probabilities, found.classes, top)
        if output().is_terminal:
            output().print(_blocks(picture))
    output().print(str(maps), soft_wrap=True)
    with atomic_path(out) as unfinished:
        maps.picture().save(unfinished, format="PNG")
    output().print(f"picture: {out}", soft_wrap=True)


def _loaded(paths: list[str], model: Classifier) -> ImageSet:
    """The images as the model takes them. Nobody has labelled them: their labels are all 0 and mean nothing."""
    import itertools

    import numpy as np

    from eyebright.data.decode import load_image
    from eyebright.data.image_files import find_images
    from eyebright.data.image_set import ImageSet, ImageStore

    files = list(itertools.islice(find_images(paths), _MOST + 1))
    if not files:
        raise DataError("there is no image to explain.", "Name an image file or a folder of images.")
    if len(files) > _MOST:
        remarks().print(f"only the first {_MOST} images are explained")
        files = files[:_MOST]
    pixels = np.stack([load_image(path, model.spec) for path in files])
    labels = np.zeros(len(files), dtype=np.int64)
    store = ImageStore(pixels, labels, [str(path) for path in files], model.spec.classes, "images given by name")
    return ImageSet(store, np.arange(len(files)), "unlabelled")


def _number(label: str, classes: tuple[str, ...]) -> int:
    if label not in classes:
        raise DataError(f"the model knows no class {label!r}.", nearest(label, classes))
    return classes.index(label)


def _print_answer(name: str, probabilities: NDArray[np.float32], classes: tuple[str, ...], top: int) -> None:
    output().print(name, soft_wrap=True)
    ranked = sorted(zip(probabilities.tolist(), classes, strict=True), reverse=True)[:top]
    width = max(len(label) for _, label in ranked)
    for probability, label in ranked:
        output().print(f"  {label:<{width}}  {probability:6.1%}  {'█' * round(_BAR * probability)}")


def _blocks(picture: NDArray[np.uint8]) -> Text:
    """A picture (H, W, 3) as coloured half blocks, two pixels a character."""
    import numpy as np
    from PIL import Image
    from rich.text import Text

    height, width = picture.shape[:2]
    columns = min(width, _COLUMNS)
    rows = max(2, 2 * round(columns * height / width / 2))
    small = np.asarray(Image.fromarray(picture).resize((columns, rows), Image.Resampling.BOX))
    text = Text()
    for upper, lower in zip(small[::2], small[1::2], strict=True):
        for above, below in zip(upper.tolist(), lower.tolist(), strict=True):
            text.append("▀", "#{:02x}{:02x}{:02x} on #{:02x}{:02x}{:02x}".format(*above, *below))
        text.append("\n")
    return text
