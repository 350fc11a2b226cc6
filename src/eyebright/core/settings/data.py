"""Group `data`: where the images come from and how they are divided."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from eyebright.core.input_spec import Interpolation, Resize
from eyebright.core.settings.fields import NotNegative, OpenFraction, Positive, settings

OnBadImage = Literal["error", "skip"]
LeaveOutCopies = bool | Literal["near"]

# 4096 pixels: some images of 50 MB are decoded at a time, which any machine bears.
Edge = Annotated[int, Field(gt=0, le=4096)]


@settings
class DataSettings:
    """Choice of images.

    Attributes
    ----------
    source : a known data set (`cifar10`, `mnist`, ...) or the path of an image folder or zip.
    root : folder that holds the known data sets; default: EYEBRIGHT_DATA, else the platform's cache.
    size : edge of the square that images are resized to, in pixels; default: the source's own.
    channels : 1 (grey) or 3 (RGB); default: the source's own.
    resize, interpolation : how images are brought to `size`, see `InputSpec`.
    classes : keep only these classes, in this order; default: all.
    validation : share of the training images held out, where the source has no validation split.
    train_on_validation : train on the validation images too, those of the source and those that would be held out, once
        everything is chosen: none is left to judge by, so the last model is kept.
    test : share of all images held out first, where the source has no test split.
    split_seed : seed of the split; independent of the seed of training.
    limit : keep at most this many training images (stratified), for a quick look.
    on_bad_image : stop at a file that cannot be decoded, or leave it out and count it.
    leave_out_copies : take images out of training that validation or test hold too, pixel by pixel, and out of
        validation those that test holds; "near" takes those too that were changed a little.
    label_patches : files that correct labels, applied one after the other; see `eyebright.data.label_patch`.
    download : fetch a known data set that is missing.
    """

    source: str
    root: str | None = None
    size: Edge | None = None
    channels: Literal[1, 3] | None = None
    resize: Resize = "crop"
    interpolation: Interpolation = "bilinear"
    classes: tuple[str, ...] | None = None
    validation: OpenFraction = 0.1
    train_on_validation: bool = False
    test: OpenFraction = 0.2
    split_seed: NotNegative = 0
    limit: Positive | None = None
    on_bad_image: OnBadImage = "error"
    leave_out_copies: LeaveOutCopies = False
    label_patches: tuple[str, ...] = ()
    download: bool = True

    def holding_out(self, split: str) -> str:
        """The change of these settings that fills a split which has no images."""
        if split == "validation" and self.train_on_validation:
            return "data.train_on_validation=false"
        return f"data.{split}=0.2"
