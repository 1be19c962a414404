"""Orders to start and stop: given, then watched until they are carried out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from workstation.domain.errors import Conflict, RuntimeFailed
from workstation.services import agents
from workstation.services.agents import Order
from workstation.store.database import Database, Row

_FIRST_LOOK_SECONDS: Final = 0.05
_LAST_LOOK_SECONDS: Final = 0.5


async def until(database: Database, order: Order, status: str, seconds: float, monotonic: Callable[[], float]) -> bool:
    """Whether the agent came to this status within so many seconds of the order.

    Raises RuntimeFailed with the driver's reason when it ended in error, Conflict when a newer order came.
    """
    if order.status == status:
        return True
    end = monotonic() + seconds
    pause = _FIRST_LOOK_SECONDS
    while monotonic() < end:
        row = await agents.get_agent(database, order.agent_id)
        if _is_done(row, order, status):
            return True
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, _LAST_LOOK_SECONDS)
    return False


def _is_done(row: Row, order: Order, status: str) -> bool:
    if row["generation"] != order.generation:
        raise Conflict(f"Agent {order.agent_id} was given another order meanwhile.")
    if row["status"] == "error" or (status == "running" and row["status"] == "stopped"):
        reason = row["status_reason"] or "no reason was given"
        raise RuntimeFailed(f"Agent {order.agent_id} could not be brought to {status}: {reason}")
    return bool(row["status"] == status)
