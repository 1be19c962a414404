"""What this process knows of the registry: kept in step by changes, looked up by everything that runs often."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from workstation.dispatch.batcher import Batcher
from workstation.store import agents as agent_store
from workstation.store import tasks as task_store
from workstation.store.database import Database, Row


@dataclass(frozen=True, slots=True)
class AgentView:
    """One agent as the registry last showed it. task_types maps a type to its JSON Schema, or to None."""

    id: int
    name: str
    type: str
    status: str
    health_status: str
    desired_status: str
    capabilities: frozenset[str]
    max_concurrency: int | None
    task_types: dict[str, Any] | None
    region: str | None
    runtime: str
    generation: int

    @property
    def open(self) -> bool:
        """Whether it takes work at all: the same gate as agent_gate in the schema, which the claim asks again."""
        return self.desired_status == "running" and self.status == "running" and self.health_status != "unhealthy"


class Roster:
    """The agents by number and by name, and how many tasks wait for each. refresh() reads what changed."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._read_up_to = "0"
        self._refreshes = Batcher[None, None]("roster", self._refresh)
        self._agents: dict[int, AgentView] = {}
        self._names: dict[str, int] = {}
        self._pending: dict[int | str, int] = {}
        self._changed: list[Callable[[AgentView | None, int], None]] = []

    def on_change(self, told: Callable[[AgentView | None, int], None]) -> None:
        """Call told(agent or None when removed, its number) for every change that is read."""
        self._changed.append(told)

    def find(self, agent_id: int) -> AgentView | None:
        """An agent by number, as last read."""
        return self._agents.get(agent_id)

    def find_by_name(self, name: str) -> AgentView | None:
        """An agent by name, as last read."""
        number = self._names.get(name)
        return None if number is None else self._agents[number]

    def wanted(self) -> list[AgentView]:
        """The agents that are meant to run, in order of their number."""
        return [agent for _, agent in sorted(self._agents.items()) if agent.desired_status == "running"]

    def with_capability(self, capability: str) -> list[AgentView]:
        """Every agent that has a capability, as last read."""
        return [agent for agent in self._agents.values() if capability in agent.capabilities]

    def pending(self, key: int | str) -> int:
        """How many tasks wait for an agent (its number) or for any agent with a capability (its name)."""
        return self._pending.get(key, 0)

    async def refresh(self) -> None:
        """Read what changed since the last time; those who ask while a read is under way share the next one."""
        await self._refreshes.ask(None)

    async def _refresh(self, askers: list[None]) -> list[None]:
        async with self._database.session() as connection:
            rows, self._read_up_to = await agent_store.changed_since(connection, self._read_up_to)
        for row in rows:
            self._keep(row)
        return askers

    async def refresh_counts(self) -> None:
        """Read how many tasks are pending for each agent and capability."""
        async with self._database.session() as connection:
            rows = await task_store.get_counts(connection)
        self._pending = {
            (row["agent_id"] if row["agent_id"] is not None else row["capability"]): row["pending"] for row in rows
        }

    def _keep(self, row: Row) -> None:
        number = row["id"]
        before = self._agents.pop(number, None)
        if before is not None:
            self._names.pop(before.name, None)
        now = None if row["removed_at"] is not None else _view(row)
        if now is not None:
            self._agents[number] = now
            self._names[now.name] = number
        if now != before:
            for told in self._changed:
                told(now, number)


def _view(row: Row) -> AgentView:
    types = json.loads(row["task_types"]) if row["task_types"] is not None else None
    return AgentView(
        row["id"],
        row["name"],
        row["type"],
        row["status"],
        row["health_status"],
        row["desired_status"],
        frozenset(row["capabilities"] or ()),
        row["max_concurrency"],
        types,
        row["region"],
        row["runtime"],
        row["generation"],
    )
