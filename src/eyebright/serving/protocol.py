"""`GuardedProtocol`: uvicorn's connection, with the limits that it lacks.

uvicorn waits for ever for the head and the body of a request, takes heads of any length, and lets any number of
connections in. Nor does it mind whether its answers are read. Here a request must have arrived within its time, its
head is bounded, a connection too many is answered 429 and closed, and one whose answer is not taken is cut. On a
request that arrives whole, as most do, this costs no timer.
"""

from __future__ import annotations

import asyncio
from typing import Any, Literal

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from eyebright.serving.problems import Problem, overloaded
from eyebright.serving.settings import ServerSettings

_HEAD_BYTES = 64 << 10  # of a request line with its headers; servers commonly allow 8 to 64 KiB
_OF_BODIES = frozenset({b"content-length", b"transfer-encoding"})  # headers of a request that has a body
_REFUSED_SECONDS = 1.0  # that a connection too many has to send something, and so to be told why it is closed


class GuardedProtocol(HttpToolsProtocol):
    """One connection.

    Parameters
    ----------
    limits : `max_connections`, `header_seconds` and `body_seconds` are used.
    """

    def __init__(self, *arguments: Any, limits: ServerSettings, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._limits = limits
        self._too_many = False
        self._requests = 0
        self._arriving: Literal["head", "body"] | None = None  # part of the last request that is not complete
        self._head_bytes = 0
        self._deadline: asyncio.TimerHandle | None = None
        self._cut: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._too_many = len(self.connections) > self._limits.max_connections
        self._wait(_REFUSED_SECONDS if self._too_many else self._limits.header_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._wait(None)
        self._mend()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The client does not take what it is sent."""
        super().pause_writing()
        self._cut_later()

    def resume_writing(self) -> None:
        """It has taken it."""
        super().resume_writing()
        self._mend()

    def timeout_keep_alive_handler(self) -> None:
        """Nothing more was asked. What has not been sent by now keeps the connection open, but not for ever."""
        super().timeout_keep_alive_handler()
        if self.transport.get_write_buffer_size():
            self._cut_later()

    def shutdown(self) -> None:
        """The server ends."""
        super().shutdown()
        if self.transport.is_closing() and self.transport.get_write_buffer_size():
            self._cut_later()

    def data_received(self, data: bytes) -> None:
        """Take a piece of a request, or several requests."""
        if self._too_many:
            self._refuse(overloaded(f"{self._limits.max_connections} connections are open already."))
            return
        before = self._requests, self._arriving
        super().data_received(data)
        if self.transport.is_closing():
            return
        if before != (self._requests, self._arriving):
            self._head_bytes = 0
            seconds = {"head": self._limits.header_seconds, "body": self._limits.body_seconds}
            self._wait(seconds[self._arriving] if self._arriving else None)
        elif self._arriving == "head":
            self._head_bytes += len(data)
            if self._head_bytes > _HEAD_BYTES:
                cause = f"the head of the request has more than {_HEAD_BYTES:,} bytes."
                self._refuse(Problem("headers-too-large", cause, "Send fewer or shorter headers."))
        elif not self._arriving and not self._deadline and self.cycle.response_complete:
            # Empty lines between requests begin none, but end uvicorn's own wait for the next one.
            self._wait(self._limits.header_seconds)

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._requests += 1
        self._arriving = "head"

    def on_headers_complete(self) -> None:
        """Its head is there."""
        self._arriving = "body"
        if self.parser.should_upgrade() and any(name in _OF_BODIES for name, _ in self.headers):
            cause = "the request asks for another protocol (Upgrade), so that its body is not read."
            remedy = "Send plain HTTP/1.1: curl --http1.1, in Java HttpClient.Version.HTTP_1_1."
            self._refuse(Problem("bad-request", cause, remedy))
            return
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Its body is there."""
        self._arriving = None
        if not self.transport.is_closing():
            super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """What is not HTTP."""
        self._refuse(Problem("bad-request", f"this is not HTTP/1.1: {msg}", "Send a request as HTTP has it."))

    def _wait(self, seconds: float | None) -> None:
        if self._deadline:
            self._deadline.cancel()
        self._deadline = None if seconds is None else self.loop.call_later(seconds, self._give_up)

    def _cut_later(self) -> None:
        self._mend()
        self._cut = self.loop.call_later(self._limits.body_seconds, self.transport.abort)

    def _mend(self) -> None:
        if self._cut:
            self._cut.cancel()
        self._cut = None

    def _give_up(self) -> None:
        answered = self._arriving == "body" and self.cycle.response_complete
        if self._too_many or answered or not self._arriving:
            self.transport.close()  # nothing was asked that has no answer yet
            return
        cause = f"the {self._arriving} of the request did not arrive in time."
        self._refuse(Problem("too-slow", cause, "Send it faster."))

    def _refuse(self, problem: Problem) -> None:
        """Answer in the place of the application, and close."""
        if not self.transport.is_closing():
            half_answered = self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete
            if not half_answered:
                self.transport.write(problem.raw())
            self.transport.close()
