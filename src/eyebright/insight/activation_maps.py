"""`activation_maps`: what a model looks at when it says a class, and whether the picture of it can be trusted."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from eyebright.core.device import Plan, choose
from eyebright.core.errors import DataError, ModelError, nearest
from eyebright.data.image_set import ImageSet
from eyebright.evaluation.predict import predict
from eyebright.insight import salience
from eyebright.insight.attribution import INPUT_METHODS, LAYER_METHODS, METHODS, InputMethod, attribute, of_layer
from eyebright.insight.faithfulness import Faithfulness, faithfulness
from eyebright.insight.layer_choice import choose_layer
from eyebright.insight.overlay import overlay
from eyebright.insight.sanity import Sanity, sanity
from eyebright.insight.subject import Subject, studied
from eyebright.models.classifier import Classifier

_CHECKED = 32  # images of a set that faithfulness is measured on
_RANDOMISED = 16  # images of a set that are explained again with randomised weights
_SHOWN, _COLUMNS = 32, 8  # images in a notebook, and in a row
_EDGE, _GAP, _TEXT = 96, 4, 13  # pixels: an image's width, between them, height of the letters
_PAPER, _INK, _ALARM = (242, 242, 240), (32, 32, 32), (213, 94, 0)  # the last is Okabe and Ito's vermilion


@dataclasses.dataclass(frozen=True, eq=False)
class ActivationMaps:
    """Maps of what speaks for a class in each image, with the checks that say whether to believe them.

    Attributes
    ----------
    maps : (N, H, W) float32 in 0..1, at the size of the images; 0 throughout where nothing speaks for the class.
    classes : (N,) int64, the class that is explained.
    index : (N,) int64, rows of the source.
    method : one of `METHODS`.
    layer : that was explained, or "input".
    why : this layer, in a sentence.
    faithfulness : whether hiding what is marked takes the class away; None where unchecked.
    sanity : whether the maps depend on the weights; None where unchecked.
    images : that are explained.
    """

    maps: NDArray[np.float32]
    classes: NDArray[np.int64]
    index: NDArray[np.int64]
    method: str
    layer: str
    why: str
    faithfulness: Faithfulness | None
    sanity: Sanity | None
    images: ImageSet

    def __len__(self) -> int:
        return len(self.maps)

    @property
    def trusted(self) -> bool | None:
        """Whether the maps passed both checks; None where they were not checked."""
        if self.faithfulness is None or self.sanity is None:
            return None
        return self.faithfulness.trusted and self.sanity.passed

    @property
    def verdict(self) -> str:
        """What the checks say, in one sentence."""
        if self.faithfulness is None or self.sanity is None:
            return "Not checked: nothing says that the model looks where these maps point."
        failed = []
        if not self.faithfulness.trusted:
            failed.append("hiding what they mark was not shown to matter more than hiding as much elsewhere")
        if not self.sanity.passed:
            failed.append("they were not shown to differ from those of randomised weights")
        if failed:
            return f"NOT TO BE TRUSTED: {', and '.join(failed)}."
        return (
            "Passed both checks: hiding what the maps mark matters more than hiding as much elsewhere, and randomised "
            "weights give other maps."
        )

    def __repr__(self) -> str:
        blank = int((self.maps.max(axis=(1, 2)) == 0).sum())
        lines = [
            f"{self.method} at {self.layer}: {len(self)} maps of {self.images.store.source} {self.images.split}",
            f"  layer         {self.why}",
            f"  faithfulness  {self.faithfulness or 'not checked'}",
            f"  sanity        {self.sanity or 'not checked'}",
            f"  verdict       {self.verdict}",
        ]
        if blank:
            lines.insert(1, f"  blank         {blank} maps, where nothing speaks for the class")
        return "\n".join(lines)

    def picture(self) -> Image.Image:
        """The first maps over their images; in a frame of alarm where they failed a check."""
        return _draw(self)

    def _repr_png_(self) -> bytes:
        drawn = io.BytesIO()
        self.picture().save(drawn, format="PNG")
        return drawn.getvalue()


def activation_maps(  # noqa: PLR0913 - each has a default that serves
    model: Classifier,
    images: ImageSet,
    *,
    method: str = "grad_cam",
    classes: NDArray[np.int64] | None = None,
    layer: str | None = None,
    check: bool = True,
    batch_size: int = 64,
    plan: Plan | None = None,
) -> ActivationMaps:
    """Map what speaks for a class in each image. The model is given back as it was.

    The layer is found and chosen, see `layers` and `layer_choice`. The checks are made on up to 32 of the images.

    Parameters
    ----------
    model : any classifier.
    images : of its size, channels and classes.
    method : one of `METHODS`; see `attribution`.
    classes : (N,) to explain; default: what the model predicts.
    layer : to explain, as `named_modules` names it; default: the best.
    check : whether faithfulness and sanity are measured.
    batch_size : images at a time; changes speed and memory, not the result (beyond rounding).
    plan : how to compute; default: this machine's, the maps in fp32 and what only checks them as fast as it can.

    Raises
    ------
    ModelError : the model has no such method or layer, or other classes than the images.
    DataError : there are no images, or the classes do not fit them.
    """
    _check_method(method, layer)
    # The checks are areas under curves of probabilities, averaged over images: they need few digits.
    checking = plan or choose()
    plan = plan or choose(precision="fp32")
    predicted = predict(model, images, batch_size=batch_size, plan=plan).predicted  # refuses images that do not fit
    classes = predicted if classes is None else _fitting(classes, images)
    with studied(model, plan) as subject:
        judge = dataclasses.replace(subject, plan=checking)
        if method in INPUT_METHODS:
            explain, name, why = INPUT_METHODS[method], "input", "The method explains the input itself."
        else:
            choice = choose_layer(subject, judge, images, classes, method, name=layer, batch_size=batch_size)
            explain, name, why = of_layer(LAYER_METHODS[method], choice.layer), choice.layer.name, choice.why
        maps = attribute(subject, images, classes, explain, batch_size)
        found = ActivationMaps(maps, classes, images.index, method, name, why, None, None, images)
        return _with_checks(found, subject, judge, explain, batch_size) if check else found


def _check_method(method: str, layer: str | None) -> None:
    if method not in METHODS:
        raise ModelError(f"there is no method {method!r} for activation maps.", nearest(method, METHODS))
    if layer is not None and method in INPUT_METHODS:
        raise ModelError(
            f"{method} explains the input and no layer, so it cannot explain {layer!r}.",
            f"Leave the layer out, or use one of {', '.join(LAYER_METHODS)}.",
        )


def _fitting(classes: NDArray[np.int64], images: ImageSet) -> NDArray[np.int64]:
    wanted = np.asarray(classes)
    known = len(images.classes)
    if wanted.shape != (len(images),) or wanted.dtype.kind not in "iu" or not np.all((wanted >= 0) & (wanted < known)):
        raise DataError(
            f"the classes to explain are {wanted.dtype} {wanted.shape} for {len(images)} images and {known} classes.",
            f"Give each image one integer from 0 to {known - 1}.",
        )
    return wanted.astype(np.int64)


def _with_checks(
    maps: ActivationMaps, subject: Subject, judge: Subject, explain: InputMethod, batch_size: int
) -> ActivationMaps:
    """The same maps with what both checks say of a sample of them."""
    shown = salience.spread(len(maps), _CHECKED)
    again = salience.spread(len(maps), _RANDOMISED)
    images, classes = maps.images.take(again), maps.classes[again]
    _, x = next(subject.batches(images, len(again)))
    return dataclasses.replace(
        maps,
        faithfulness=faithfulness(
            judge, maps.images.take(shown), maps.maps[shown], maps.classes[shown], batch_size=batch_size
        ),
        sanity=sanity(
            subject, maps.maps[again], x, lambda other: attribute(other, images, classes, explain, batch_size)
        ),
    )


def _draw(maps: ActivationMaps) -> Image.Image:
    """The first images, each above its overlay, under what the checks say."""
    pixels = maps.images.take(range(min(_SHOWN, len(maps)))).images
    heat = overlay(pixels, maps.maps[: len(pixels)])
    pairs = np.concatenate([np.broadcast_to(pixels, heat.shape), heat], axis=1)  # (N, 2 * H, W, 3)
    factor = max(1, round(_EDGE / pixels.shape[2]))
    height, width = pairs.shape[1] * factor + _GAP, pairs.shape[2] * factor + _GAP
    font = ImageFont.load_default(_TEXT)
    lines = [f"{maps.method} at {maps.layer}", maps.verdict]
    widest = max(_COLUMNS * width, *(round(font.getlength(line)) for line in lines))
    top = len(lines) * (_TEXT + _GAP) + 2 * _GAP
    paper = Image.new("RGB", (widest + 3 * _GAP, top + -(-len(pairs) // _COLUMNS) * height + _GAP), _PAPER)
    pen = ImageDraw.Draw(paper)
    for number, line in enumerate(lines):
        pen.text((2 * _GAP, 2 * _GAP + number * (_TEXT + _GAP)), line, _INK, font)
    for number, pair in enumerate(pairs):
        row, column = divmod(number, _COLUMNS)
        picture = Image.fromarray(pair.repeat(factor, axis=0).repeat(factor, axis=1))
        paper.paste(picture, (2 * _GAP + column * width, top + row * height))
    if maps.trusted is False:
        pen.rectangle((0, 0, paper.width - 1, paper.height - 1), outline=_ALARM, width=_GAP)
    return paper
