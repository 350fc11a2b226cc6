"""Which layer to explain, when the user names none: of the last resolutions the one whose maps the model obeys most.

A late layer knows what belongs to the class but hardly where, an early one where but hardly what; which is best depends
on the network and on the images. So the layers are tried: on a sample of the images, the pixels that each layer's maps
mark are deleted (see `faithfulness`), and the layer wins whose deletion hurts most beyond that of the same maps moved
to random places. Without that control early layers would win by their dust, which ruins an image wherever it falls.
"""

from __future__ import annotations

import dataclasses
from typing import final

import numpy as np
from numpy.typing import NDArray

from eyebright.core.randomness import stream
from eyebright.data.image_set import ImageSet
from eyebright.insight import salience
from eyebright.insight.attribution import LAYER_METHODS, SLOW, attribute, of_layer
from eyebright.insight.faithfulness import Curves
from eyebright.insight.layers import Layer, candidates, find
from eyebright.insight.subject import Subject

_IMAGES, _STEPS = 16, 5  # that the layers are tried on, and of each curve: all layers together cost a few seconds
_STAND_IN = "grad_cam"  # tries the layers for the methods that would take minutes


@final
@dataclasses.dataclass(frozen=True)
class Choice:
    """A layer, and why this one.

    Attributes
    ----------
    layer : the layer.
    why : a sentence.
    """

    layer: Layer
    why: str


def choose_layer(  # noqa: PLR0913 - all of them differ from call to call
    subject: Subject,
    judge: Subject,
    images: ImageSet,
    classes: NDArray[np.int64],
    method: str,
    *,
    name: str | None,
    batch_size: int,
) -> Choice:
    """The layer called `name`; else the best one for maps of `classes` (N,) by `method`.

    `subject` makes the maps, and `judge`, the same model, may compute less exactly what their deletion does.

    Raises
    ------
    ModelError : there is no such layer, or no layer with a map at all.
    """
    if name is not None:
        return Choice(find(subject, name), "Named by the caller.")
    layers = candidates(subject)
    if len(layers) == 1:
        return Choice(layers[0], f"{layers[0]} is the last layer that carries the image at its only resolution.")
    sample = salience.spread(len(images), _IMAGES)
    tried = _STAND_IN if method in SLOW else method
    curves = Curves(judge, images.take(sample), classes[sample], batch_size, _STEPS)
    gains = {layer: _gain(subject, curves, tried, layer) for layer in layers}
    best = max(layers, key=lambda layer: gains[layer])  # of equal ones the first, which is the last in the network
    others = ", ".join(f"{layer} {gains[layer]:+.3f}" for layer in layers if layer != best)
    return Choice(
        best,
        f"Deleting what its {tried} maps mark takes {gains[best]:+.3f} more off the probability of the class than "
        f"deleting as much elsewhere, on {len(sample)} images; {others}.",
    )


def _gain(subject: Subject, curves: Curves, method: str, layer: Layer) -> float:
    """How far deletion by the layer's maps is below deletion by the same maps moved at random, on average."""
    explain = of_layer(LAYER_METHODS[method], layer)
    maps = attribute(subject, curves.images, curves.classes, explain, curves.batch_size)
    places, elsewhere = salience.orders(maps, stream("moved maps of a layer", 0))
    return float((curves.deletion(elsewhere) - curves.deletion(places)).mean())
