"""Events in the database, read in the order in which their transactions became visible to everybody."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from workstation.store.database import Connection, Row
from workstation.store.statements import load

_SQL = load("events")


@dataclass(frozen=True, slots=True, order=True)
class Cursor:
    """A place between two events: everything up to and including (tx, id) has been read."""

    tx: int
    id: int


@dataclass(frozen=True, slots=True)
class EventRow:
    """One event. data and items are JSON text."""

    cursor: Cursor
    at: datetime
    type: str
    subject: str | None
    actor: str | None
    owner: str | None
    data: str | None
    items: str | None


async def list_events(connection: Connection, after: Cursor, type_filter: str | None, limit: int) -> list[EventRow]:
    """Events after the cursor, oldest first. A filter that ends in a dot takes every type that begins so."""
    rows = await connection.fetch(_SQL["list_events"], str(after.tx), after.id, type_filter, limit)
    return [_event(row) for row in rows]


async def newest_events(connection: Connection, type_filter: str | None, limit: int) -> list[EventRow]:
    """The newest events, oldest of them first."""
    return [_event(row) for row in await connection.fetch(_SQL["newest_events"], type_filter, limit)]


def _event(row: Row) -> EventRow:
    return EventRow(
        Cursor(int(row["tx"]), row["id"]),
        row["at"],
        row["type"],
        row["subject"],
        row["actor"],
        row["owner"],
        row["data"],
        row["items"],
    )
