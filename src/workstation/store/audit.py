"""The audit log in the database: who changed what, and who was refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from workstation.store.database import Connection, affected
from workstation.store.statements import load

_SQL = load("audit")


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One verb somebody used or was refused. status is the HTTP status; detail is JSON text."""

    actor: str
    role: str
    action: str
    object: str | None
    status: int
    detail: str | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class AuditRow:
    """An entry as it was kept. detail is JSON text."""

    id: int
    at: datetime
    actor: str
    role: str | None
    action: str
    object: str | None
    status: int
    detail: str | None
    request_id: str | None


async def record(connection: Connection, entries: Sequence[AuditEntry]) -> None:
    """Write entries in one statement."""
    await connection.execute(
        _SQL["record"],
        [entry.actor for entry in entries],
        [entry.role for entry in entries],
        [entry.action for entry in entries],
        [entry.object for entry in entries],
        [entry.status for entry in entries],
        [entry.detail for entry in entries],
        [entry.request_id for entry in entries],
    )


async def list_entries(
    connection: Connection, before: int | None, *, actor: str | None, action: str | None, limit: int
) -> list[AuditRow]:
    """Newest first, below the cursor."""
    rows = await connection.fetch(_SQL["list_entries"], before, actor, action, limit)
    return [AuditRow(*row) for row in rows]


async def prune(connection: Connection, limit: int, older_than: timedelta) -> int:
    """Delete entries older than this, the oldest first; returns how many."""
    return affected(await connection.execute(_SQL["prune"], limit, older_than))
