"""Group commit without a timer: what comes meanwhile goes together, each gets its own answer."""

import asyncio
from collections.abc import Sequence

import pytest

from workstation.dispatch.batcher import CAP, Batcher


class Line:
    """Runs batches when it is let; doubles numbers, fails negative ones, and breaks down at zero."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.go = asyncio.Semaphore(0)

    async def run(self, batch: list[int]) -> Sequence[int | Exception]:
        self.batches.append(batch)
        await self.go.acquire()
        if 0 in batch:
            raise ConnectionError("broken")
        return [ValueError(str(item)) if item < 0 else item * 2 for item in batch]


async def asked(batcher: Batcher[int, int], *items: int) -> list[asyncio.Future[int]]:
    futures = [batcher.ask(item) for item in items]
    await asyncio.sleep(0.001)
    return futures


async def test_what_comes_while_a_batch_is_under_way_goes_with_the_next() -> None:
    line = Line()
    batcher = Batcher("t", line.run)
    first = await asked(batcher, 1)
    rest = [*await asked(batcher, 2), *await asked(batcher, 3, 4)]
    assert line.batches == [[1]]
    line.go.release()
    await asyncio.wait(first)
    await asyncio.sleep(0.001)
    assert line.batches == [[1], [2, 3, 4]]
    line.go.release()
    assert await asyncio.gather(*first, *rest) == [2, 4, 6, 8]


async def test_a_lone_item_goes_at_once() -> None:
    line = Line()
    line.go.release()
    async with asyncio.timeout(1):
        assert await Batcher("t", line.run).ask(21) == 42


async def test_an_exception_for_one_is_for_that_one() -> None:
    line = Line()
    line.go.release()
    batcher = Batcher("t", line.run)
    good, bad, other = (batcher.ask(item) for item in (1, -1, 2))
    assert await good == 2 and await other == 4
    with pytest.raises(ValueError, match="-1"):
        await bad


async def test_a_batch_that_breaks_down_is_told_to_each_and_the_next_goes_on() -> None:
    line = Line()
    batcher = Batcher("t", line.run)
    broken = await asked(batcher, 5)
    together = [batcher.ask(item) for item in (0, 6)]
    after: list[asyncio.Future[int]] = []
    line.go.release()
    assert await broken[0] == 10
    await asyncio.sleep(0.001)
    after.append(batcher.ask(7))
    line.go.release()
    line.go.release()
    for future in together:
        with pytest.raises(ConnectionError):
            await future
    assert await after[0] == 14


async def test_one_who_stops_waiting_does_not_disturb_the_others() -> None:
    line = Line()
    batcher = Batcher("t", line.run)
    first, second = await asked(batcher, 1, 2)
    waiter = asyncio.ensure_future(asyncio.wait_for(first, 60))
    await asyncio.sleep(0)
    waiter.cancel()
    line.go.release()
    assert await second == 4
    assert first.cancelled()


async def test_a_batch_has_a_most_and_keeps_the_order() -> None:
    line = Line()
    batcher = Batcher("t", line.run)
    futures = await asked(batcher, *range(1, 2 * CAP + 3))
    for _ in range(4):
        line.go.release()
    assert await asyncio.gather(*futures) == [2 * item for item in range(1, 2 * CAP + 3)]
    assert [len(batch) for batch in line.batches] == [CAP, CAP, 2]


async def test_weights_count_towards_the_most_and_one_heavy_item_goes_alone() -> None:
    line = Line()
    batcher = Batcher("t", line.run, weight=lambda item: item)
    futures = await asked(batcher, CAP - 1, 1, 1, 3 * CAP, 1)
    for _ in range(5):
        line.go.release()
    await asyncio.gather(*futures)
    assert line.batches == [[CAP - 1, 1], [1], [3 * CAP], [1]]


async def test_closing_waits_for_every_answer() -> None:
    line = Line()
    batcher = Batcher("t", line.run)
    futures = await asked(batcher, 1, 2, 3)
    closing = asyncio.ensure_future(batcher.close())
    await asyncio.sleep(0.001)
    assert not closing.done()
    line.go.release()
    await closing
    assert all(future.done() for future in futures)
    await batcher.close()


async def test_a_batch_answered_short_fails_those_who_asked_and_not_those_who_come_later() -> None:
    answers = iter([[1], [10]])

    async def run(batch: list[int]) -> list[int]:
        return next(answers)

    batcher: Batcher[int, int] = Batcher("t", run)
    futures = [batcher.ask(item) for item in (1, 2)]
    for future in futures:
        with pytest.raises(ValueError, match="1 answers to 2"):
            await asyncio.wait_for(future, 1)
    assert await asyncio.wait_for(batcher.ask(3), 1) == 10
