"""The registry in the database. Every function is one named statement of sql/agents.sql."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from workstation.store.database import Connection, Row
from workstation.store.statements import load

_SQL = load("agents")


@dataclass(frozen=True, slots=True)
class AgentFields:
    """What a caller may set of an agent; None leaves it as it is (or empty, for a new one). JSON fields are text."""

    name: str | None = None
    type: str | None = None
    container_name: str | None = None
    capabilities: list[str] | None = None
    metadata: str | None = None
    spec: str | None = None
    region: str | None = None
    max_concurrency: int | None = None
    task_types: str | None = None


async def register(connection: Connection, fields: AgentFields) -> int | None:
    """Insert an agent; its number, or None when the name is taken."""
    row = await connection.fetchrow(
        _SQL["register"],
        fields.name,
        fields.type,
        fields.container_name,
        fields.capabilities,
        fields.metadata,
        fields.spec,
        fields.region,
        fields.max_concurrency,
        fields.task_types,
        False,
        None,
    )
    return None if row is None else int(row["id"])


async def seed(connection: Connection, name: str, type_: str, capabilities: list[str], spec: str, desired: str) -> bool:
    """Insert a built-in agent unless it is there; whether it was inserted. Call it in a transaction."""
    await connection.execute(_SQL["seed_lock"])
    return await connection.fetchval(_SQL["seed"], name, type_, capabilities, spec, desired) is not None


async def update(connection: Connection, agent_id: int, fields: AgentFields) -> bool:
    """Set what is not None; whether the agent exists. A taken name raises DataRefused."""
    found = await connection.fetchval(
        _SQL["update"],
        agent_id,
        fields.name,
        fields.type,
        fields.container_name,
        fields.capabilities,
        fields.metadata,
        fields.spec,
        fields.region,
        fields.max_concurrency,
        fields.task_types,
    )
    return found is not None


async def remove(connection: Connection, agent_id: int) -> bool:
    """Remove a stopped agent without open tasks; whether it was removed."""
    return await connection.fetchval(_SQL["remove"], agent_id) is not None


async def has_open_tasks(connection: Connection, agent_id: int) -> bool:
    """Whether an agent has tasks that are not final."""
    return bool(await connection.fetchval(_SQL["has_open_tasks"], agent_id))


async def get_agents(connection: Connection, ids: Sequence[int]) -> dict[int, Row]:
    """Whole registry rows by number; unknown and removed ones are absent."""
    return {row["id"]: row for row in await connection.fetch(_SQL["get_agents"], list(ids))}


async def find_gate(connection: Connection, agent_id: int) -> Row | None:
    """Its name, desired_status and runtime, or None when there is no such agent."""
    return await connection.fetchrow(_SQL["find_gate"], agent_id)


async def find_by_name(connection: Connection, name: str) -> int | None:
    """The number of the agent with this name, or None."""
    found = await connection.fetchval(_SQL["find_by_name"], name)
    return None if found is None else int(found)


@dataclass(frozen=True, slots=True)
class AgentFilter:
    """What a list of agents is narrowed to; None does not narrow."""

    status: str | None = None
    type: str | None = None
    capability: str | None = None
    region: str | None = None
    health: str | None = None


async def list_agents(connection: Connection, narrowed: AgentFilter) -> list[Row]:
    """Registry rows in order of their number."""
    return await connection.fetch(
        _SQL["list_agents"],
        narrowed.status,
        narrowed.type,
        narrowed.capability,
        narrowed.region,
        narrowed.health,
    )


async def changed_since(connection: Connection, floor: str) -> tuple[list[Row], str]:
    """The agents changed by transactions not older than floor, and the floor to ask from next time.

    The next floor is read first: a transaction that is still open then is asked for again.
    """
    next_floor = str(await connection.fetchval(_SQL["snapshot_floor"]))
    return await connection.fetch(_SQL["changed_since"], floor), next_floor


async def order_start(connection: Connection, agent_id: int) -> Row | None:
    """Ask for an agent to run: its row (status, runtime, generation, was: its status before), or None."""
    return await connection.fetchrow(_SQL["order_start"], agent_id)


async def order_restart(connection: Connection, agent_id: int) -> Row | None:
    """Ask for an agent to be stopped and started: its row as order_start has it, or None."""
    return await connection.fetchrow(_SQL["order_restart"], agent_id)


async def order_stop(connection: Connection, agent_id: int, force: bool) -> Row | None:
    """Ask for an agent to stop: its row as order_start has it, or None when there is none."""
    return await connection.fetchrow(_SQL["order_stop"], agent_id, force)


@dataclass(frozen=True, slots=True)
class Observation:
    """What the supervisor saw of an agent; written unless a newer order came meanwhile."""

    status: str
    reason: str
    next_start_at: datetime | None = None
    start_attempts: list[datetime] | None = None
    desired_status: str | None = None


async def observe(connection: Connection, agent_id: int, seen: Observation, generation: int) -> str | None:
    """Write an observation: the status before; None when nothing changed or the order it belongs to is an old one."""
    row = await connection.fetchrow(
        _SQL["observe"],
        agent_id,
        seen.status,
        seen.reason,
        seen.next_start_at,
        seen.start_attempts,
        seen.desired_status,
        generation,
    )
    return None if row is None else str(row["was"])


async def refresh_external(connection: Connection, agents: Sequence[int]) -> list[tuple[int, str, str]]:
    """Let agents that are started elsewhere be running while an instance lives: (agent, status, reason) of changes."""
    rows = await connection.fetch(_SQL["refresh_external"], sorted(agents))
    return [(row["id"], row["status"], row["status_reason"]) for row in rows]


async def declare(
    connection: Connection,
    agent_id: int,
    task_types: str | None,
    capabilities: Sequence[str],
    health_interval_ms: int | None,
) -> bool:
    """Keep what an agent says of itself; whether that was news."""
    found = await connection.fetchval(_SQL["declare"], agent_id, task_types, list(capabilities), health_interval_ms)
    return found is not None


async def say_hello(connection: Connection, agent_id: int, launch_id: UUID | None) -> bool:
    """A started agent that says hello is running from then on; whether that changed its status."""
    return await connection.fetchval(_SQL["say_hello"], agent_id, launch_id) is not None


@dataclass(frozen=True, slots=True)
class HealthReport:
    """One report of health: word is healthy, degraded or unhealthy; metadata is JSON text."""

    agent_id: int
    word: str
    metadata: str | None = None


async def report_health(connection: Connection, reports: Sequence[HealthReport]) -> set[int]:
    """Keep the last report of each agent; returns those that exist. Call it in a transaction."""
    latest = {report.agent_id: report for report in reports}
    known = {row["id"]: row for row in await connection.fetch(_SQL["list_health"], sorted(latest))}
    news = [
        latest[agent_id]
        for agent_id, row in known.items()
        if row["health_status"] != latest[agent_id].word
        or row["old"] is not False
        or latest[agent_id].metadata is not None
    ]
    if news:
        await connection.execute(
            _SQL["report_health"],
            [report.agent_id for report in news],
            [report.word for report in news],
            [report.metadata for report in news],
            [known[report.agent_id]["health_status"] for report in news],
        )
    return set(known)


async def expire_health(connection: Connection, limit: int) -> list[int]:
    """Let reports that are too old say nothing any more; returns the agents."""
    return [row["id"] for row in await connection.fetch(_SQL["expire_health"], limit)]


async def overview(connection: Connection) -> tuple[Row, dict[str, int]]:
    """The counts of the whole system, and the number of agents of each type."""
    row = await connection.fetchrow(_SQL["overview"])
    assert row is not None
    types = await connection.fetch(_SQL["count_by_type"])
    return row, {type_["type"]: type_["n"] for type_ in types}


async def tell(connection: Connection, type_: str, agent_id: int, actor: str | None, data: dict[str, Any]) -> None:
    """Write one event about an agent, in the transaction of the change it tells."""
    await connection.execute(_SQL["tell"], type_, f"agent/{agent_id}", actor, agent_id, json.dumps(data))
