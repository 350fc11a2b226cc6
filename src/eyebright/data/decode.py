"""Any image file as the user sees it, as uint8 (H, W, C). Pillow and numpy; no torch.

`load_image` is the one way from a file to the pixels that a model takes: training, prediction and the server go through
it, so that the same file gives the same bits everywhere.

Colour profiles are not applied: a photo in a wide gamut (Display P3) comes out a little duller than on its screen.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from eyebright.core.errors import BadImageError, TooManyPixelsError
from eyebright.core.input_spec import Interpolation, Resize

# Raise it whenever the same file can come out with other pixels: cached pixels of an older one are then not used.
DECODER_VERSION = 2

# Pillow refuses above this number too (twice its MAX_IMAGE_PIXELS of 1 GiB / 4 / 3 bytes). It lets the 108-megapixel
# photo of a telephone through, and keeps a small file that unfolds to gigabytes out of the memory.
MAX_PIXELS = 178_956_970
# The largest image within MAX_PIXELS, uncompressed with four channels, has 716 MB: no image needs more than 1 GiB.
MAX_FILE_BYTES = 1 << 30

# Pillow knows more, but some of those run other programs (EPS starts Ghostscript) or are no pictures.
_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
_EXTENSIONS = "jpg jpeg jfif png bmp gif tif tiff webp ppm pgm"
EXTENSIONS = frozenset(f".{extension}" for extension in _EXTENSIONS.split())

_REMEDY = "Replace or remove the file, or leave such files out with: --on-bad-image skip"

# How each orientation of EXIF (tag 0x0112, CIPA DC-008 table 4) is turned upright; 1 is upright already.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# A JPEG is stored as frequencies of 8x8 blocks. Its decoder can leave out the high ones and so give the image at 1/2,
# 1/4 or 1/8 of its sides, in half the time and a fraction of the memory. It may shrink as long as what it gives is this
# many times larger than what is wanted; the filter does the rest. From 3 on, Pillow's documentation calls the result
# indistinguishable (`reducing_gap` of Image.resize); benchmarks/image_folder.py measures the difference.
_SHRINKING_GAP = 3.0
_SHRINKINGS = (8, 4, 2)

_RESAMPLING: dict[Interpolation, Image.Resampling] = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


@dataclasses.dataclass(frozen=True)
class Header:
    """What a file says of its image before it is decoded.

    Attributes
    ----------
    height, width : pixels, as the user sees the image (after the EXIF rotation).
    grey : whether it has no colours.
    """

    height: int
    width: int
    grey: bool


class Target(Protocol):
    """The pixels that are wanted; an `InputSpec` is one."""

    @property
    def height(self) -> int:
        """Pixels, after resizing."""

    @property
    def width(self) -> int:
        """Pixels, after resizing."""

    @property
    def channels(self) -> int:
        """1 (grey, by ITU-R 601 luma) or 3 (RGB)."""

    @property
    def resize(self) -> Resize:
        """See `InputSpec`."""

    @property
    def interpolation(self) -> Interpolation:
        """See `InputSpec`."""


def bad_image(name: str, reason: str) -> BadImageError:
    """The error for the file `name`; `reason` goes on after it: "is empty"."""
    return BadImageError(f"{name} {reason}.", _REMEDY)


def read_bytes(path: Path, name: str | None = None) -> bytes:
    """The content of a file.

    Raises
    ------
    BadImageError : the file cannot be read, or is far too large for an image.
    """
    name = name or str(path)
    try:
        with path.open("rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            if size > MAX_FILE_BYTES:
                raise bad_image(name, f"is too large for an image ({size >> 20:,} MiB)")
            return file.read()
    except OSError as error:
        raise bad_image(name, f"cannot be read: {error.strerror or error}") from error


def decode(source: Path | bytes | BinaryIO, *, channels: int, name: str | None = None) -> NDArray[np.uint8]:
    """The image as the user sees it: upright, on white where it is transparent, the first frame if it moves.

    Grey of 16 bits is scaled so that 65535 is white. Floating-point grey is taken where it lies in 0..1;
    elsewhere nothing says which value is white, and the file is refused.

    Parameters
    ----------
    source : a path, the content of a file, or an open file.
    channels : 1 (grey, by ITU-R 601 luma) or 3 (RGB).
    name : what errors call the image; default: the path.

    Returns
    -------
    (H, W, C) uint8.

    Raises
    ------
    BadImageError : the file is not an image, is damaged, or has more than `MAX_PIXELS` pixels.
    """
    data, name = _content(source, name)
    with _opened(io.BytesIO(data), name) as image:
        return _array(_flat(image, channels, name))


def read_header(source: Path | bytes, name: str | None = None) -> Header:
    """Size and colour of an image, mostly without decoding it or reading the whole file.

    Raises
    ------
    BadImageError : as `decode`, as far as the header shows it.
    """
    name = name or (str(source) if isinstance(source, Path) else "the image")
    try:
        with (
            source.open("rb") if isinstance(source, Path) else io.BytesIO(source) as file,
            _opened(file, name) as image,
        ):
            width, height = image.size
            # Pillow swaps the sides of a lying TIFF by itself, and would decode a PNG to look for EXIF at its end.
            if image.format != "TIFF" and (image.format != "PNG" or "exif" in image.info) and _orientation(image) >= 5:
                width, height = height, width
            return Header(height, width, _is_grey(image))
    except OSError as error:
        raise bad_image(name, f"cannot be read: {error.strerror or error}") from error


def fit(
    image: Image.Image | NDArray[np.uint8],
    height: int,
    width: int,
    resize: Resize = "crop",
    interpolation: Interpolation = "bilinear",
) -> NDArray[np.uint8]:
    """Bring an image to (height, width); one that has this shape already stays as it is, bit for bit.

    Parameters
    ----------
    image : of mode L or RGB, or (H, W, C) uint8 with C = 1 or 3.
    resize, interpolation : see `InputSpec`; shrinking antialiases (except "nearest").

    Returns
    -------
    (height, width, C) uint8.
    """
    if not isinstance(image, Image.Image):
        image = Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)
    resampling = _RESAMPLING[interpolation]
    if resize == "squash":
        return _array(image.resize((width, height), resampling))
    if resize == "crop":
        # The middle of the source, of the wanted aspect ratio, to a fraction of a pixel.
        scale = max(width / image.width, height / image.height)
        left = (image.width - width / scale) / 2
        top = (image.height - height / scale) / 2
        box = (max(left, 0), max(top, 0), min(image.width - left, image.width), min(image.height - top, image.height))
        return _array(image.resize((width, height), resampling, box=box))
    scale = min(width / image.width, height / image.height)
    inner = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    canvas = Image.new(image.mode, (width, height))  # black
    canvas.paste(image.resize(inner, resampling), ((width - inner[0]) // 2, (height - inner[1]) // 2))
    return _array(canvas)


def load_image(
    source: Path | bytes | BinaryIO, target: Target, *, name: str | None = None, max_pixels: int = MAX_PIXELS
) -> NDArray[np.uint8]:
    """`decode`, then `fit`: the pixels that a model takes.

    A large JPEG is not decoded at its full size: see `_SHRINKING_GAP`. For all others the bits are those of
    `fit(decode(...))`.

    Parameters
    ----------
    source, name : see `decode`.
    target : the model's `InputSpec`, or anything that says as much.
    max_pixels : width times height that the header may give; more are refused before anything is decoded.

    Returns
    -------
    (target.height, target.width, target.channels) uint8.

    Raises
    ------
    BadImageError : as `decode`.
    """
    data, name = _content(source, name)
    with _opened(io.BytesIO(data), name, max_pixels) as image:
        _ask_for_less(image, target)
        flat = _flat(image, target.channels, name)
    return fit(flat, target.height, target.width, target.resize, target.interpolation)


def _content(source: Path | bytes | BinaryIO, name: str | None) -> tuple[bytes, str]:
    """The bytes, and what errors call the image."""
    if isinstance(source, Path):
        data, name = read_bytes(source, name), name or str(source)
    else:
        data, name = source if isinstance(source, bytes) else source.read(), name or "the image"
    if not data:
        raise bad_image(name, "is empty (0 bytes)")
    return data, name


@contextlib.contextmanager
def _opened(file: BinaryIO, name: str, max_pixels: int = MAX_PIXELS) -> Iterator[Image.Image]:
    """The image, not decoded yet. Whatever fails with it in the body becomes a `BadImageError`."""
    try:
        with _pillow_is_quiet(), Image.open(file, formats=_FORMATS) as image:
            width, height = image.size
            if width * height > max_pixels:
                raise TooManyPixelsError(
                    f"{name} has {width:,} x {height:,} pixels; the limit is {max_pixels:,}.", _REMEDY
                )
            yield image
    except (BadImageError, MemoryError):
        raise
    except UnidentifiedImageError as error:
        raise bad_image(name, f"is not an image of a known format ({', '.join(_FORMATS)})") from error
    except Image.DecompressionBombError as error:
        raise TooManyPixelsError(f"{name} has too many pixels: {error}", _REMEDY) from error
    except Exception as error:  # Pillow's parsers raise whatever damaged bytes make them trip over
        raise bad_image(name, f"is damaged: {error}") from error


def _ask_for_less(image: Image.Image, target: Target) -> None:
    """Have the decoder of a JPEG shrink the image where it is far larger than wanted; other decoders cannot."""
    if target.interpolation == "nearest":
        return  # who wants single pixels wants those of the file
    # The smallest shrinking that any rule of `fit` makes of this image, upright or lying.
    shrinking = min(image.size) / max(target.height, target.width)
    for factor in _SHRINKINGS:
        # Sides that it does not divide would end in a fraction of a pixel; a camera's are multiples of 8.
        if shrinking >= factor * _SHRINKING_GAP and not any(side % factor for side in image.size):
            image.draft(None, (image.width // factor, image.height // factor))
            return


def _flat(image: Image.Image, channels: int, name: str) -> Image.Image:
    """Decode the image: upright, of mode L or RGB, without transparency."""
    flat = _eight_bits(image, name)
    mode = "L" if channels == 1 else "RGB"
    if flat.mode != mode:
        flat = flat.convert(mode)
    flat.load()  # a photo is of this mode already; what is not converted has not been decoded yet
    upright = _UPRIGHT.get(_orientation(image))  # asked after decoding, which turns a TIFF upright by itself
    return flat if upright is None else flat.transpose(upright)


def _eight_bits(image: Image.Image, name: str) -> Image.Image:
    """The same picture with eight bits a channel and without transparency."""
    if image.mode == "F" or image.mode.startswith("I"):
        return _scaled(image, name)
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image.convert("RGBA"))
    return image


def _scaled(image: Image.Image, name: str) -> Image.Image:
    values = np.asarray(image)  # (H, W) uint16, int32 or float32
    white = 1 if image.mode == "F" else 65535
    lowest, highest = values.min(), values.max()
    if not (lowest >= 0 and highest <= white):  # NaN is refused too
        raise bad_image(
            name, f"has values from {lowest:g} to {highest:g}; only 0 to {white} says which are black and white"
        )
    grey = np.rint(values.astype(np.float32) * np.float32(255 / white)).astype(np.uint8)
    transparent = image.info.get("transparency")  # PNG: the one value that is not drawn
    if isinstance(transparent, int):
        grey[values == transparent] = 255
    return Image.fromarray(grey)


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # noqa: BLE001 - as in _opened; viewers show a picture whose EXIF is damaged, unturned
        return 1


def _is_grey(image: Image.Image) -> bool:
    if image.mode in {"P", "PA"}:
        colours = np.asarray(image.getpalette("RGB")).reshape(-1, 3)
        return bool((colours == colours[:, :1]).all())
    return image.mode in {"1", "L", "LA", "La", "F"} or image.mode.startswith("I")


def _array(image: Image.Image) -> NDArray[np.uint8]:
    pixels = np.asarray(image)
    return pixels[:, :, np.newaxis] if pixels.ndim == 2 else pixels  # (H, W, C)


class _Quiet:
    """Counts the threads that want Pillow's warnings off: the list of filters is one for the process."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.depth = 0
        self.filters = contextlib.ExitStack()


_quiet = _Quiet()


@contextlib.contextmanager
def _pillow_is_quiet() -> Iterator[None]:
    """Silence Pillow: it warns of large images and odd metadata, which are refused here or do not matter.

    `warnings.catch_warnings` alone is not safe here: two threads that overlap restore each other's filters.
    """
    with _quiet.lock:
        if _quiet.depth == 0:
            _quiet.filters.enter_context(warnings.catch_warnings())
            warnings.filterwarnings("ignore", module=r"PIL\.")
        _quiet.depth += 1
    try:
        yield
    finally:
        with _quiet.lock:
            _quiet.depth -= 1
            if _quiet.depth == 0:
                _quiet.filters.close()
