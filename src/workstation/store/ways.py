"""How to speak with the database at an address: with itself, or with a pooler that lends a backend by transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import asyncpg

from workstation.store.statements import load

_SQL = load("ways")
# Young tables get bad plans, and a plan made for an empty queue stays with the connection that made it.
_PINNED: Final = {
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "plan_cache_mode": "force_generic_plan",
    "jit": "off",
}
# Poolers keep these two for each client; one name for all connections, or they are set anew at every change of hands.
_SHARED: Final = {"timezone": "UTC", "application_name": "workstation"}
_EVERYWHERE: Final = {
    **_SHARED,
    "jit": "off",
    # A replica that stands still in the middle of a transaction must not hold its rows from the others for long.
    "idle_in_transaction_session_timeout": "3000",
}


@dataclass(frozen=True, slots=True)
class Way:
    """An address, and whether a pooler answers there. With one nothing may be kept in a session."""

    dsn: str
    pooled: bool

    def options(self) -> dict[str, Any]:
        """Options of the driver for connections of every kind."""
        # Each statement is then parsed and planned when it runs, for the values and the tables of that moment: there is
        # no plan that grows old, which is what the pinned settings are for.
        return (
            {"server_settings": _SHARED, "statement_cache_size": 0} if self.pooled else {"server_settings": _EVERYWHERE}
        )

    def hot_options(self, name: str) -> dict[str, Any]:
        """Options of the driver for a kept connection, named in the list of what the database is busy with."""
        if self.pooled:
            return self.options()
        return {"server_settings": {**_EVERYWHERE, **_PINNED, "application_name": f"workstation {name}"}}

    def pool_options(self) -> dict[str, Any]:
        """Options of the driver for a pool."""
        # There is no session of ours to be reset, and the one that would be is about to serve somebody else.
        return {**self.options(), "reset": _leave} if self.pooled else self.options()


async def find_way(dsn: str, timeout: float) -> Way:
    """Ask who answers at an address. A pooler hands out process numbers of its own, not those of the backends."""
    connection = await asyncpg.connect(
        dsn, timeout=timeout, command_timeout=timeout, server_settings=_SHARED, statement_cache_size=0
    )
    try:
        return Way(dsn, await connection.fetchval(_SQL["backend"]) != connection.get_server_pid())
    finally:
        connection.terminate()


async def _leave(_connection: object) -> None:
    """Nothing to do: the driver itself has ended an open transaction."""
