"""Agents on the wire: camelCase where the first clients know it, snake_case for what came later."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from workstation.api.schemas.common import JsonObject
from workstation.api.schemas.tasks import TypeName, Word, raw
from workstation.domain.principal import Principal
from workstation.services.agents import Statistics, Why
from workstation.store.database import Row

AgentStatus = Literal["stopped", "starting", "running", "stopping", "error"]
Health = Literal["unknown", "healthy", "degraded", "unhealthy"]
# A name of digits alone could be taken for an id.
Name: TypeAlias = Annotated[str, Meta(min_length=1, max_length=255, pattern="[^0-9]")]
ContainerName: TypeAlias = Annotated[str, Meta(min_length=1, max_length=255)]
Kind: TypeAlias = Annotated[str, Meta(min_length=1, max_length=100)]
Capabilities: TypeAlias = Annotated[list[Word], Meta(max_length=200)]
Concurrency: TypeAlias = Annotated[int, Meta(ge=1, le=10_000, description="Tasks at once for each instance")]

TaskTypes: TypeAlias = Annotated[
    dict[TypeName, dict[str, Any] | bool | None],
    Meta(max_length=1000, description="The task types it does, each with the JSON Schema of its payload or null"),
]


class ListAgentsQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which agents."""

    status: AgentStatus | None = None
    type: Kind | None = None
    capability: Word | None = None
    region: Word | None = None
    health: Health | None = None


class RegisterAgent(msgspec.Struct, frozen=True, kw_only=True):
    """A new agent. run says how to start it; without run and containerName it is started elsewhere."""

    name: Name
    type: Kind
    container_name: ContainerName | None = msgspec.field(name="containerName", default=None)
    capabilities: Capabilities | None = None
    metadata: JsonObject | None = None
    run: JsonObject | None = None
    region: Word | None = None
    max_concurrency: Concurrency | None = None
    task_types: TaskTypes | None = None


class UpdateAgent(msgspec.Struct, frozen=True, kw_only=True):
    """What shall be different; what is left out stays as it is."""

    name: Name | None = None
    type: Kind | None = None
    container_name: ContainerName | None = msgspec.field(name="containerName", default=None)
    capabilities: Capabilities | None = None
    metadata: JsonObject | None = None
    run: JsonObject | None = None
    region: Word | None = None
    max_concurrency: Concurrency | None = None
    task_types: TaskTypes | None = None


class WaitQuery(msgspec.Struct, frozen=True, kw_only=True):
    """How long to wait until it is so."""

    wait: Annotated[float, Meta(ge=0, le=120, description="Seconds to wait; 0: only give the order")] = 60.0


class StopAgent(msgspec.Struct, frozen=True, kw_only=True):
    """force: without draining first."""

    force: bool = False


class ReportHealth(msgspec.Struct, frozen=True, kw_only=True):
    """What an agent, or somebody who watches it, says of its health."""

    health_status: Literal["healthy", "degraded", "unhealthy"] = msgspec.field(name="healthStatus")
    metadata: JsonObject | None = None


class Agent(msgspec.Struct, frozen=True, kw_only=True):
    """An agent. run (how it is started) is shown to those who may see the whole fleet."""

    id: str
    name: str
    type: str
    containerName: str | None
    status: AgentStatus
    healthStatus: Health
    capabilities: list[str]
    lastHealthCheck: datetime | None
    desired_status: Literal["running", "stopped"]
    status_reason: str | None
    status_changed_at: datetime
    region: str | None
    max_concurrency: int | None
    task_types: JsonObject | None
    metadata: JsonObject | None
    health_metadata: JsonObject | None
    runtime: str
    run: JsonObject | UnsetType | None = UNSET
    built_in: bool
    version: int
    created_at: datetime | None
    updated_at: datetime


class AgentList(msgspec.Struct, frozen=True, kw_only=True):
    """Agents in order of their number."""

    agents: list[Agent]
    total: int


class AgentStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """Counts as decimal strings; active is every task that is not final."""

    total_tasks: str
    completed_tasks: str
    failed_tasks: str
    cancelled_tasks: str
    active_tasks: str
    avg_execution_time_ms: float | None


class OneAgent(msgspec.Struct, frozen=True, kw_only=True):
    """An agent."""

    agent: Agent


class AgentDetails(msgspec.Struct, frozen=True, kw_only=True):
    """An agent with its statistics, under both of the names they are known by."""

    agent: Agent
    stats: AgentStatistics
    statistics: AgentStatistics


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """The whole system. Agents of type mcp are counted as mcpContainers and in agentsByType, nowhere else."""

    totalAgents: int
    runningAgents: int
    stoppedAgents: int
    healthyAgents: int
    degradedAgents: int
    unhealthyAgents: int
    pendingTasks: int
    mcpContainers: int
    agentsByType: dict[str, int]


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """One start of an agent, and how it ended."""

    id: str
    driver: str
    status: str
    started_at: datetime
    ready_at: datetime | None
    ended_at: datetime | None
    exit_code: int | None
    reason: str | None


class AgentWhy(msgspec.Struct, frozen=True, kw_only=True):
    """Why an agent is in its state: the reason, the next try, and the last starts, newest first."""

    id: str
    status: AgentStatus
    desired_status: Literal["running", "stopped"]
    healthStatus: Health
    status_reason: str | None
    status_changed_at: datetime
    next_start_at: datetime | None
    unhealthy_since: datetime | None
    launches: list[Launch]


def agent(row: Row, principal: Principal) -> Agent:
    """A row as it is shown to this caller."""
    return Agent(
        id=str(row["id"]),
        name=row["name"],
        type=row["type"],
        containerName=row["container_name"],
        status=row["status"],
        healthStatus=row["health_status"],
        capabilities=list(row["capabilities"] or ()),
        lastHealthCheck=row["last_health_check"],
        desired_status=row["desired_status"],
        status_reason=row["status_reason"],
        status_changed_at=row["status_changed_at"],
        region=row["region"],
        max_concurrency=row["max_concurrency"],
        task_types=raw(row["task_types"]),
        metadata=raw(row["metadata"]),
        health_metadata=raw(row["health_metadata"]),
        runtime=row["runtime"],
        run=raw(row["spec"]) if principal.sees_everything else UNSET,
        built_in=row["built_in"],
        version=row["version"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


def statistics(found: Statistics) -> AgentStatistics:
    """Statistics as they are shown."""
    return AgentStatistics(
        total_tasks=str(found.total),
        completed_tasks=str(found.completed),
        failed_tasks=str(found.failed),
        cancelled_tasks=str(found.cancelled),
        active_tasks=str(found.active),
        avg_execution_time_ms=found.avg_execution_time_ms,
    )


def overview(row: Row, by_type: dict[str, int]) -> Overview:
    """The counts as they are shown."""
    return Overview(
        totalAgents=row["total"],
        runningAgents=row["running"],
        stoppedAgents=row["stopped"],
        healthyAgents=row["healthy"],
        degradedAgents=row["degraded"],
        unhealthyAgents=row["unhealthy"],
        pendingTasks=row["pending_tasks"],
        mcpContainers=row["mcp"],
        agentsByType=by_type,
    )


def why(found: Why) -> AgentWhy:
    """The last decisions as they are shown."""
    row = found.agent
    return AgentWhy(
        id=str(row["id"]),
        status=row["status"],
        desired_status=row["desired_status"],
        healthStatus=row["health_status"],
        status_reason=row["status_reason"],
        status_changed_at=row["status_changed_at"],
        next_start_at=row["next_start_at"],
        unhealthy_since=row["unhealthy_since"],
        launches=[
            Launch(
                id=str(launch["id"]),
                driver=launch["driver"],
                status=launch["status"],
                started_at=launch["started_at"],
                ready_at=launch["ready_at"],
                ended_at=launch["ended_at"],
                exit_code=launch["exit_code"],
                reason=launch["reason"],
            )
            for launch in found.launches
        ],
    )


def json_text(value: Raw | None) -> str | None:
    """JSON as the store takes it."""
    return None if value is None else bytes(value).decode()
