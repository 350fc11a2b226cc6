"""From an upload to the pixels that the model takes, or to the problem that says why there are none."""

from __future__ import annotations

import io
import threading

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from eyebright.core.errors import BadImageError, TooManyPixelsError
from eyebright.core.input_spec import InputSpec
from eyebright.data.decode import load_image
from eyebright.serving.problems import Problem, overloaded
from eyebright.serving.upload import Upload

# Images up to here are decoded side by side. The few that are larger go one at a time: an uncompressed one with
# transparency takes 15 bytes a pixel while it is laid on white.
_SIDE_BY_SIDE = 16_000_000

# What people send instead of an image: how it begins, and what it is.
_STRANGERS = (
    (b"<svg", "SVG, a drawing made of lines and no pixels"),
    (b"<?xml", "XML, or a drawing in SVG"),
    (b"<!doctype html", "a web page"),
    (b"<html", "a web page"),
    (b"%pdf", "a PDF"),
    (b"pk\x03\x04", "a zip archive"),
    (b"data:image/", "a data URL, and not the bytes that stand behind its comma in base64"),
)
# How formats begin that may hold an animation, and what stands near the beginning of those that do.
_MARKS = {b"GIF8": b"GIF8", b"RIFF": b"ANIM", b"\x89PNG": b"acTL"}

# At byte 4 of the ISO containers that telephones write.
_CONTAINERS = {b"ftypheic": "HEIC", b"ftypheix": "HEIC", b"ftypmif1": "HEIF", b"ftypavif": "AVIF"}


class PixelReader:
    """Decodes uploads within limits. Safe to use from several threads.

    Parameters
    ----------
    spec : the pixels that the model takes.
    max_pixels : width times height that the header of an image may give.
    """

    _one_at_a_time = threading.Lock()  # of all models of the process

    def __init__(self, spec: InputSpec, max_pixels: int) -> None:
        self._spec = spec
        self._max_pixels = max_pixels

    def read(self, upload: Upload) -> NDArray[np.uint8]:
        """The pixels (h, w, C), as training would have seen them.

        Raises
        ------
        Problem : the upload is no image, is damaged, or has too many pixels.
        """
        try:
            try:
                return self._load(upload, min(_SIDE_BY_SIDE, self._max_pixels))
            except TooManyPixelsError:
                with self._one_at_a_time:
                    return self._load(upload, self._max_pixels)
        except BadImageError as error:
            raise _explain(upload, error) from error
        except MemoryError as error:
            raise overloaded("the memory does not hold the decoded image.") from error

    def _load(self, upload: Upload, max_pixels: int) -> NDArray[np.uint8]:
        return load_image(upload.data, self._spec, name=upload.name or "the image", max_pixels=max_pixels)


def remark_on(data: bytes) -> str | None:
    """What a client should know about an image that was judged: that it moves, and only its first frame counted."""
    mark = _MARKS.get(data[:4])
    if mark is not None and mark in data[:4096]:
        try:
            with Image.open(io.BytesIO(data), formats=("GIF", "WEBP", "PNG")) as image:
                moves = getattr(image, "is_animated", False)
        except Exception:  # noqa: BLE001 - its first frame was fine; Pillow raises whatever damaged bytes make of it
            moves = True
        return "The image is animated; its first frame was judged." if moves else None
    return None


def _explain(upload: Upload, error: BadImageError) -> Problem:
    if not upload.data:
        return Problem("empty-image", error.cause, "Send the whole file.")
    if isinstance(error, TooManyPixelsError):
        return Problem("too-many-pixels", error.cause, "Shrink it first; the model looks at few pixels anyway.")
    if isinstance(error.__cause__, UnidentifiedImageError):
        stranger = _stranger(upload.data)
        cause = f"{upload.name or 'the content'} is {stranger}." if stranger else error.cause
        return Problem("not-an-image", cause, "Send JPEG, PNG, WebP, GIF, BMP, TIFF or PPM.")
    return Problem("damaged-image", error.cause, "Send the whole file, or save it again.")


def _stranger(data: bytes) -> str | None:
    container = _CONTAINERS.get(data[4:12])
    if container:
        return f"{container}, which is not read here"
    begin = data[:64].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return next((what for how, what in _STRANGERS if begin.startswith(how)), None)
