"""A batch that meets an outage: nobody waits for a second deadline behind it."""

from __future__ import annotations

import asyncio

import pytest

from workstation.dispatch.batcher import Batcher
from workstation.domain.errors import Unavailable

AWAY = Unavailable("The database is away.")


class Outage:
    """Runs batches until it is over; then each ends as told."""

    def __init__(self, ends: Exception | None) -> None:
        self.over = asyncio.Event()
        self.batches: list[list[int]] = []
        self._ends = ends

    async def run(self, batch: list[int]) -> list[int]:
        """Wait for the end of the outage."""
        self.batches.append(batch)
        await self.over.wait()
        if self._ends is not None:
            raise self._ends
        return batch


async def asked(outage: Outage) -> list[object]:
    """What two callers hear, the second of whom came while the batch of the first was under way."""
    batcher = Batcher[int, int]("test", outage.run)
    first = batcher.ask(1)
    await asyncio.sleep(0)
    second = batcher.ask(2)
    outage.over.set()
    return await asyncio.gather(first, second, return_exceptions=True)


async def test_who_waits_behind_a_batch_that_met_an_outage_is_refused_with_it() -> None:
    outage = Outage(AWAY)
    assert await asked(outage) == [AWAY, AWAY]
    assert outage.batches == [[1]]


@pytest.mark.parametrize("ends", [None, ValueError("a bug")])
async def test_who_waits_behind_any_other_batch_has_its_own_turn(ends: Exception | None) -> None:
    outage = Outage(ends)
    await asked(outage)
    assert outage.batches == [[1], [2]]
