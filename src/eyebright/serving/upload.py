"""The images of a request: its body within limits, and what it holds as multipart, raw bytes or JSON with base64."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from eyebright.serving.problems import CLOSE, Problem, overloaded

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

# Bytes of an unwanted body that are read and thrown away at most.
_DISCARDED = 64 << 20
# Larger bodies are taken apart by a thread: the loop would keep all others waiting for milliseconds.
_QUICKLY_PARSED = 256 << 10
# Of an image in JSON: its own, and those in its name. Every value needs one, and a body of nothing but empty lists
# would take 24 times its bytes in memory before anybody could refuse it.
_COMMAS = 1000
# Of a body in JSON, beside it: as text, as the texts in it, and the images themselves.
_JSON_COPIES = 3

_TYPES = "multipart/form-data with files, one image with its own type such as image/jpeg, or application/json"
_HOW_TO = "Send a file, as in: curl -F image=@photo.jpg URL. Options such as top go into the query: URL?top=3"


class Upload(NamedTuple):
    """An image as it came.

    Attributes
    ----------
    name : that the client gave to it, else "".
    data : the content of the file.
    """

    name: str
    data: bytes


class ClientGoneError(Exception):
    """The client closed the connection before its request was complete: nobody waits for an answer."""


class Held:
    """The bytes that one request keeps in memory; a context that gives them back to the budget."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._bytes = 0

    def __enter__(self) -> Held:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._budget.held -= self._bytes

    def take(self, count: int) -> None:
        """Hold `count` bytes more.

        Raises
        ------
        Problem : all requests together hold too many.
        """
        self._bytes += count
        self._budget.held += count
        if self._budget.held > self._budget.limit:
            raise overloaded("all requests together hold more bytes than the server keeps in memory.")


class Budget:
    """Bytes that all requests together may keep in memory. Of the event loop's thread alone."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0

    def hold(self) -> Held:
        """What one request keeps."""
        return Held(self)


async def read_body(receive: Receive, headers: Mapping[bytes, bytes], limit: int, held: Held) -> bytes:
    """The body of a request.

    Parameters
    ----------
    receive : of ASGI.
    headers : of the request, names in lower case.
    limit : bytes; counted as they come, whatever the header says.
    held : where the bytes are accounted for.

    Raises
    ------
    Problem : it is too large, or the server is full.
    ClientGoneError : the rest of it will not come.
    """
    declared = headers.get(b"content-length", b"")
    if declared.isdigit() and int(declared) > limit:
        raise await _too_large(receive, limit)
    chunks: list[bytes] = []
    size = 0
    more = True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientGoneError
        chunk: bytes = message.get("body", b"")
        more = message.get("more_body", False)
        size += len(chunk)
        if size > limit:
            chunks.clear()
            raise await _too_large(receive, limit, more=more)
        held.take(len(chunk))
        chunks.append(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def discard(receive: Receive, *, more: bool = True) -> tuple[tuple[bytes, bytes], ...]:
    """Read the rest of a body that nobody wants, since most clients read no answer before they have sent all.

    Returns
    -------
    Headers of the answer: where the body is too long even for this, the connection is closed.

    Raises
    ------
    ClientGoneError : the rest of it will not come.
    """
    discarded = 0
    while more and discarded <= _DISCARDED:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientGoneError
        discarded += len(message.get("body", b""))
        more = message.get("more_body", False)
    return (CLOSE,) if more else ()


async def _too_large(receive: Receive, limit: int, *, more: bool = True) -> Problem:
    return Problem(
        "too-large",
        f"the request has more than {limit:,} bytes, which is the limit.",
        "Send smaller images, or fewer at a time.",
        await discard(receive, more=more),
    )


async def images_of(content_type: bytes, body: bytes, most: int, held: Held) -> list[Upload]:
    """The images in a body, at most `most`; `held` accounts for what taking it apart needs.

    Raises
    ------
    Problem : the type is another one, the body does not fit its type, or it holds no image or too many.
    """
    kind, options = parse_options_header(content_type)
    if kind == b"image/svg+xml":
        raise Problem(
            "unsupported-type", "SVG is a drawing made of lines, and the model takes pixels.", "Send it as PNG or JPEG."
        )
    if kind.startswith(b"image/"):
        return [Upload("", body)]
    if kind == b"multipart/form-data":
        uploads = await _parsed(_multipart, body, options.get(b"boundary", b""), most)
    elif kind == b"application/json":
        held.take(_JSON_COPIES * len(body))
        uploads = await _parsed(_json, body, most)
    else:
        given = f"the content type {kind.decode('latin-1')!r}" if kind else "a request without content type"
        raise Problem("unsupported-type", f"{given} is not taken here.", f"Send {_TYPES}.")
    if not uploads:
        raise Problem("no-image", "the request holds no file.", _HOW_TO)
    return uploads


async def _parsed(parse: Callable[..., list[Upload]], body: bytes, *rest: object) -> list[Upload]:
    if len(body) <= _QUICKLY_PARSED:
        return parse(body, *rest)
    return await asyncio.to_thread(parse, body, *rest)


class _Form:
    """Gathers what the parser of multipart reports. The body is parsed at once, so every piece lies in it whole."""

    def __init__(self, most: int) -> None:
        self.uploads: list[Upload] = []
        self.ended = False
        self._most = most
        self._field = b""
        self._disposition = b""
        self._pieces: list[bytes] = []

    def callbacks(self) -> MultipartCallbacks:
        return {
            "on_part_begin": self._begin_part,
            "on_header_field": self._take_field,
            "on_header_value": self._take_value,
            "on_part_data": self._take_piece,
            "on_part_end": self._end_part,
            "on_end": self._end,
        }

    def _begin_part(self) -> None:
        if len(self.uploads) == self._most:
            raise _too_many(self._most)
        self._disposition = b""
        self._pieces = []

    def _take_field(self, data: bytes, start: int, end: int) -> None:
        self._field = data[start:end].lower()

    def _take_value(self, data: bytes, start: int, end: int) -> None:
        if self._field == b"content-disposition":
            self._disposition = data[start:end]

    def _take_piece(self, data: bytes, start: int, end: int) -> None:
        self._pieces.append(data[start:end])

    def _end_part(self) -> None:
        _, options = parse_options_header(self._disposition)
        if b"filename" not in options:
            field = options.get(b"name", b"").decode(errors="replace")
            raise Problem("bad-request", f"the field {field!r} of the form is not a file.", _HOW_TO)
        name = options[b"filename"].decode(errors="replace")
        self.uploads.append(Upload(name, b"".join(self._pieces)))

    def _end(self) -> None:
        self.ended = True


def _multipart(body: bytes, boundary: bytes, most: int) -> list[Upload]:
    form = _Form(most)
    try:
        if not boundary:
            raise FormParserError("its content type names no boundary")
        MultipartParser(boundary, form.callbacks()).write(body)
        if not form.ended:
            raise FormParserError("it ends before its last boundary")
    except FormParserError as error:
        raise Problem(
            "bad-request",
            f"the multipart form is damaged: {error}.",
            "Send all of it, as the library of your language makes it.",
        ) from error
    return form.uploads


def _json(body: bytes, most: int) -> list[Upload]:
    if body.count(b",") > _COMMAS * most:
        raise _bad_json(f"the body holds more values than {most} images, the limit, could need")
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _bad_json(f"the body is not JSON: {error}") from error
    images = value.get("images") if isinstance(value, dict) and value.keys() == {"images"} else None
    if not isinstance(images, list):
        raise _bad_json("the body is not an object with the one member 'images', a list")
    if len(images) > most:
        raise _too_many(most)
    return [_upload(image, f"images[{number}]") for number, image in enumerate(images)]


def _upload(image: Any, place: str) -> Upload:
    if not isinstance(image, dict) or "data" not in image or not image.keys() <= {"name", "data"}:
        raise _bad_json(f"{place} is not an object with 'data' and, if you like, 'name'")
    name, data = image.get("name", ""), image["data"]
    if not isinstance(name, str) or not isinstance(data, str):
        raise _bad_json(f"{place} has a 'name' or 'data' that is not a text")
    try:
        return Upload(name, base64.b64decode(data, validate=True))
    except (binascii.Error, ValueError) as error:
        raise _bad_json(f"{place}.data is not base64: {error}") from error


def _bad_json(cause: str) -> Problem:
    return Problem("bad-request", f"{cause}.", 'Send {"images": [{"name": "photo.jpg", "data": "...base64..."}]}.')


def _too_many(most: int) -> Problem:
    return Problem(
        "too-many-images", f"the request holds more than {most} images, which is the limit.", "Send several requests."
    )
