"""How work that is done on a cluster speaks with the process that gave it out, wherever both are.

An actor stands between them, since only its address is known to all. It may die with its machine: then Ray starts
another, whoever was waiting for an answer asks again, and so the listener may hear a question twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time
import uuid
from collections.abc import Callable, Collection
from typing import Any, final

from eyebright.cluster.failures import in_our_words

Question = tuple[Any, ...]
Hear = Callable[..., Any]


@final
@dataclasses.dataclass(frozen=True)
class Voice:
    """The end that is given to the work."""

    exchange: Any

    def ask(self, *question: Any) -> Any:
        """Say something, and wait for the answer."""
        import ray

        return ray.get(self.exchange.ask.remote(question))

    def tell(self, *question: Any) -> None:
        """Say something that may get lost, and go on."""
        self.exchange.ask.remote(question)


@final
class Conversation:
    """The end that listens.

    Parameters
    ----------
    hear : called with each question in turn; what it returns is the answer.
    """

    def __init__(self, hear: Hear) -> None:
        import ray

        actor = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(_Exchange)
        self._exchange = actor.remote()
        self._hear = hear
        self._next: Any = None

    @property
    def voice(self) -> Voice:
        """To be given to the work."""
        return Voice(self._exchange)

    def result_of(self, task: Any) -> Any:
        """Listen until a task is over, and give what it gave; one that nobody listens to any more is cancelled."""
        import ray

        with in_our_words():
            try:
                self.until_one_of([task])
            except BaseException:
                # Only here: cancelling one that has just ended aborts this process, by a failed check in Ray.
                with contextlib.suppress(ray.exceptions.RayError, ConnectionError):
                    ray.cancel(task)
                raise
            return ray.get(task)

    def until_one_of(self, work: Collection[Any], *, ends: float | None = None) -> Any:
        """Listen until a task is over; returns its reference.

        Parameters
        ----------
        work : references of tasks.
        ends : when to stop listening, as `time.monotonic` tells it; then None is returned.
        """
        import ray

        while True:
            self._next = self._next or self._exchange.next.remote()
            patience = None if ends is None else max(0.0, ends - time.monotonic())
            # Questions first: what a task says before its end is heard before its end.
            ready, _ = ray.wait([self._next, *work], num_returns=1, timeout=patience)
            if not ready:
                return None
            if ready[0] != self._next:
                return ready[0]
            number, question = ray.get(self._next)
            self._next = None
            self._exchange.answer.remote(number, self._hear(*question))


class _Exchange:
    """The actor."""

    def __init__(self) -> None:
        self._questions: asyncio.Queue[tuple[str, Question]] = asyncio.Queue()
        self._answers: dict[str, asyncio.Future[Any]] = {}

    async def ask(self, question: Question) -> Any:
        number = uuid.uuid4().hex  # another life of this actor must not take it for one of its own
        self._answers[number] = asyncio.get_running_loop().create_future()
        await self._questions.put((number, question))
        return await self._answers[number]

    async def next(self) -> tuple[str, Question]:
        return await self._questions.get()

    async def answer(self, number: str, answer: Any) -> None:
        waiting = self._answers.pop(number, None)
        if waiting is not None:
            waiting.set_result(answer)
