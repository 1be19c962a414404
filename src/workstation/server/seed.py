"""The built-in agents enter the registry: missing ones only, in their order, without burning a number."""

from __future__ import annotations

import json

from workstation.agents.builtins import BUILTINS
from workstation.store import agents as store
from workstation.store.database import Database


async def seed_builtins(database: Database, *, start: bool) -> int:
    """Insert the built-in agents that are missing; the default ones are wanted running from the first start on.

    Returns how many were inserted.
    """
    inserted = 0
    async with database.transaction("agent") as connection:
        for builtin in BUILTINS:
            desired = "running" if builtin.default_on and start else "stopped"
            spec = json.dumps({"builtin": builtin.name})
            inserted += await store.seed(
                connection, builtin.agent_name, builtin.type, list(builtin.capabilities), spec, desired
            )
    return inserted
