"""Every kind of image comes out as the user sees it; every other file is refused by name."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageOps

from eyebright.core.errors import BadImageError
from eyebright.core.input_spec import InputSpec, Interpolation, Resize
from eyebright.data import decode as module
from eyebright.data.decode import Header, decode, fit, load_image, read_bytes, read_header

GREY = np.array([[0, 64, 128], [192, 200, 255]], np.uint8)  # (2, 3)
COLOUR = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [10, 20, 30]]], np.uint8)  # (2, 2, 3)


def encoded(image: Image.Image | NDArray[Any], file_format: str = "PNG", **options: Any) -> bytes:
    """The content of an image file."""
    if not isinstance(image, Image.Image):
        image = Image.fromarray(image)
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def luma(colour: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Grey (H, W, 1) by ITU-R 601 in Pillow's fixed point."""
    red, green, blue = np.moveaxis(colour.astype(np.int64), 2, 0)
    grey: NDArray[np.uint8] = ((19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16).astype(np.uint8)
    return grey[..., np.newaxis]


def grey_of(data: bytes) -> Any:
    """The rows of an image as lists, in grey."""
    return decode(data, channels=1)[..., 0].tolist()


# ---- modes


@pytest.mark.parametrize("file_format", ["PNG", "BMP", "TIFF", "PPM", "GIF"])
def test_grey_becomes_one_or_three_equal_channels(file_format: str) -> None:
    data = encoded(GREY, file_format)
    assert np.array_equal(decode(data, channels=1), GREY[..., np.newaxis])
    assert np.array_equal(decode(data, channels=3), np.repeat(GREY[..., np.newaxis], 3, axis=2))


@pytest.mark.parametrize(("file_format", "options"), [("PNG", {}), ("BMP", {}), ("WEBP", {"lossless": True})])
def test_colour_stays_or_becomes_luma(file_format: str, options: dict[str, Any]) -> None:
    data = encoded(COLOUR, file_format, **options)
    assert np.array_equal(decode(data, channels=3), COLOUR)
    assert np.array_equal(decode(data, channels=1), luma(COLOUR))


def test_transparent_pixels_lie_on_white() -> None:
    rgba = np.array([[[255, 0, 0, 0], [255, 0, 0, 255], [255, 0, 0, 128]]], np.uint8)
    # 128 / 255 of red over white: 255 * 127 / 255 = 127 of green and blue shine through
    assert decode(encoded(rgba), channels=3).tolist() == [[[255, 255, 255], [255, 0, 0], [255, 127, 127]]]


def test_grey_with_alpha_lies_on_white() -> None:
    grey_alpha = np.array([[[0, 0], [0, 255], [100, 128]]], np.uint8)
    # 100 * 128 / 255 + 255 * 127 / 255 = 177.2
    assert grey_of(encoded(Image.fromarray(grey_alpha, "LA"))) == [[255, 0, 177]]


def palette(transparency: int | bytes | None) -> bytes:
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8), "P")
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    return encoded(image) if transparency is None else encoded(image, transparency=transparency)


def test_palette() -> None:
    assert decode(palette(None), channels=3).tolist() == [[[255, 0, 0], [0, 255, 0], [0, 0, 255]]]


@pytest.mark.parametrize("transparency", [1, b"\xff\x00\xff"])
def test_palette_with_a_transparent_colour(transparency: int | bytes) -> None:
    assert decode(palette(transparency), channels=3).tolist() == [[[255, 0, 0], [255, 255, 255], [0, 0, 255]]]


def test_grey_png_with_one_transparent_value() -> None:
    assert grey_of(encoded(GREY, transparency=64)) == [[0, 255, 128], [192, 200, 255]]


def test_one_bit() -> None:
    assert grey_of(encoded(Image.fromarray(GREY > 100))) == [[0, 0, 255], [255, 255, 255]]


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "PPM"])
def test_sixteen_bits_are_scaled_not_clipped(file_format: str) -> None:
    deep = np.array([[0, 257, 128, 129], [65535, 65407, 65406, 32768]], np.uint16)
    # white is 65535, so a step of the result is 257: 128/257 < 1/2 < 129/257; 65406/257 = 254.498
    assert grey_of(encoded(deep, file_format)) == [[0, 1, 0, 1], [255, 255, 254, 128]]


def test_sixteen_bits_with_the_bytes_of_the_other_order() -> None:
    assert grey_of(encoded(Image.fromarray(np.array([[0, 257 * 9]], ">u2")), "TIFF")) == [[0, 9]]


def test_sixteen_bits_with_a_transparent_value() -> None:
    assert grey_of(encoded(np.array([[0, 80, 257]], np.uint16), transparency=80)) == [[0, 255, 1]]


def test_thirty_two_bits_are_taken_as_sixteen_where_they_can_be() -> None:
    assert grey_of(encoded(np.array([[0, 257, 65535]], np.int32), "TIFF")) == [[0, 1, 255]]


def test_float_is_taken_from_zero_to_one() -> None:
    assert grey_of(encoded(np.array([[0, 0.5, 1]], np.float32), "TIFF")) == [[0, 128, 255]]


@pytest.mark.parametrize(
    "values",
    [
        np.array([[0, 65536]], np.int32),
        np.array([[-1, 5]], np.int32),
        np.array([[0, 255.0]], np.float32),
        np.array([[0, np.nan]], np.float32),
    ],
)
def test_values_of_unknown_range_are_refused(values: NDArray[Any]) -> None:
    with pytest.raises(BadImageError, match=r"only 0 to (1|65535) says which are black and white"):
        decode(encoded(values, "TIFF"), channels=1)


def test_cmyk() -> None:
    # ink: none is white, full cyan takes all red, full black takes all
    ink = np.array([[[0, 0, 0, 0], [255, 0, 0, 0], [0, 0, 0, 255]]], np.uint8)
    data = encoded(Image.fromarray(ink, "CMYK"), "TIFF")
    assert decode(data, channels=3).tolist() == [[[255, 255, 255], [0, 255, 255], [0, 0, 0]]]


def test_cmyk_jpeg_is_not_inverted() -> None:
    ink = np.zeros((8, 8, 4), np.uint8)
    ink[..., 1] = 255  # magenta takes all green
    pixels = decode(encoded(Image.fromarray(ink, "CMYK"), "JPEG", quality=100), channels=3)
    assert np.abs(pixels.astype(int) - [255, 0, 255]).max() <= 2


@pytest.mark.parametrize("file_format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_the_first_frame_of_many(file_format: str) -> None:
    frames = [Image.new("RGB", (3, 2), colour) for colour in ("red", "lime", "blue")]
    data = encoded(frames[0], file_format, save_all=True, append_images=frames[1:], lossless=True)
    assert np.array_equal(decode(data, channels=3), np.full((2, 3, 3), [255, 0, 0]))


# ---- orientation

# What the stored rows [[1, 2, 3], [4, 5, 6]] look like, by the sentence of CIPA DC-008 ("0th row is ...").
UPRIGHT = {
    1: [[1, 2, 3], [4, 5, 6]],  # top, 0th column left
    2: [[3, 2, 1], [6, 5, 4]],  # top, right
    3: [[6, 5, 4], [3, 2, 1]],  # bottom, right
    4: [[4, 5, 6], [1, 2, 3]],  # bottom, left
    5: [[1, 4], [2, 5], [3, 6]],  # left, top
    6: [[4, 1], [5, 2], [6, 3]],  # right, top
    7: [[6, 3], [5, 2], [4, 1]],  # right, bottom
    8: [[3, 6], [2, 5], [1, 4]],  # left, bottom
}


def turned(orientation: int, file_format: str, **options: Any) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = 40 * np.array(UPRIGHT[1], np.uint8)
    return encoded(np.repeat(stored[..., np.newaxis], 3, axis=2), file_format, exif=exif, **options)


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "WEBP"])
def test_all_orientations(file_format: str, orientation: int) -> None:
    data = turned(orientation, file_format, **({"lossless": True} if file_format == "WEBP" else {}))
    expected = 40 * np.array(UPRIGHT[orientation])
    assert grey_of(data) == expected.tolist()
    assert read_header(data) == Header(expected.shape[0], expected.shape[1], grey=False)


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_all_orientations_of_a_photo(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    photo = Image.fromarray(np.kron(40 * np.array(UPRIGHT[1], np.uint8), np.ones((8, 8), np.uint8)))
    data = encoded(photo, "JPEG", exif=exif, quality=100)
    pixels = decode(data, channels=1)
    assert np.abs(pixels[4::8, 4::8, 0].astype(int) - 40 * np.array(UPRIGHT[orientation])).max() <= 2
    with Image.open(io.BytesIO(data)) as reference:
        assert np.array_equal(pixels[..., 0], np.asarray(ImageOps.exif_transpose(reference)))
    header = read_header(data)
    assert (header.height, header.width) == pixels.shape[:2]


@pytest.mark.parametrize("orientation", [0, 9, 77])
def test_an_orientation_that_does_not_exist_turns_nothing(orientation: int) -> None:
    assert grey_of(turned(orientation, "PNG")) == (40 * np.array(UPRIGHT[1])).tolist()


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0no TIFF at all", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\0"]
)
def test_damaged_exif_neither_stops_nor_warns(exif: bytes) -> None:
    assert (
        np.abs(decode(encoded(GREY, "JPEG", quality=100, exif=exif), channels=1)[..., 0].astype(int) - GREY).max() < 9
    )


# ---- headers


@pytest.mark.parametrize(
    ("image", "options", "grey"),
    [
        (Image.new("1", (3, 2)), {}, True),
        (Image.new("L", (3, 2)), {}, True),
        (Image.new("LA", (3, 2)), {}, True),
        (Image.new("I;16", (3, 2)), {}, True),
        (Image.new("RGB", (3, 2)), {}, False),
        (Image.new("RGBA", (3, 2)), {}, False),
        (Image.new("L", (3, 2)).convert("P"), {}, True),
        (Image.new("RGB", (3, 2), "red").convert("P", palette=Image.Palette.ADAPTIVE), {}, False),
    ],
)
def test_header(image: Image.Image, options: dict[str, Any], grey: bool, tmp_path: Path) -> None:
    (tmp_path / "image.png").write_bytes(encoded(image, **options))
    assert read_header(tmp_path / "image.png") == Header(height=2, width=3, grey=grey)


def test_the_header_of_a_truncated_photo_is_read_without_its_pixels(tmp_path: Path) -> None:
    whole = encoded(np.random.default_rng(0).integers(0, 256, (90, 70, 3), np.uint8), "JPEG")
    (tmp_path / "half.jpg").write_bytes(whole[: len(whole) // 2])
    assert read_header(tmp_path / "half.jpg") == Header(90, 70, grey=False)


@pytest.mark.parametrize("name", ["missing.jpg", "text.jpg"])
def test_no_header(name: str, tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("this is no image")
    with pytest.raises(BadImageError, match=name):
        read_header(tmp_path / name)


# ---- bad files


def refused(path: Path) -> BadImageError:
    with pytest.raises(BadImageError) as caught:
        decode(path, channels=3)
    assert str(path) in caught.value.cause
    assert "--on-bad-image skip" in caught.value.remedy
    return caught.value


def test_a_file_of_no_bytes(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    assert refused(tmp_path / "empty.png").cause == f"{tmp_path / 'empty.png'} is empty (0 bytes)."


@pytest.mark.parametrize(
    "content", [b"this is no image", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"\0" * 99]
)
def test_something_else_called_jpg(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "notes.jpg").write_bytes(content)
    assert "is not an image of a known format" in refused(tmp_path / "notes.jpg").cause


def test_a_missing_file(tmp_path: Path) -> None:
    assert "cannot be read: No such file or directory" in refused(tmp_path / "gone.jpg").cause


def test_a_folder_called_png(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    assert "cannot be read: Is a directory" in refused(tmp_path / "folder.png").cause


def test_a_file_too_large_for_an_image_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "film.jpg").write_bytes(bytes(100))
    monkeypatch.setattr(module, "MAX_FILE_BYTES", 99)
    with pytest.raises(BadImageError, match="is too large for an image"):
        read_bytes(tmp_path / "film.jpg")


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM"])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_a_truncated_file(tmp_path: Path, file_format: str, part: float) -> None:
    whole = encoded(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8), file_format)
    path = tmp_path / f"image.{file_format.lower()}"
    path.write_bytes(whole[: int(part * len(whole))])
    refused(path)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_damaged_bytes_give_pixels_or_the_right_error(data: st.DataObject) -> None:
    file_format = data.draw(st.sampled_from(["PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM"]))
    content = bytearray(encoded(np.arange(108, dtype=np.uint8).reshape(6, 6, 3), file_format))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        image = decode(bytes(content), channels=3)
    except BadImageError:
        return
    assert image.dtype == np.uint8
    assert image.shape[2:] == (3,)


def png_claiming(width: int, height: int) -> bytes:
    """A PNG of 1 bit a pixel whose header promises so many pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(20_000, 20_000), (13_378, 13_377)])
def test_a_bomb_is_refused_before_it_unfolds(size: tuple[int, int]) -> None:
    with pytest.raises(BadImageError, match=r"too many pixels|the limit is 178,956,970"):
        decode(png_claiming(*size), channels=1, name="bomb.png")


def test_below_the_limit_nobody_is_warned_and_nothing_of_pillow_is_changed() -> None:
    limit, filters = Image.MAX_IMAGE_PIXELS, list(warnings.filters)
    assert limit is not None
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        assert read_header(png_claiming(13_000, 13_000)) == Header(13_000, 13_000, grey=True)  # above Pillow's warning
    assert seen == []
    assert limit == Image.MAX_IMAGE_PIXELS
    assert warnings.filters == filters


def test_the_limit_holds_where_pillow_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    with pytest.raises(BadImageError, match="has 20,000 x 20,000 pixels; the limit is 178,956,970"):
        decode(png_claiming(20_000, 20_000), channels=1)


def test_threads_that_overlap_give_the_warning_filters_back() -> None:
    filters = list(warnings.filters)
    data = encoded(GREY)
    first, second = (module._opened(io.BytesIO(data), name) for name in ("first", "second"))
    # As two threads may do: who came first leaves first. Each by itself would put back what it found.
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert warnings.filters != filters
    second.__exit__(None, None, None)
    assert warnings.filters == filters


# ---- fit


@pytest.mark.parametrize("resize", ["crop", "squash", "pad"])
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic", "lanczos"])
def test_an_image_of_the_right_shape_stays_bit_for_bit(resize: Resize, interpolation: Interpolation) -> None:
    image = np.random.default_rng(0).integers(0, 256, (7, 9, 3), np.uint8)
    assert np.array_equal(fit(image, 7, 9, resize, interpolation), image)


def test_crop_takes_the_middle() -> None:
    # 2 x 6, halves of the outer thirds are cut off: the middle 2 x 2 has columns 2 and 3
    image = np.arange(12, dtype=np.uint8).reshape(2, 6, 1)
    assert fit(image, 2, 2, "crop")[..., 0].tolist() == [[2, 3], [8, 9]]
    assert fit(image.transpose(1, 0, 2).copy(), 2, 2, "crop")[..., 0].tolist() == [[2, 8], [3, 9]]


def test_squash_takes_all() -> None:
    image = np.array([[0, 0, 90, 90], [0, 0, 90, 90]], np.uint8)[..., np.newaxis]
    assert fit(image, 2, 2, "squash", "nearest")[..., 0].tolist() == [[0, 90], [0, 90]]


def test_pad_puts_black_around() -> None:
    wide = np.full((2, 4, 1), 7, np.uint8)
    assert fit(wide, 4, 4, "pad")[..., 0].tolist() == [[0] * 4, [7] * 4, [7] * 4, [0] * 4]
    tall = np.full((4, 2, 3), 7, np.uint8)
    assert fit(tall, 4, 4, "pad")[..., 2].tolist() == [[0, 7, 7, 0]] * 4


def test_shrinking_averages_all_pixels() -> None:
    stripes = np.tile(np.array([0, 200], np.uint8), (8, 4))[..., np.newaxis]  # (8, 8, 1)
    inner = fit(stripes, 2, 2, "squash", "bilinear")
    assert np.abs(inner.astype(int) - 100).max() <= 13  # without antialiasing it would be 0 or 200


@pytest.mark.parametrize("resize", ["squash", "crop"])
def test_fit_is_pillows_own_resize(resize: Resize) -> None:
    image = Image.fromarray(np.random.default_rng(1).integers(0, 256, (30, 50, 3), np.uint8))
    reference = {
        "squash": image.resize((17, 13), Image.Resampling.BICUBIC),
        "crop": ImageOps.fit(image, (17, 13), Image.Resampling.BICUBIC),
    }[resize]
    assert np.abs(fit(image, 13, 17, resize, "bicubic").astype(int) - np.asarray(reference)).max() <= 1


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 200),
    width=st.integers(1, 200),
    resize=st.sampled_from(["crop", "squash", "pad"]),
    channels=st.sampled_from([1, 3]),
)
def test_any_shape_fits(height: int, width: int, resize: Resize, channels: int) -> None:
    fitted = fit(np.full((height, width, channels), 9, np.uint8), 8, 5, resize)
    assert fitted.shape == (8, 5, channels)
    assert fitted.dtype == np.uint8
    assert fitted.max() == 9
    assert resize == "pad" or fitted.min() == 9


# ---- shrinking while decoding


def photo(height: int, width: int, channels: int = 3) -> NDArray[np.uint8]:
    """Slopes, edges and some noise (H, W, C)."""
    rows, columns = np.mgrid[:height, :width]
    slopes = [60 * np.sin(rows / 61) + 40 * np.cos(columns / (37 + 9 * channel)) for channel in range(channels)]
    discs = 50.0 * ((rows // 97 + columns // 71) % 2)
    noise = np.random.default_rng(0).normal(0, 8, (height, width, channels))
    pixels: NDArray[np.uint8] = (
        (128 + np.stack(slopes, 2) + discs[..., np.newaxis] + noise).clip(0, 255).astype(np.uint8)
    )
    return pixels


def spec(height: int, width: int, channels: int = 3, **rule: Any) -> InputSpec:
    return InputSpec(height, width, channels, (0.5,) * channels, (0.5,) * channels, ("a", "b"), **rule)


@pytest.fixture
def decoded_sizes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """(width, height) of what the decoders have given so far, before it was fitted."""
    sizes: list[tuple[int, int]] = []

    def noted(image: Image.Image, channels: int, name: str) -> Image.Image:
        flat = module_flat(image, channels, name)
        sizes.append(flat.size)
        return flat

    module_flat = module._flat
    monkeypatch.setattr(module, "_flat", noted)
    return sizes


def difference(data: bytes, target: InputSpec) -> tuple[float, float]:
    """Root of the mean square and largest difference between `load_image` and the fit of the whole image."""
    whole = fit(
        decode(data, channels=target.channels), target.height, target.width, target.resize, target.interpolation
    )
    off = np.abs(load_image(data, target).astype(float) - whole)
    return float(np.sqrt((off**2).mean())), float(off.max())


@pytest.mark.parametrize(
    ("size", "factor"),  # the shorter side of the photo must have three times 32 pixels after shrinking
    [(95, 1), (184, 1), (192, 2), (376, 2), (384, 4), (760, 4), (768, 8), (2048, 8)],
)
def test_the_decoder_of_a_photo_shrinks_as_far_as_three_times_the_target(
    size: int, factor: int, decoded_sizes: list[tuple[int, int]]
) -> None:
    load_image(encoded(np.zeros((size, size + 16, 3), np.uint8), "JPEG"), spec(32, 32))
    assert decoded_sizes == [((size + 16) // factor, size // factor)]


@pytest.mark.parametrize("resize", ["crop", "squash", "pad"])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize("progressive", [False, True])
def test_nobody_sees_that_the_decoder_has_shrunk(
    resize: Resize, interpolation: Interpolation, progressive: bool, decoded_sizes: list[tuple[int, int]]
) -> None:
    data = encoded(photo(400, 480), "JPEG", quality=90, progressive=progressive)
    root_mean_square, largest = difference(data, spec(32, 32, resize=resize, interpolation=interpolation))
    assert decoded_sizes == [(480, 400), (120, 100)]
    assert 0 < root_mean_square < 1  # of 255: above 48 dB
    assert largest <= 6


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_a_photo_that_lies_is_shrunk_and_turned(orientation: int, decoded_sizes: list[tuple[int, int]]) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert difference(encoded(photo(400, 560), "JPEG", exif=exif, quality=90), spec(40, 30))[1] <= 6
    whole, shrunk = decoded_sizes
    assert shrunk == (whole[0] // 2, whole[1] // 2)


@pytest.mark.parametrize("mode", ["L", "CMYK"])
@pytest.mark.parametrize("channels", [1, 3])
def test_grey_and_printed_photos_are_shrunk_too(mode: str, channels: int, decoded_sizes: list[tuple[int, int]]) -> None:
    data = encoded(Image.fromarray(photo(400, 480)).convert(mode), "JPEG", quality=90)
    assert difference(data, spec(32, 32, channels))[1] <= 6
    assert decoded_sizes[1] == (120, 100)


def test_a_photo_with_a_second_picture_behind_it_is_shrunk_too(decoded_sizes: list[tuple[int, int]]) -> None:
    first, second = Image.fromarray(photo(400, 480)), Image.new("RGB", (480, 400))
    data = encoded(first, "MPO", save_all=True, append_images=[second], quality=90)
    assert difference(data, spec(32, 32))[1] <= 6
    assert decoded_sizes[1] == (120, 100)


@pytest.mark.parametrize(
    ("data", "target"),
    [
        pytest.param(encoded(photo(400, 480), "PNG"), spec(32, 32), id="no JPEG"),
        pytest.param(encoded(photo(401, 480), "JPEG"), spec(32, 32), id="odd side"),
        pytest.param(encoded(photo(400, 480), "JPEG"), spec(32, 32, interpolation="nearest"), id="single pixels"),
        pytest.param(encoded(photo(375, 500), "JPEG"), spec(224, 224), id="hardly larger"),
        pytest.param(encoded(photo(30, 40), "JPEG"), spec(64, 64), id="smaller"),
    ],
)
def test_all_others_are_the_fit_of_the_whole_image_bit_for_bit(data: bytes, target: InputSpec) -> None:
    assert difference(data, target) == (0, 0)


@pytest.mark.parametrize("part", [0.02, 0.5, 0.95])
def test_a_photo_that_ends_too_soon_is_refused_though_it_is_shrunk(part: float) -> None:
    whole = encoded(photo(400, 480), "JPEG")
    with pytest.raises(BadImageError, match=r"photo\.jpg is (damaged|not an image)"):
        load_image(whole[: int(part * len(whole))], spec(32, 32), name="photo.jpg")


def test_load_image_is_decode_then_fit(tmp_path: Path) -> None:
    spec = InputSpec(4, 6, 3, (0.5,) * 3, (0.5,) * 3, ("a", "b"), "pad", "lanczos")
    content = encoded(np.random.default_rng(2).integers(0, 256, (20, 20, 3), np.uint8))
    (tmp_path / "image.png").write_bytes(content)
    expected = fit(decode(content, channels=3), 4, 6, "pad", "lanczos")
    for source in (tmp_path / "image.png", content, io.BytesIO(content)):
        assert np.array_equal(load_image(source, spec), expected)
