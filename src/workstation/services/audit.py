"""The audit trail: entries are written in batches, beside what they tell of and never in its way."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from workstation.domain.errors import Unavailable
from workstation.store import audit
from workstation.store.audit import AuditEntry, AuditRow
from workstation.store.database import Database

MAX_WAITING: Final = 10_000
_BATCH: Final = 500
_PAUSE_SECONDS: Final = 1.0


class AuditTrail:
    """Writes entries one batch at a time; what arrives meanwhile goes with the next.

    While the database is away up to 10,000 entries wait; the oldest beyond that are dropped and counted in `dropped`.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: deque[AuditEntry] = deque()
        self._writer: asyncio.Task[None] | None = None
        self.dropped = 0

    def record(self, entry: AuditEntry) -> None:
        """Keep an entry; it is written soon."""
        self._waiting.append(entry)
        if len(self._waiting) > MAX_WAITING:
            self._waiting.popleft()
            self.dropped += 1
        if self._writer is None or self._writer.done():
            self._writer = asyncio.get_running_loop().create_task(self._write(), name="audit")

    async def flush(self) -> None:
        """Wait until everything recorded so far is written."""
        if self._writer is not None:
            await self._writer

    async def close(self, within_seconds: float = 2.0) -> None:
        """Write what is left, for at most this long."""
        if self._writer is None:
            return
        done, _ = await asyncio.wait([self._writer], timeout=within_seconds)
        if not done:
            self._writer.cancel()

    async def _write(self) -> None:
        while self._waiting:
            batch = [self._waiting[index] for index in range(min(_BATCH, len(self._waiting)))]
            dropped_before = self.dropped
            try:
                async with self._database.session() as connection:
                    await audit.record(connection, batch)
            except Unavailable:
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            for _ in range(max(0, len(batch) - (self.dropped - dropped_before))):
                self._waiting.popleft()


async def list_entries(
    database: Database, before: int | None, *, actor: str | None, action: str | None, limit: int
) -> list[AuditRow]:
    """The audit log, newest first, below the cursor."""
    async with database.session() as connection:
        return await audit.list_entries(connection, before, actor=actor, action=action, limit=limit)
