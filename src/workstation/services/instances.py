"""The verbs of an agent's running copy: come, stay, drain, go, be found dead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

from workstation.domain.errors import Conflict, LeaseLost, NotFound
from workstation.domain.tasks import Claim
from workstation.services import agent_status, queue
from workstation.store import agents as agent_store
from workstation.store import instances as store
from workstation.store import launches as launch_store
from workstation.store.database import Connection

LEASE = timedelta(seconds=15)
HEARTBEAT = timedelta(seconds=5)
GRACE_AFTER_DISCONNECT = timedelta(seconds=3)


@dataclass(frozen=True, slots=True)
class Hello:
    """What an instance says when it comes. task_types is JSON text, or None when it declares none."""

    instance_id: UUID
    agent_id: int
    slots: int
    launch_id: UUID | None = None
    node_id: UUID | None = None
    region: str | None = None
    version: str | None = None
    task_types: str | None = None
    capabilities: Sequence[str] = field(default_factory=tuple)
    health_interval_ms: int | None = None


async def hello(connection: Connection, said: Hello) -> list[Claim]:
    """Let an instance in, or back in, in one transaction; returns what the database holds for it.

    Raises NotFound for an unknown agent, Conflict for one that was stopped, LeaseLost for an instance that is dead.
    """
    agent = await agent_store.find_gate(connection, said.agent_id)
    if agent is None:
        raise NotFound(f"There is no agent {said.agent_id}; register it first.")
    async with connection.transaction():
        is_new = await store.hello(
            connection,
            store.NewInstance(
                said.instance_id,
                said.agent_id,
                said.slots,
                said.launch_id,
                said.node_id,
                said.region,
                said.version,
            ),
            LEASE,
            takes_work=agent["desired_status"] == "running",
        )
        if is_new is None:
            raise LeaseLost("This instance is dead: its lease lapsed; come again as a new instance.")
        if is_new and agent["desired_status"] != "running":
            raise Conflict(f"Agent {agent['name']} is stopped; start it before it may work.")
        await agent_store.declare(
            connection, said.agent_id, said.task_types, said.capabilities, said.health_interval_ms
        )
        if agent["runtime"] == "external":
            await agent_status.refresh_external(connection, [said.agent_id])
        elif said.launch_id is not None:
            if await agent_store.say_hello(connection, said.agent_id, said.launch_id):
                await agent_status.tell(connection, said.agent_id, "running", "connected", f"agent:{said.agent_id}")
            await launch_store.mark_ready(connection, said.launch_id, said.agent_id)
    return [] if is_new else (await queue.held_by(connection, [said.instance_id]))[said.instance_id]


async def renew(connection: Connection, instances: Sequence[UUID]) -> dict[UUID, store.Renewed]:
    """Renew leases for another 15 s; returns those still alive."""
    return await store.renew(connection, instances, LEASE)


async def renew_own(connection: Connection, instance_id: UUID, agent_id: int) -> bool:
    """Renew the lease of one instance, if it is alive and belongs to this agent; whether it does."""
    return await store.renew_own(connection, instance_id, agent_id, LEASE)


async def disconnected(connection: Connection, instances: Sequence[UUID], node_id: UUID | None) -> None:
    """Their sockets closed: they have 3 s to come back, unless they have come to another replica already."""
    await store.shorten(connection, instances, GRACE_AFTER_DISCONNECT, node_id)


async def drain(connection: Connection, instances: Sequence[UUID]) -> None:
    """They take nothing more and will say goodbye."""
    await store.drain(connection, instances)


async def goodbye(connection: Connection, instances: Sequence[UUID], reason: str) -> None:
    """They have gone; what they still held is given to others by the reaper."""
    async with connection.transaction():
        agents = await store.finish(connection, instances, reason)
        await agent_status.refresh_external(connection, sorted(agents))


async def evict_stopped(connection: Connection) -> list[UUID]:
    """End instances whose agent was stopped and that did not go in time; returns them."""
    async with connection.transaction():
        evicted = await store.evict_stopped(connection)
        await agent_status.refresh_external(connection, sorted({agent for _, agent in evicted}))
    return [instance for instance, _ in evicted]


async def reap_lapsed(connection: Connection, limit: int) -> list[UUID]:
    """Mark instances dead for good whose lease is over; returns them."""
    async with connection.transaction():
        await store.clamp_leases(connection, LEASE)
        lapsed = await store.reap_lapsed(connection, limit)
        await agent_status.refresh_external(connection, sorted({agent for _, agent in lapsed}))
    return [instance for instance, _ in lapsed]
