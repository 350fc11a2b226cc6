"""Group `augment`: what happens to a training batch, always in the order of the fields below."""

from __future__ import annotations

from typing import Literal

from pydantic import JsonValue

from eyebright.core.settings.fields import Fraction, NotNegative, NotNegativeFloat, OpenFraction, settings


@settings
class AugmentSettings:
    """Augmentation of training images; every field is off at its default, and each image draws its own.

    Attributes
    ----------
    pipeline : transforms of Albumentations (`{_target_: albumentations.Rotate, limit: 15}`) and of torchvision
        (`torchvision.transforms.v2.RandomPerspective`), before all that follows, image by image; see
        `eyebright.data.transforms.pipeline`.
    flip : mirror left-right with probability 1/2; "alternating" mirrors half of the images in the first epoch and
        then each image in every other epoch, so that two epochs show both sides of all (Jordan 2024).
    crop : pad by this many pixels (reflected) and cut a random window of the original size.
    shift : move by up to this share of the height and of the width, in whole pixels; the edge is reflected.
    rotate : turn by up to this many degrees; the edge is reflected.
    zoom : enlarge about the middle by a factor from [1 - value, 1 + value]; where it is below 1 the edge is reflected.
    brightness, contrast, saturation : multiply by a factor from [1 - value, 1 + value]. Contrast is the
        distance from the image's mean luminance, saturation that from the pixel's own; grey has none.
    hue : turn the colour wheel (HSV) by up to this share of a full turn either way; 0.5 gives all hues.
    cutout : blank one square of this many pixels, which may reach over the border (DeVries and Taylor 2017).
    coarse_dropout : blank 1 to this many rectangles, each 10 to 25 % of a side.
    erasing : probability of replacing a rectangle of 2 to 33 % of the area by noise (Zhong et al. 2017).
    mixup : alpha of the Beta distribution that blends pairs of images and labels (Zhang et al. 2017).
    cutmix : alpha of the Beta distribution that pastes a rectangle of another image (Yun et al. 2019).
        With both set, each batch draws one of the two.

    Cutout and coarse dropout blank with the mean colour of the batch.
    """

    pipeline: tuple[dict[str, JsonValue], ...] = ()
    flip: bool | Literal["alternating"] = False
    crop: NotNegative = 0
    shift: OpenFraction = 0.0
    rotate: NotNegativeFloat = 0.0
    zoom: OpenFraction = 0.0
    brightness: Fraction = 0.0
    contrast: Fraction = 0.0
    saturation: Fraction = 0.0
    hue: Fraction = 0.0
    cutout: NotNegative = 0
    coarse_dropout: NotNegative = 0
    erasing: Fraction = 0.0
    mixup: NotNegativeFloat = 0.0
    cutmix: NotNegativeFloat = 0.0
