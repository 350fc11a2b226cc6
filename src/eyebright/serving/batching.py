"""`Batcher`: images of many requests share an inference, and none waits when nobody else is there.

The event loop gathers, lanes (threads) compute: a lane decodes its batch and infers it, start to end, so that an image
changes threads once each way. Whatever arrives while all lanes are busy becomes their next batches; so batches grow
with the load by themselves. The wait (`max_wait`) only helps a lane that is free while another one is busy, to begin
with more than the first image that comes by.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Generic, TypeVar

from eyebright.serving.problems import Problem, overloaded
from eyebright.serving.upload import Upload

# Encoded bytes after which a batch is full: about one photo. Small images are gathered by their number; large ones
# take so long to decode that they gain nothing from company, and would make it wait.
_BATCH_BYTES = 1 << 20

Verdict = TypeVar("Verdict")
Judge = Callable[[Sequence[Upload]], "list[Verdict | Problem]"]


@dataclasses.dataclass(eq=False, slots=True)
class _Request(Generic[Verdict]):
    """The images of one request: what is known of them, and who waits for the rest."""

    arrived: float
    uploads: Sequence[Upload]
    verdicts: list[Verdict | Problem | None]
    missing: int
    done: asyncio.Future[list[Verdict | Problem]]


class Batcher(Generic[Verdict]):
    """Gathers images into batches for the lanes. Of the event loop's thread alone, but for what `judge` does.

    Parameters
    ----------
    judge : makes of a batch one verdict or problem an image, in a lane.
    lanes : threads, shared with other batchers.
    busy_most : batches that may be under way at a time: the number of lanes.
    max_batch, max_wait, max_queue : see `ServerSettings`.
    """

    def __init__(
        self, judge: Judge[Verdict], lanes: Executor, busy_most: int, *, max_batch: int, max_wait: float, max_queue: int
    ) -> None:
        self._judge = judge
        self._lanes = lanes
        self._busy_most = busy_most
        self._max_batch, self._max_wait, self._max_queue = max_batch, max_wait, max_queue
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[tuple[_Request[Verdict], int]] = deque()
        self._busy = 0
        self._soon: asyncio.Handle | None = None
        self._later: asyncio.Handle | None = None

    @property
    def waiting(self) -> int:
        """Images that no lane has taken yet."""
        return len(self._waiting)

    async def judged(self, uploads: Sequence[Upload]) -> list[Verdict | Problem]:
        """The verdict or problem of each image.

        Raises
        ------
        Problem : the queue is full.
        """
        # A request that is larger than the queue is taken by an empty one: it would never be taken otherwise.
        if self._waiting and len(self._waiting) + len(uploads) > self._max_queue:
            raise overloaded(f"{len(self._waiting)} images wait already; the limit is {self._max_queue}.")
        verdicts: list[Verdict | Problem | None] = [None] * len(uploads)
        request = _Request(self._loop.time(), uploads, verdicts, len(uploads), self._loop.create_future())
        self._waiting.extend((request, position) for position in range(len(uploads)))
        self._plan()
        try:
            return await request.done
        except asyncio.CancelledError:  # whoever no longer waits leaves nothing in the queue, and so in memory
            self._waiting = deque(image for image in self._waiting if image[0] is not request)
            raise

    def _plan(self) -> None:
        """Begin a batch as soon as that is best."""
        if self._soon or self._busy >= self._busy_most or not self._waiting:
            return
        patience = self._waiting[0][0].arrived + self._max_wait - self._loop.time()
        if self._busy == 0 or len(self._waiting) >= self._max_batch or patience <= 0:
            # At the end of this turn of the loop: what has arrived together is judged together.
            self._soon = self._loop.call_soon(self._dispatch)
        elif self._later is None:
            self._later = self._loop.call_later(patience, self._dispatch)

    def _dispatch(self) -> None:
        for planned in (self._soon, self._later):
            if planned:
                planned.cancel()
        self._soon = self._later = None
        batch = self._next()
        if batch:
            self._busy += 1
            uploads = [request.uploads[position] for request, position in batch]
            self._lanes.submit(self._compute, batch, uploads)
        self._plan()

    def _next(self) -> list[tuple[_Request[Verdict], int]]:
        """The images of the next batch."""
        batch: list[tuple[_Request[Verdict], int]] = []
        size = 0
        while self._waiting and len(batch) < self._max_batch and size < _BATCH_BYTES:
            request, position = self._waiting.popleft()
            batch.append((request, position))
            size += len(request.uploads[position].data)
        return batch

    def _compute(self, batch: list[tuple[_Request[Verdict], int]], uploads: list[Upload]) -> None:
        """In a lane."""
        try:
            verdicts: Sequence[Verdict | Problem] | BaseException = self._judge(uploads)
        except BaseException as error:  # noqa: BLE001 - a lane lives on; whoever waits for the batch is told
            verdicts = error
        self._loop.call_soon_threadsafe(self._finish, batch, verdicts)

    def _finish(
        self, batch: list[tuple[_Request[Verdict], int]], verdicts: Sequence[Verdict | Problem] | BaseException
    ) -> None:
        self._busy -= 1
        self._plan()
        if isinstance(verdicts, BaseException):
            for request, _ in batch:
                if not request.done.done():
                    request.done.set_exception(verdicts)
            return
        for (request, position), verdict in zip(batch, verdicts, strict=True):
            request.verdicts[position] = verdict
            request.missing -= 1
            if not request.missing and not request.done.done():
                request.done.set_result(request.verdicts)  # type: ignore[arg-type]  # none is missing
