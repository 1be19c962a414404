"""A database that is a copy: what it believes of processes is true of the original only."""

from __future__ import annotations

from workstation.store.database import Connection
from workstation.store.statements import load

_SQL = load("restored")


async def end_what_ran(connection: Connection) -> int:
    """End every launch, instance and replica that a copied database has; returns how many instances there were."""
    return int(await connection.fetchval(_SQL["end_what_ran"]))
