"""What has happened, page by page."""

from __future__ import annotations

from typing import Final

from workstation.store import events
from workstation.store.database import Database
from workstation.store.events import Cursor, EventRow

START: Final = Cursor(0, 0)


async def list_events(
    database: Database, after: Cursor | None, *, type_filter: str | None, limit: int
) -> list[EventRow]:
    """Events after the cursor, oldest first; without a cursor the newest ones, oldest of them first."""
    async with database.session() as connection:
        if after is None:
            return await events.newest_events(connection, type_filter, limit)
        return await events.list_events(connection, after, type_filter, limit)
