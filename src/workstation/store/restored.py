"""A database that is a copy: what it believes of processes is true of the original only."""

from __future__ import annotations

from typing import Final

from workstation.store.database import Connection, Database
from workstation.store.statements import load

_SQL = load("restored")
_PATIENCE_SECONDS: Final = 600


async def end_what_ran(connection: Connection) -> int:
    """End every launch, instance and replica that a copied database has; returns how many instances there were."""
    return int(await connection.fetchval(_SQL["end_what_ran"]))


async def adopt_transactions(database: Database) -> bool:
    """Number what another cluster's transactions wrote as written now; whether there was any.

    A dump keeps the numbers of transactions as data. Readers of events and of the registry, who read below the oldest
    transaction that runs, would not see them before this cluster has counted as far. Order is kept by id.
    """
    async with database.transaction("restore") as connection:
        if not await connection.fetchval(_SQL["has_foreign_transactions"]):
            return False
        await connection.execute(_SQL["adopt_events"], timeout=_PATIENCE_SECONDS)
        await connection.execute(_SQL["adopt_agents"], timeout=_PATIENCE_SECONDS)
        return True
