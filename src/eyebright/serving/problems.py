"""`Problem`: why a request is refused, as `application/problem+json` (RFC 9457) with what to do about it."""

from __future__ import annotations

import json
from typing import Any

MEDIA_TYPE = "application/problem+json"
_HEADER = (b"content-type", MEDIA_TYPE.encode())
RETRY_SECONDS = 1  # after which an overloaded server is worth another attempt

# Kind -> (status, title). The kind is the last part of the problem's `type`.
_KINDS: dict[str, tuple[int, str]] = {
    "bad-parameter": (400, "A parameter does not fit"),
    "bad-request": (400, "The request cannot be read"),
    "no-image": (400, "The request holds no image"),
    "unauthorized": (401, "The key is missing or wrong"),
    "forbidden": (403, "This is not allowed here"),
    "not-found": (404, "There is nothing here"),
    "unknown-model": (404, "There is no such model"),
    "wrong-method": (405, "The method does not fit"),
    "too-slow": (408, "The request arrived too slowly"),
    "too-large": (413, "The request is too large"),
    "too-many-images": (413, "The request holds too many images"),
    "too-many-pixels": (413, "The image has too many pixels"),
    "unsupported-type": (415, "This kind of content is not taken"),
    "not-an-image": (415, "The content is not an image of a known format"),
    "damaged-image": (422, "The image is damaged"),
    "empty-image": (422, "The image is empty"),
    "overloaded": (429, "The server is busy"),
    "headers-too-large": (431, "The head of the request is too large"),
    "failed": (500, "The server failed"),
    "not-ready": (503, "The server does not answer now"),
    "timed-out": (504, "The answer took too long"),
}


class Problem(Exception):  # noqa: N818 - RFC 9457 calls it so
    """A request that is refused.

    Parameters
    ----------
    kind : one of `KINDS`.
    cause : what is wrong, naming the parameter, the image or the limit.
    remedy : what the client can do, as an imperative sentence.
    headers : of the answer, beside its type and length.
    """

    def __init__(self, kind: str, cause: str, remedy: str, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        super().__init__(cause)
        self.kind, self.cause, self.remedy = kind, cause, remedy
        self.status, self.title = _KINDS[kind]
        self.headers = headers
        if kind == "overloaded":
            self.headers = (*headers, (b"retry-after", str(RETRY_SECONDS).encode()))

    def to_dict(self) -> dict[str, Any]:
        """The members of RFC 9457, and `remedy`."""
        return {
            "type": f"urn:eyebright:problem:{self.kind}",
            "title": self.title,
            "status": self.status,
            "detail": self.cause,
            "remedy": self.remedy,
        }

    def content(self) -> bytes:
        """The body of the answer."""
        return json.dumps(self.to_dict()).encode()

    def all_headers(self) -> list[tuple[bytes, bytes]]:
        """The headers of the answer, but for its length."""
        return [_HEADER, *self.headers]

    def raw(self) -> bytes:
        """The whole answer as it goes over a connection that is closed afterwards."""
        content = self.content()
        lines = [b"HTTP/1.1 %d %s" % (self.status, self.title.encode())]
        lines += [b": ".join(header) for header in self.all_headers()]
        lines += [b"content-length: %d" % len(content), b"connection: close", b"", content]
        return b"\r\n".join(lines)


CLOSE = (b"connection", b"close")  # for an answer before the whole request was read
KINDS = tuple(_KINDS)


def overloaded(cause: str) -> Problem:
    """The answer of a server that cannot take more now."""
    return Problem("overloaded", cause, f"Try again after {RETRY_SECONDS} s, with fewer requests at a time.")


def failed() -> Problem:
    """The answer to what nobody foresaw; the server's log has the rest."""
    return Problem("failed", "nobody foresaw this error; it is in the server's log.", "Tell whoever runs the server.")
