"""Which recipe suits a folder of images, and why."""

from __future__ import annotations

import dataclasses
import statistics
from pathlib import Path

from eyebright.core.errors import BadImageError, DataError
from eyebright.data.decode import Header
from eyebright.data.image_files import ImageFiles, open_files

# Images that are looked at; evenly spread, so that every class and split is among them.
_PEEKED = 200
# The longest shorter side, in pixels, of what is called a small image: CIFAR's 32 and what is near it.
_SMALL = 40


@dataclasses.dataclass(frozen=True)
class Suggestion:
    """A recipe for images.

    Attributes
    ----------
    recipe : its name.
    seen : what the images are.
    reason : of the choice, a sentence.
    """

    recipe: str
    seen: str
    reason: str


def suggest(path: Path) -> Suggestion:
    """Look at the sizes of some images of a folder or zip and choose.

    Raises
    ------
    DataError : there is no image, or none can be read.
    """
    files = open_files(path)
    step = max(1, len(files.names) // _PEEKED)
    headers = [header for name in files.names[::step] if (header := _peek(files, name))]
    if not headers:
        raise DataError(f"{path} holds no image that can be read.", "Give a folder of folders, one a class.")
    side = statistics.median(min(header.height, header.width) for header in headers)
    seen = f"{len(files.names):,} images, {side:.0f} pixels on the shorter side (median of {len(headers)})"
    if side <= _SMALL:
        return Suggestion("folder/small", seen, f"{seen}: small images, used at 32 pixels.")
    changed = "photographs, resized to 96 pixels; data.size=... changes that."
    return Suggestion("folder/photos", seen, f"{seen}: {changed}")


def _peek(files: ImageFiles, name: str) -> Header | None:
    try:
        return files.header(name)
    except BadImageError:
        return None  # loading will name it; here it only does not count
