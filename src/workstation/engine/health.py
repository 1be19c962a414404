"""Health that grows old: a report that was not renewed says nothing any more."""

from __future__ import annotations

from workstation.store import agents as store
from workstation.store.database import Database

BATCH = 200


class HealthWatch:
    """Lets reports of health expire."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def expire_once(self) -> int:
        """One step: agents whose last report is too old become unknown, which takes work like healthy."""
        async with self._database.transaction("health") as connection:
            expired = await store.expire_health(connection, BATCH)
        return int(len(expired) == BATCH)
