"""Images within limits, and the names of what are none."""

from __future__ import annotations

import io
import struct
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from eyebright.core.errors import TooManyPixelsError
from eyebright.data.decode import load_image
from eyebright.serving.pixels import PixelReader, remark_on
from eyebright.serving.problems import Problem
from eyebright.serving.upload import Upload
from tests.serving.bundles import SPEC, png


def bomb(width: int, height: int, rows: int | None = None) -> bytes:
    """A black PNG of any size in a few kilobytes, without its pixels in memory; it may break off after some rows."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(9)
    row = bytes(1 + (width + 7) // 8)
    lines = b"".join(packer.compress(row) for _ in range(height if rows is None else rows)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", lines) + chunk(b"IEND", b"")


def moving(form: str) -> bytes:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("black", "white")]
    packed = io.BytesIO()
    frames[0].save(packed, form, save_all=True, append_images=frames[1:])
    return packed.getvalue()


def test_pixels_are_those_of_training() -> None:
    data = png("grey", (50, 40), "JPEG")
    read = PixelReader(SPEC, 10_000).read(Upload("a.jpg", data))
    assert np.array_equal(read, load_image(data, SPEC))


PHOTO = png("grey", (50, 40), "JPEG")


BAD = {
    "nothing": (b"", "empty-image", "0 bytes"),
    "text": (b"this is no image", "not-an-image", "known format"),
    "SVG": (b"\n <svg xmlns='http://www.w3.org/2000/svg'/>", "not-an-image", "SVG"),
    "XML": (b"\xef\xbb\xbf<?xml version='1.0'?><svg/>", "not-an-image", "SVG"),
    "HTML": (b"<!DOCTYPE html>", "not-an-image", "web page"),
    "PDF": (b"%PDF-1.7", "not-an-image", "PDF"),
    "zip": (b"PK\x03\x04", "not-an-image", "zip"),
    "data URL": (b"data:image/png;base64,AAAA", "not-an-image", "data URL"),
    "HEIC": (b"\0\0\0\x18ftypheic", "not-an-image", "HEIC"),
    "half a JPEG": (PHOTO[: len(PHOTO) // 2], "damaged-image", "damaged"),
    "most of a JPEG": (PHOTO[:-20], "damaged-image", "truncated"),
    "half a PNG": (png("grey")[:50], "damaged-image", "damaged"),
    "three bytes": (PHOTO[:3], "not-an-image", "known format"),
    "100 megapixels": (bomb(10_000, 10_000), "too-many-pixels", "10,000 x 10,000"),
    "3.6 gigapixels": (bomb(60_000, 60_000, 1), "too-many-pixels", "pixels"),
    "a pixel too many": (png("grey", (101, 100)), "too-many-pixels", "limit is 10,000"),
}


@pytest.mark.parametrize(("data", "kind", "said"), BAD.values(), ids=BAD)
def test_what_cannot_be_read_is_named(data: bytes, kind: str, said: str) -> None:
    with pytest.raises(Problem) as refused:
        PixelReader(SPEC, 10_000).read(Upload("a.png", data))
    assert refused.value.kind == kind
    assert said in refused.value.cause
    assert "a.png" in refused.value.cause
    assert refused.value.remedy
    assert "--on-bad-image" not in refused.value.remedy  # that is for folders


def test_a_bomb_is_small() -> None:
    assert len(bomb(10_000, 10_000)) < 20_000


def test_what_is_larger_than_most_is_read_too() -> None:
    large = bomb(5_000, 4_000)
    assert PixelReader(SPEC, 50_000_000).read(Upload("", large)).shape == (8, 8, 3)


def test_what_is_larger_than_most_goes_one_at_a_time_whatever_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = threading.Lock()

    def load(*_: object, max_pixels: int, **__: object) -> bool:
        if max_pixels < 50_000_000:
            raise TooManyPixelsError("large", "")
        assert alone.acquire(blocking=False)
        time.sleep(0.01)
        alone.release()
        return True

    monkeypatch.setattr("eyebright.serving.pixels.load_image", load)
    readers = [PixelReader(SPEC, 50_000_000), PixelReader(SPEC, 50_000_000)] * 2
    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(lambda reader: reader.read(Upload("", b"x")), readers))


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG"])
def test_of_a_moving_image_the_first_frame_counts_and_this_is_said(form: str) -> None:
    data = moving(form)
    assert PixelReader(SPEC, 10_000).read(Upload("", data)).max() == 0  # black
    assert "first frame" in (remark_on(data) or "")


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG", "JPEG", "BMP"])
def test_of_a_still_image_nothing_is_said(form: str) -> None:
    assert remark_on(png("grey", form=form)) is None
    assert remark_on(png("grey", form=form) + b"acTL ANIM") is None  # words that may stand in any file
