"""The status of an agent changes and is told: one event for each change, in the transaction of the change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from workstation.store import agents as store
from workstation.store.database import Connection

_EVENTS: Final = {
    "starting": "agent.starting",
    "running": "agent.started",
    "stopping": "agent.stopping",
    "stopped": "agent.stopped",
    "error": "agent.failed",
}


async def tell(connection: Connection, agent_id: int, status: str, reason: str, actor: str | None) -> None:
    """Tell that an agent has come to a status."""
    await store.tell(connection, _EVENTS[status], agent_id, actor, {"reason": reason})


async def refresh_external(connection: Connection, agents: Sequence[int]) -> dict[int, str]:
    """Bring the status of agents that are started elsewhere in line with their instances; what changed to what."""
    changed = await store.refresh_external(connection, agents) if agents else []
    for agent_id, status, reason in changed:
        await tell(connection, agent_id, status, reason, None)
    return {agent_id: status for agent_id, status, _ in changed}
