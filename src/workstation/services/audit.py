"""The audit trail: entries are written in batches, beside what they tell of and never in its way."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from workstation.domain.errors import Unavailable
from workstation.store import audit
from workstation.store.audit import AuditEntry, AuditRow
from workstation.store.database import Database, DataRefused

MAX_WAITING: Final = 10_000
_BATCH: Final = 500
_PAUSE_SECONDS: Final = 1.0


class AuditTrail:
    """Writes entries one batch at a time; what arrives meanwhile goes with the next.

    While the database is away up to 10,000 entries wait. The oldest beyond that, and what the database will not take,
    are dropped and counted in `dropped`.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: deque[AuditEntry] = deque()
        self._writer: asyncio.Task[None] | None = None
        self.dropped = 0

    def record(self, entry: AuditEntry) -> None:
        """Keep an entry; it is written soon."""
        self._waiting.append(entry)
        self._drop_oldest()
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
            batch = [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]
            try:
                await self._write_together(batch)
            except Unavailable:
                self._waiting.extendleft(reversed(batch))
                self._drop_oldest()
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _write_together(self, batch: list[AuditEntry]) -> None:
        try:
            async with self._database.session("audit") as connection:
                await audit.record(connection, batch)
        except DataRefused:
            # One entry that the database will not take must not keep the others out.
            if len(batch) == 1:
                self.dropped += 1
                return
            for entry in batch:
                await self._write_together([entry])

    def _drop_oldest(self) -> None:
        while len(self._waiting) > MAX_WAITING:
            self._waiting.popleft()
            self.dropped += 1


async def list_entries(
    database: Database, before: int | None, *, actor: str | None, action: str | None, limit: int
) -> list[AuditRow]:
    """The audit log, newest first, below the cursor."""
    async with database.session() as connection:
        return await audit.list_entries(connection, before, actor=actor, action=action, limit=limit)
