"""The audit trail beside a database that comes and goes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from workstation.domain.errors import Unavailable
from workstation.services import audit
from workstation.services.audit import MAX_WAITING, AuditTrail
from workstation.store.audit import AuditEntry
from workstation.store.database import Connection, Database


class Flaky:
    """A database that can be away."""

    def __init__(self, real: Database) -> None:
        self._real = real
        self.away = False

    @asynccontextmanager
    async def session(self, write: str | None = None) -> AsyncIterator[Connection]:
        """A connection, unless it is away."""
        if self.away:
            raise Unavailable("The database is away.")
        async with self._real.session(write) as connection:
            yield connection


@pytest.fixture
async def flaky(dsn: str) -> AsyncIterator[Flaky]:
    """The database, with a switch."""
    real = await Database.connect(dsn, pool_size=2)
    yield Flaky(real)
    await real.close()


def entry(number: int, object_: str = "x") -> AuditEntry:
    """One of many."""
    return AuditEntry("olga", "operator", f"verb-{number}", object_, 200)


async def actions(database: Flaky) -> list[str]:
    """What was kept, oldest first."""
    rows = await audit.list_entries(database, None, actor=None, action=None, limit=100_000)  # type: ignore[arg-type]
    return [row.action for row in rows][::-1]


async def test_entries_are_written_in_order_and_in_batches(flaky: Flaky) -> None:
    trail = AuditTrail(flaky)  # type: ignore[arg-type]
    for number in range(1200):
        trail.record(entry(number))
    await trail.flush()
    assert await actions(flaky) == [f"verb-{number}" for number in range(1200)]


async def test_one_entry_that_cannot_be_kept_does_not_keep_others_out(flaky: Flaky) -> None:
    trail = AuditTrail(flaky)  # type: ignore[arg-type]
    for number, object_ in enumerate(("x", "a\0b", "y")):
        trail.record(entry(number, object_))
    await trail.flush()
    assert await actions(flaky) == ["verb-0", "verb-2"] and trail.dropped == 1


async def test_entries_wait_while_the_database_is_away_and_the_oldest_go_first(
    flaky: Flaky, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "_PAUSE_SECONDS", 0.01)
    flaky.away = True
    trail = AuditTrail(flaky)  # type: ignore[arg-type]
    for number in range(MAX_WAITING + 5):
        trail.record(entry(number))
    await asyncio.sleep(0.05)
    assert trail.dropped == 5
    flaky.away = False
    await trail.flush()
    kept = await actions(flaky)
    assert len(kept) == MAX_WAITING and kept[0] == "verb-5" and kept[-1] == f"verb-{MAX_WAITING + 4}"


async def test_closing_waits_for_what_can_still_be_written(flaky: Flaky) -> None:
    trail = AuditTrail(flaky)  # type: ignore[arg-type]
    trail.record(entry(1))
    await trail.close()
    assert await actions(flaky) == ["verb-1"]
    flaky.away = True
    trail.record(entry(2))
    await asyncio.wait_for(trail.close(within_seconds=0.05), 1)
