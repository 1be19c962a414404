"""Starts of agents by runtime drivers. Every function is one named statement of sql/launches.sql."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from workstation.store.database import Connection, Row, affected
from workstation.store.statements import load

_SQL = load("launches")


async def open_launch(
    connection: Connection,
    launch_id: UUID,
    agent_id: int,
    replica: int,
    node_id: UUID,
    driver: str,
    starts_seen: Sequence[datetime],
) -> bool:
    """Enter a start; false when one is open already for this replica of the agent, or there was one meanwhile."""
    found = await connection.fetchval(_SQL["open_launch"], launch_id, agent_id, replica, node_id, driver, starts_seen)
    return found is not None


async def keep_handle(connection: Connection, launch_id: UUID, node_id: UUID, handle: str) -> bool:
    """Keep the driver's handle (JSON text), by which the copy is found again after our restart.

    False when the launch is over, or another replica's.
    """
    return await connection.fetchval(_SQL["keep_handle"], launch_id, handle, node_id) is not None


async def mark_ready(connection: Connection, launch_id: UUID, agent_id: int) -> None:
    """The start of this agent has succeeded: its instance said hello."""
    await connection.execute(_SQL["mark_ready"], launch_id, agent_id)


async def mark_stopping(connection: Connection, launch_id: UUID, reason: str) -> None:
    """The copy is being stopped."""
    await connection.execute(_SQL["mark_stopping"], launch_id, reason)


async def end_launch(connection: Connection, launch_id: UUID, exit_code: int | None, reason: str) -> bool:
    """The copy is gone; whether that was news."""
    return await connection.fetchval(_SQL["end_launch"], launch_id, exit_code, reason) is not None


async def adopt_launches(connection: Connection, node_id: UUID) -> list[UUID]:
    """Take over the starts of replicas that have been gone for 30 s."""
    return [row["id"] for row in await connection.fetch(_SQL["adopt_launches"], node_id)]


async def list_supervised(connection: Connection) -> Sequence[Row]:
    """Every agent that there is something to do about, with its open start."""
    return await connection.fetch(_SQL["list_supervised"])


async def list_launches(connection: Connection, agent_id: int, limit: int) -> list[Row]:
    """The last starts of an agent, newest first."""
    return await connection.fetch(_SQL["list_launches"], agent_id, limit)


async def prune(connection: Connection, limit: int, older_than: timedelta) -> int:
    """Delete starts that ended longer ago than this; returns how many."""
    return affected(await connection.execute(_SQL["prune"], limit, older_than))
