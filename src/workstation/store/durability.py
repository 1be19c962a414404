"""Whether this database is set up for us: a commit survives a power cut, and there is room for our connections."""

from __future__ import annotations

from workstation.store.database import Connection
from workstation.store.statements import load

_SQL = load("durability")


async def settings_that_are_off(connection: Connection) -> tuple[str, ...]:
    """The names of the settings durability needs and this database has switched off; empty when all is well."""
    row = await connection.fetchrow(_SQL["durability"])
    assert row is not None
    return tuple(name for name, on in row.items() if not on)


async def connections_allowed(connection: Connection) -> int:
    """How many connections all ordinary users together may have."""
    return int(await connection.fetchval(_SQL["room"]))
