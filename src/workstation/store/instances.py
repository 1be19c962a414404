"""Running copies of agents and their leases. Every function is one named statement of sql/instances.sql."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple
from uuid import UUID

from workstation.store.database import Connection, Row, affected
from workstation.store.statements import load

_SQL = load("instances")


@dataclass(frozen=True, slots=True)
class NewInstance:
    """What an instance says of itself when it comes. launch_id links it to the start it came from."""

    id: UUID
    agent_id: int
    slots: int
    launch_id: UUID | None = None
    node_id: UUID | None = None
    region: str | None = None
    version: str | None = None


class Renewed(NamedTuple):
    """What the database says of an instance that is alive: the replica it came to last, whether it takes no more."""

    node_id: UUID | None
    draining: bool


async def hello(connection: Connection, new: NewInstance, lease: timedelta, *, takes_work: bool) -> bool | None:
    """Keep a new instance, or renew one that comes back: whether it is new; None when it is dead or another agent's.

    takes_work lets one that was draining take tasks again.
    """
    row = await connection.fetchrow(
        _SQL["hello"],
        new.id,
        new.agent_id,
        new.launch_id,
        new.node_id,
        new.slots,
        new.region,
        new.version,
        lease,
        takes_work,
    )
    return None if row is None else bool(row["is_new"])


async def renew(connection: Connection, instances: Sequence[UUID], lease: timedelta) -> dict[UUID, Renewed]:
    """Renew leases; returns the instances that are still alive."""
    rows = await connection.fetch(_SQL["renew"], sorted(instances), lease)
    return {row["id"]: Renewed(row["node_id"], row["draining"]) for row in rows}


async def renew_own(connection: Connection, instance_id: UUID, agent_id: int, lease: timedelta) -> bool:
    """Renew the lease of an instance of this agent; whether there is such a one, alive."""
    return await connection.fetchval(_SQL["renew_own"], instance_id, agent_id, lease) is not None


async def shorten(connection: Connection, instances: Sequence[UUID], lease: timedelta, node_id: UUID | None) -> None:
    """Leave instances that are still this replica's no more than this much of their lease."""
    await connection.execute(_SQL["shorten"], sorted(instances), lease, node_id)


async def drain(connection: Connection, instances: Sequence[UUID]) -> None:
    """Mark live instances as draining: they take nothing more."""
    await connection.fetch(_SQL["drain"], sorted(instances))


async def finish(connection: Connection, instances: Sequence[UUID], reason: str) -> set[int]:
    """End instances for good; returns the agents they belonged to."""
    rows = await connection.fetch(_SQL["finish"], sorted(instances), reason)
    return {row["agent_id"] for row in rows}


async def reap_lapsed(connection: Connection, limit: int) -> list[tuple[UUID, int]]:
    """Mark instances dead whose lease is over: (instance, agent)."""
    return [(row["id"], row["agent_id"]) for row in await connection.fetch(_SQL["reap_lapsed"], limit)]


async def evict_stopped(connection: Connection) -> list[tuple[UUID, int]]:
    """End the instances of stopped agents that had time to drain and did not go: (instance, agent)."""
    return [(row["id"], row["agent_id"]) for row in await connection.fetch(_SQL["evict_stopped"])]


async def clamp_leases(connection: Connection, lease: timedelta) -> None:
    """Cut leases that reach further ahead than a lease can."""
    await connection.execute(_SQL["clamp_leases"], lease)


async def count_alive(connection: Connection, agents: Sequence[int]) -> dict[int, int]:
    """How many instances of each agent are alive; agents without any are absent."""
    return {row["agent_id"]: row["n"] for row in await connection.fetch(_SQL["count_alive"], list(agents))}


async def list_alive(connection: Connection, agent_id: int) -> list[Row]:
    """The living instances of one agent, oldest first."""
    return await connection.fetch(_SQL["list_alive"], agent_id)


async def prune_instances(connection: Connection, limit: int, older_than: timedelta) -> int:
    """Delete instances that ended longer ago than this and hold nothing; returns how many."""
    return affected(await connection.execute(_SQL["prune_instances"], limit, older_than))


async def finish_launch(connection: Connection, launch_id: UUID, reason: str) -> None:
    """End the instances that came from a launch which is gone."""
    await connection.execute(_SQL["finish_launch"], launch_id, reason)
