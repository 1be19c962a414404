"""Whether this server can do its work, and if not, why: one sentence for each thing that is missing."""

from __future__ import annotations

from workstation.agents.builtins import BUILTINS
from workstation.domain.errors import Unavailable
from workstation.store import agents as agent_store
from workstation.store.database import Database
from workstation.store.migrate import is_current


class Readiness:
    """Asked by /ready. draining is set when the server goes down."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.draining = False
        self.started = False

    async def missing(self) -> tuple[str, ...]:
        """What is not ready yet; empty when all is."""
        if self.draining:
            return ("The server is going down.",)
        if not self.started:
            return ("The server is starting.",)
        try:
            async with self._database.session() as connection:
                if not await is_current(connection):
                    return ("The database schema is older than this server.",)
                for builtin in BUILTINS:
                    if await agent_store.find_by_name(connection, builtin.agent_name) is None:
                        return (f"The built-in agent {builtin.agent_name} is not registered.",)
        except Unavailable as error:
            return (error.message,)
        return ()
