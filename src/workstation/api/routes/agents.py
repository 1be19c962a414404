"""Agents: register, look, change, remove, order, health, statistics."""

from __future__ import annotations

from typing import Final

import msgspec

from workstation.api import ids
from workstation.api.call import Call, Reply
from workstation.api.routing import Route
from workstation.api.rules import LIST_AGENTS, OPERATE, READ_AGENT, READ_FLEET, REPORT_HEALTH
from workstation.api.schemas.agents import (
    AgentDetails,
    AgentList,
    AgentStatistics,
    AgentWhy,
    ListAgentsQuery,
    OneAgent,
    Overview,
    RegisterAgent,
    ReportHealth,
    UpdateAgent,
    agent,
    json_text,
    overview,
    statistics,
    why,
)
from workstation.api.schemas.common import Data, Done
from workstation.api.schemas.tasks import AgentTaskList, AgentTasksQuery, task
from workstation.domain.errors import NotFound
from workstation.domain.principal import Role
from workstation.services import agents, tasks
from workstation.store.agents import AgentFields, AgentFilter, HealthReport
from workstation.store.tasks import TaskFilter


async def list_agents(call: Call) -> Reply:
    """Every agent, MCP servers among them, in order of their number; an agent sees itself alone."""
    query: ListAgentsQuery = call.query
    narrowed = AgentFilter(query.status, query.type, query.capability, query.region, query.health)
    rows = await agents.list_agents(call.using.database, narrowed)
    if call.principal.role is Role.AGENT:
        rows = [row for row in rows if row["id"] == call.principal.agent_id]
    shown = AgentList(agents=[agent(row, call.principal) for row in rows], total=len(rows))
    return Reply(Data(data=shown))


async def register_agent(call: Call) -> Reply:
    """Enter a new agent."""
    row = await agents.register(call.using.database, _fields(call.body), call.principal)
    await call.using.dispatcher.roster.refresh()
    return Reply(Data(data=OneAgent(agent=agent(row, call.principal))), 201)


async def get_agent(call: Call) -> Reply:
    """An agent with its statistics."""
    agent_id = ids.number(call.params[0], "id")
    row = await agents.get_agent(call.using.database, agent_id)
    counts = statistics(await agents.get_statistics(call.using.database, agent_id))
    shown = AgentDetails(agent=agent(row, call.principal), stats=counts, statistics=counts)
    return Reply(Data(data=shown))


async def update_agent(call: Call) -> Reply:
    """Change an agent. What runs keeps running as it was started."""
    agent_id = ids.number(call.params[0], "id")
    row = await agents.update(call.using.database, agent_id, _fields(call.body), call.principal)
    await call.using.dispatcher.roster.refresh()
    return Reply(Data(data=OneAgent(agent=agent(row, call.principal))))


def _fields(body: RegisterAgent | UpdateAgent) -> AgentFields:
    return AgentFields(
        name=body.name,
        type=body.type,
        container_name=body.container_name,
        capabilities=None if body.capabilities is None else list(dict.fromkeys(body.capabilities)),
        metadata=json_text(body.metadata),
        spec=json_text(body.run),
        region=body.region,
        max_concurrency=body.max_concurrency,
        task_types=None if body.task_types is None else msgspec.json.encode(body.task_types).decode(),
    )


async def remove_agent(call: Call) -> Reply:
    """Remove a stopped agent that has no open tasks. Its history stays."""
    agent_id = ids.number(call.params[0], "id")
    await agents.remove(call.using.database, agent_id, call.principal)
    await call.using.dispatcher.roster.refresh()
    return Reply(Done(message=f"Agent {agent_id} removed successfully"))


async def report_health(call: Call) -> Reply:
    """Keep what is said of an agent's health."""
    agent_id = ids.number(call.params[0], "id")
    body: ReportHealth = call.body
    report = HealthReport(agent_id, body.health_status, json_text(body.metadata))
    async with call.using.database.session() as connection:
        known = await agents.report_health(connection, [report])
    if agent_id not in known:
        raise NotFound(f"There is no agent {agent_id}; list them with GET /api/agents.")
    return Reply(Done(message=f"Health of agent {agent_id} updated successfully"))


async def list_agent_tasks(call: Call) -> Reply:
    """The tasks of one agent that you may see, newest first."""
    query: AgentTasksQuery = call.query
    agent_id = ids.number(call.params[0], "id")
    before = None if query.cursor is None else ids.number(query.cursor, "cursor")
    narrowed = TaskFilter(before=before, agent_id=agent_id, status=query.status)
    total = await tasks.count_of_agent(call.using.database, agent_id, call.principal)
    page = await tasks.list_tasks(call.using.database, narrowed, query.limit, call.principal)
    shown = AgentTaskList(
        tasks=[task(row) for row in page.tasks],
        total=total,
        next=None if page.next is None else str(page.next),
    )
    return Reply(Data(data=shown))


async def get_statistics(call: Call) -> Reply:
    """How many tasks an agent was given and what became of them, exact at once."""
    agent_id = ids.number(call.params[0], "id")
    return Reply(Data(data=statistics(await agents.get_statistics(call.using.database, agent_id))))


async def get_overview(call: Call) -> Reply:
    """The whole system at a glance."""
    return Reply(Data(data=overview(*await agents.get_overview(call.using.database))))


async def explain_agent(call: Call) -> Reply:
    """The last decisions about an agent's state, and its next try."""
    agent_id = ids.number(call.params[0], "id")
    return Reply(Data(data=why(await agents.why(call.using.database, agent_id))))


ROUTES: Final = (
    Route(
        "GET",
        "/api/agents",
        list_agents,
        LIST_AGENTS,
        "List agents",
        "agents",
        {200: Data[AgentList]},
        query=ListAgentsQuery,
    ),
    Route(
        "POST",
        "/api/agents",
        register_agent,
        OPERATE,
        "Register an agent",
        "agents",
        {201: Data[OneAgent]},
        ("conflict",),
        body=RegisterAgent,
        audit="agent.register",
        body_example={"name": "my-custom-agent", "type": "custom", "capabilities": ["capability1"]},
    ),
    Route(
        "GET",
        "/api/agents/system/overview",
        get_overview,
        READ_FLEET,
        "Look at the whole system",
        "agents",
        {200: Data[Overview]},
    ),
    Route(
        "GET",
        "/api/agents/:id",
        get_agent,
        READ_AGENT,
        "Look at an agent",
        "agents",
        {200: Data[AgentDetails]},
        ("not_found",),
    ),
    Route(
        "PATCH",
        "/api/agents/:id",
        update_agent,
        OPERATE,
        "Change an agent",
        "agents",
        {200: Data[OneAgent]},
        ("not_found", "conflict"),
        body=UpdateAgent,
        audit="agent.update",
        body_example={"max_concurrency": 4},
    ),
    Route(
        "DELETE",
        "/api/agents/:id",
        remove_agent,
        OPERATE,
        "Remove an agent",
        "agents",
        {200: Done},
        ("not_found", "conflict"),
        audit="agent.remove",
    ),
    Route(
        "POST",
        "/api/agents/:id/health",
        report_health,
        REPORT_HEALTH,
        "Report an agent's health",
        "agents",
        {200: Done},
        ("not_found",),
        body=ReportHealth,
        limited=False,
        body_example={"healthStatus": "healthy", "metadata": {"cpu": "25%", "memory": "512MB", "uptime": 3600}},
    ),
    Route(
        "GET",
        "/api/agents/:id/tasks",
        list_agent_tasks,
        READ_AGENT,
        "List an agent's tasks",
        "agents",
        {200: Data[AgentTaskList]},
        ("not_found",),
        query=AgentTasksQuery,
    ),
    Route(
        "GET",
        "/api/agents/:id/statistics",
        get_statistics,
        READ_AGENT,
        "Count an agent's tasks",
        "agents",
        {200: Data[AgentStatistics]},
        ("not_found",),
    ),
    Route(
        "GET",
        "/api/agents/:id/why",
        explain_agent,
        READ_AGENT,
        "Why is an agent in its state?",
        "agents",
        {200: Data[AgentWhy]},
        ("not_found",),
    ),
)
