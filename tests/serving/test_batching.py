"""Batches: who shares one, who waits, who is refused, and who is left out."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from eyebright.serving.batching import Batcher
from eyebright.serving.problems import Problem
from eyebright.serving.upload import Upload

UPLOADS = [Upload(str(number), b"x") for number in range(100)]


class Judge:
    """Gives back the names, and stops before each batch until it is let go on."""

    def __init__(self, *, held: bool = False) -> None:
        self.batches: list[list[str]] = []
        self.go_on = threading.Semaphore(0 if held else 1000)

    def __call__(self, uploads: Sequence[Upload]) -> list[str | Problem]:
        self.batches.append([upload.name for upload in uploads])
        assert self.go_on.acquire(timeout=60)
        return [Problem("empty-image", upload.name, "") if upload.name == "bad" else upload.name for upload in uploads]


def run(
    judge: Callable[[Sequence[Upload]], list[str | Problem]],
    work: Callable[[Batcher[str]], Awaitable[Any]],
    lanes: int = 1,
    **limits: Any,
) -> Any:
    async def main() -> Any:
        with ThreadPoolExecutor(lanes) as pool:
            chosen = {"max_batch": 4, "max_wait": 0.0, "max_queue": 50} | limits
            return await work(Batcher(judge, pool, lanes, **chosen))

    return asyncio.run(main())


async def settle() -> None:
    """Let the loop do all that is due."""
    for _ in range(20):
        await asyncio.sleep(0.001)


def test_each_request_gets_its_own_verdicts_in_order() -> None:
    async def work(batcher: Batcher[str]) -> list[list[str | Problem]]:
        asked = [UPLOADS[0:3], UPLOADS[3:4], UPLOADS[4:13], UPLOADS[13:14]]
        return await asyncio.gather(*map(batcher.judged, asked))

    judge = Judge()
    found = run(judge, work, lanes=2)
    assert found == [["0", "1", "2"], ["3"], [str(number) for number in range(4, 13)], ["13"]]
    assert [len(batch) for batch in judge.batches] == [4, 4, 4, 2]


def test_what_arrives_together_is_judged_together_and_at_once() -> None:
    async def work(batcher: Batcher[str]) -> None:
        await asyncio.gather(*(batcher.judged([upload]) for upload in UPLOADS[:3]))

    judge = Judge()
    run(judge, work, max_wait=1000.0)  # an idle server does not wait
    assert judge.batches == [["0", "1", "2"]]


def test_a_free_lane_waits_for_company_while_another_one_works() -> None:
    judge = Judge(held=True)

    async def work(batcher: Batcher[str]) -> None:
        first = asyncio.create_task(batcher.judged(UPLOADS[:1]))
        await settle()
        others = [asyncio.create_task(batcher.judged(UPLOADS[1:2]))]
        await settle()
        assert judge.batches == [["0"]]  # the second lane is free, and waits
        assert batcher.waiting == 1
        others.append(asyncio.create_task(batcher.judged(UPLOADS[2:5])))
        await settle()
        assert judge.batches == [["0"], ["1", "2", "3", "4"]]  # full: no need to wait any longer
        judge.go_on.release(2)
        await asyncio.gather(first, *others)

    run(judge, work, lanes=2, max_wait=1000.0)


def test_patience_ends() -> None:
    judge = Judge(held=True)

    async def work(batcher: Batcher[str]) -> None:
        first = asyncio.create_task(batcher.judged(UPLOADS[:1]))
        await settle()
        second = asyncio.create_task(batcher.judged(UPLOADS[1:2]))
        while len(judge.batches) < 2:
            await asyncio.sleep(0.001)
        judge.go_on.release(2)
        await asyncio.gather(first, second)

    run(judge, work, lanes=2, max_wait=0.01)
    assert judge.batches == [["0"], ["1"]]


def test_large_images_share_no_batch() -> None:
    photos = [Upload(str(number), bytes(800_000)) for number in range(3)]
    judge = Judge()
    run(judge, lambda batcher: batcher.judged(photos))
    assert judge.batches == [["0", "1"], ["2"]]  # full after a mebibyte


def test_a_full_queue_refuses_and_goes_on() -> None:
    judge = Judge(held=True)

    async def work(batcher: Batcher[str]) -> None:
        first = asyncio.create_task(batcher.judged(UPLOADS[:1]))
        await settle()
        second = asyncio.create_task(batcher.judged(UPLOADS[1:6]))
        await settle()
        with pytest.raises(Problem) as refused:
            await batcher.judged(UPLOADS[6:8])
        assert refused.value.status == 429
        assert "5 images wait" in refused.value.cause
        third = asyncio.create_task(batcher.judged(UPLOADS[6:7]))  # this one has room
        judge.go_on.release(100)
        assert [await each for each in (first, second, third)] == [["0"], ["1", "2", "3", "4", "5"], ["6"]]
        assert await batcher.judged(UPLOADS[6:14]) == [str(number) for number in range(6, 14)]  # an empty one takes all

    run(judge, work, max_queue=6)


def test_the_images_of_a_client_that_gave_up_are_forgotten() -> None:
    judge = Judge(held=True)

    async def work(batcher: Batcher[str]) -> None:
        first = asyncio.create_task(batcher.judged(UPLOADS[:1]))
        await settle()
        impatient = asyncio.create_task(batcher.judged(UPLOADS[1:3]))
        patient = asyncio.create_task(batcher.judged(UPLOADS[3:4]))
        await settle()
        assert batcher.waiting == 3
        impatient.cancel()
        await settle()
        assert batcher.waiting == 1
        judge.go_on.release(10)
        assert [await each for each in (first, patient)] == [["0"], ["3"]]

    run(judge, work)
    assert judge.batches == [["0"], ["3"]]


def test_a_problem_is_the_business_of_its_image() -> None:
    found = run(Judge(), lambda batcher: batcher.judged([UPLOADS[0], Upload("bad", b"x"), UPLOADS[1]]))
    assert found[0] == "0"
    assert found[2] == "1"
    assert isinstance(found[1], Problem)


def test_a_lane_survives_what_nobody_foresaw() -> None:
    calls = []

    def judge(uploads: Sequence[Upload]) -> list[str | Problem]:
        calls.append(uploads)
        if len(calls) == 1:
            raise ZeroDivisionError("surprise")
        return [upload.name for upload in uploads]

    async def work(batcher: Batcher[str]) -> None:
        with pytest.raises(ZeroDivisionError, match="surprise"):
            await batcher.judged(UPLOADS[:3])
        assert await batcher.judged(UPLOADS[:1]) == ["0"]

    run(judge, work)
