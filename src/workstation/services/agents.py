"""The verbs of the registry: register, update, remove, look, order to start and stop, report health, count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from workstation.domain.errors import Conflict, NotFound
from workstation.domain.principal import Principal
from workstation.services import agent_status
from workstation.store import agents as store
from workstation.store import launches as launch_store
from workstation.store import tasks as task_store
from workstation.store.agents import AgentFields, AgentFilter, HealthReport
from workstation.store.database import Connection, Database, DataRefused, Row


async def get_agent(database: Database, agent_id: int) -> Row:
    """One agent; raises NotFound."""
    async with database.session() as connection:
        return await _get(connection, agent_id)


async def _get(connection: Connection, agent_id: int) -> Row:
    row = (await store.get_agents(connection, [agent_id])).get(agent_id)
    if row is None:
        raise NotFound(f"There is no agent {agent_id}; list them with GET /api/agents.")
    return row


async def list_agents(database: Database, narrowed: AgentFilter) -> list[Row]:
    """Agents in order of their number."""
    async with database.session() as connection:
        return await store.list_agents(connection, narrowed)


async def register(database: Database, fields: AgentFields, principal: Principal) -> Row:
    """Enter a new agent; raises Conflict when its name is taken."""
    async with database.transaction("agent") as connection:
        agent_id = await store.register(connection, fields)
        if agent_id is None:
            raise Conflict(f"There is already an agent named {fields.name}; choose another name.")
        await store.tell(connection, "agent.registered", agent_id, principal.owner, {"name": fields.name})
        return await _get(connection, agent_id)


async def update(database: Database, agent_id: int, fields: AgentFields, principal: Principal) -> Row:
    """Change an agent; what runs keeps running as it was started. Raises NotFound, Conflict for a taken name."""
    try:
        async with database.transaction("agent") as connection:
            if not await store.update(connection, agent_id, fields):
                raise NotFound(f"There is no agent {agent_id}; list them with GET /api/agents.")
            await store.tell(connection, "agent.updated", agent_id, principal.owner, {})
            return await _get(connection, agent_id)
    except DataRefused as error:
        if error.constraint == "agent_names_are_unique":
            raise Conflict(f"There is already an agent named {fields.name}; choose another name.") from error
        raise


async def remove(database: Database, agent_id: int, principal: Principal) -> None:
    """Remove a stopped agent that has no open tasks; raises Conflict otherwise. Its history stays."""
    async with database.transaction("agent") as connection:
        row = await _get(connection, agent_id)
        if not await store.remove(connection, agent_id):
            if row["status"] != "stopped":
                raise Conflict(f"Agent {row['name']} is {row['status']}; stop it before you remove it.")
            raise Conflict(f"Agent {row['name']} has tasks that are not final; cancel them before you remove it.")
        await store.tell(connection, "agent.removed", agent_id, principal.owner, {"name": row["name"]})


@dataclass(frozen=True, slots=True)
class Order:
    """An order that was given: the agent's status now, how it is run, and the number of the order."""

    agent_id: int
    status: str
    runtime: str
    generation: int


async def start(database: Database, agent_id: int, principal: Principal) -> Order:
    """Want an agent to run; the supervisor brings it about. An order repeated is harmless."""
    async with database.transaction("order") as connection:
        row = await store.order_start(connection, agent_id)
        return await _ordered(connection, row, agent_id, "start", principal)


async def restart(database: Database, agent_id: int, principal: Principal) -> Order:
    """Want an agent to be stopped and started again; raises Conflict for one that is started elsewhere."""
    async with database.transaction("order") as connection:
        row = await store.order_restart(connection, agent_id)
        order = await _ordered(connection, row, agent_id, "restart", principal)
        if order.runtime == "external":
            raise Conflict(f"Agent {agent_id} is started elsewhere; restart its process there.")
        return order


async def stop(database: Database, agent_id: int, principal: Principal, *, force: bool = False) -> Order:
    """Want an agent to be stopped: drained first, or at once with force. An order repeated is harmless."""
    async with database.transaction("order") as connection:
        row = await store.order_stop(connection, agent_id, force)
        return await _ordered(connection, row, agent_id, "stop", principal)


async def _ordered(connection: Connection, row: Row | None, agent_id: int, verb: str, principal: Principal) -> Order:
    if row is None:
        raise NotFound(f"There is no agent {agent_id}; list them with GET /api/agents.")
    status = row["status"]
    await store.tell(connection, f"agent.{verb}_requested", agent_id, principal.owner, {})
    if status != row["was"]:
        await agent_status.tell(connection, agent_id, status, f"{verb} was asked for", principal.owner)
    if row["runtime"] == "external":
        status = (await agent_status.refresh_external(connection, [agent_id])).get(agent_id, status)
    return Order(agent_id, status, row["runtime"], row["generation"])


async def report_health(connection: Connection, reports: Sequence[HealthReport]) -> set[int]:
    """Keep what agents report of themselves; returns the agents that exist."""
    async with connection.transaction():
        return await store.report_health(connection, reports)


@dataclass(frozen=True, slots=True)
class Statistics:
    """How many tasks an agent was given and what became of them; active is every task that is not final."""

    total: int
    completed: int
    failed: int
    cancelled: int
    active: int
    avg_execution_time_ms: float | None


async def get_statistics(database: Database, agent_id: int) -> Statistics:
    """Exact at once: counts are written in the transaction of the change they count. Raises NotFound."""
    async with database.session() as connection:
        await _get(connection, agent_id)
        rows = await task_store.get_counts(connection, agent_id)
    if not rows:
        return Statistics(0, 0, 0, 0, 0, None)
    row = rows[0]
    active = row["waiting"] + row["pending"] + row["running"]
    total = active + row["completed"] + row["failed"] + row["cancelled"]
    average = row["execution_ms"] / row["completed"] if row["completed"] else None
    return Statistics(total, row["completed"], row["failed"], row["cancelled"], active, average)


async def get_overview(database: Database) -> tuple[Row, dict[str, int]]:
    """The counts of the whole system, and the number of agents of each type."""
    async with database.session() as connection:
        return await store.overview(connection)


@dataclass(frozen=True, slots=True)
class Why:
    """Why an agent is in its state: its row, and its last starts with how each ended."""

    agent: Row
    launches: list[Row]


async def why(database: Database, agent_id: int, limit: int = 10) -> Why:
    """The last decisions about an agent's state and its next try."""
    async with database.session() as connection:
        return Why(await _get(connection, agent_id), await launch_store.list_launches(connection, agent_id, limit))
