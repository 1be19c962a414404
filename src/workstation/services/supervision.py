"""The verbs of keeping agents alive: open a launch, keep its handle, say what was seen, end it."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from workstation.services import agent_status, tokens
from workstation.store import agents as agent_store
from workstation.store import instances as instance_store
from workstation.store import launches as store
from workstation.store.agents import Observation
from workstation.store.database import Connection, Database, Row

ACTOR = "supervisor"


async def list_supervised(database: Database, node_id: UUID) -> list[Row]:
    """Every agent that there is something to do about; starts of replicas long gone become ours first."""
    async with database.transaction("launch") as connection:
        await store.adopt_launches(connection, node_id)
        return list(await store.list_supervised(connection))


class _Outdated(Exception):
    """A newer order came between the look at an agent and its start."""


async def open_launch(database: Database, agent: Row, launch_id: UUID, node_id: UUID, starts: list[datetime]) -> bool:
    """Begin a start: false when another replica has begun one, or an order came meanwhile."""
    try:
        async with database.transaction("launch") as connection:
            seen_starts = agent["start_attempts"]
            if not await store.open_launch(
                connection, launch_id, agent["id"], 0, node_id, agent["runtime"], seen_starts
            ):
                return False
            seen = Observation("starting", "starting", None, starts)
            if not await _observe(connection, agent["id"], seen, agent["generation"]):
                raise _Outdated  # noqa: TRY301 - it rolls the transaction back
    except _Outdated:
        return False
    return True


async def keep_handle(database: Database, launch_id: UUID, node_id: UUID, handle: str) -> bool:
    """Keep the driver's handle (JSON text); false when the launch was ended or taken over meanwhile.

    Such a copy belongs to nobody: its tokens are taken back, and the caller stops it.
    """
    async with database.transaction("launch") as connection:
        if await store.keep_handle(connection, launch_id, node_id, handle):
            return True
        await tokens.revoke_for_launch(connection, launch_id, actor=ACTOR)
        return False


async def ready(database: Database, agent: Row) -> None:
    """Its instance said hello: the start has succeeded."""
    async with database.transaction("launch") as connection:
        await store.mark_ready(connection, agent["launch_id"], agent["id"])
        await _observe(connection, agent["id"], Observation("running", "connected"), agent["generation"])


async def stopping(database: Database, agent: Row, reason: str) -> None:
    """The copy is being stopped."""
    async with database.transaction("launch") as connection:
        await store.mark_stopping(connection, agent["launch_id"], reason)
        await _observe(connection, agent["id"], Observation("stopping", reason), agent["generation"])


async def end_launch(database: Database, launch_id: UUID, exit_code: int | None, reason: str) -> list[UUID]:
    """The copy is gone: its instance ends, so that its tasks go on at once; returns the tokens taken back."""
    async with database.transaction("launch") as connection:
        if not await store.end_launch(connection, launch_id, exit_code, reason):
            return []
        await instance_store.finish_launch(connection, launch_id, reason)
        return await tokens.revoke_for_launch(connection, launch_id, actor=ACTOR)


async def observe(database: Database, agent_id: int, seen: Observation, generation: int) -> None:
    """Say what was seen of an agent, unless a newer order came meanwhile."""
    async with database.transaction("launch") as connection:
        await _observe(connection, agent_id, seen, generation)


async def _observe(connection: Connection, agent_id: int, seen: Observation, generation: int) -> bool:
    """Whether anything was written: not when a newer order came, nor when nothing has changed."""
    was = await agent_store.observe(connection, agent_id, seen, generation)
    if was is not None and was != seen.status:
        await agent_status.tell(connection, agent_id, seen.status, seen.reason, ACTOR)
    return was is not None
