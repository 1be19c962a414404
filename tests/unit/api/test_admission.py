"""Whether a task may be queued at all."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from workstation.dispatch.admission import Admission
from workstation.dispatch.roster import AgentView
from workstation.domain.errors import PayloadInvalid, QueueFull, Refusal, UnknownType
from workstation.domain.tasks import NewTask

URL = {"type": "object", "required": ["url"], "properties": {"url": {"type": "string", "maxLength": 5}}}
AGENT = AgentView(
    id=1,
    name="scraper",
    type="web",
    status="running",
    health_status="healthy",
    desired_status="running",
    capabilities=frozenset({"web"}),
    max_concurrency=None,
    task_types=None,
    region=None,
    runtime="external",
    generation=0,
)


class Registry:
    """A roster as the test wants it; next is what a refresh finds."""

    def __init__(self, *agents: AgentView, pending: int = 0) -> None:
        self.agents = {agent.id: agent for agent in agents}
        self.next: dict[int, AgentView] | None = None
        self.waiting = pending
        self.refreshes = 0

    def find(self, agent_id: int) -> AgentView | None:
        """An agent by number."""
        return self.agents.get(agent_id)

    def with_capability(self, capability: str) -> list[AgentView]:
        """The agents with a capability."""
        return [agent for agent in self.agents.values() if capability in agent.capabilities]

    def pending(self, key: int | str) -> int:
        """How many wait."""
        return self.waiting

    async def refresh(self) -> None:
        """Read again."""
        self.refreshes += 1
        self.agents = self.next or self.agents


def declares(agent_id: int = 1, **types: Any) -> AgentView:
    """An agent that declares these types."""
    return replace(AGENT, id=agent_id, task_types=types)


async def verdict(registry: Registry, task: NewTask, payload: Any, at: str = "") -> type[Refusal] | None:
    """What the admission says."""
    try:
        await Admission(registry, max_pending=10).check(task, payload, at)  # type: ignore[arg-type]
    except Refusal as refusal:
        return type(refusal)
    return None


def task(type_: str = "scrape", **fields: Any) -> NewTask:
    """A task for agent 1, or for whom fields say."""
    return NewTask(type=type_, payload="{}", created_by="u", **({"agent_id": 1} | fields))


async def test_agents_that_declare_nothing_or_are_unknown_take_everything() -> None:
    assert await verdict(Registry(AGENT), task("anything"), {}) is None
    assert await verdict(Registry(), task("anything"), {}) is None


async def test_a_declared_type_takes_what_fits_its_schema() -> None:
    registry = Registry(declares(scrape=URL, ping=None, never=False))
    assert await verdict(registry, task("scrape"), {"url": "x"}) is None
    assert await verdict(registry, task("scrape"), {"url": 5}) is PayloadInvalid
    assert await verdict(registry, task("ping"), {"url": 5}) is None
    assert await verdict(registry, task("never"), {}) is PayloadInvalid
    assert await verdict(registry, task("dance"), {}) is UnknownType


async def test_what_does_not_fit_is_named_without_its_value() -> None:
    admission = Admission(Registry(declares(scrape=URL)))  # type: ignore[arg-type]
    with pytest.raises(PayloadInvalid) as refused:
        await admission.check(task(), {"url": "secret-value"}, "tasks[3].")
    (problem,) = refused.value.details
    assert problem.field == "tasks[3].payload.url" and "secret" not in problem.message


async def test_a_schema_that_is_none_or_leads_elsewhere_lets_everything_in() -> None:
    for schema in ({"type": "nosuch"}, {"$ref": "http://127.0.0.1:1/schema"}, {"$ref": "file:///etc/passwd"}):
        assert await verdict(Registry(declares(scrape=schema)), task(), {"a": 1}) is None


async def test_the_registry_is_read_again_before_a_refusal() -> None:
    registry = Registry(declares(old=None))
    registry.next = {1: declares(scrape=None)}
    assert await verdict(registry, task("scrape"), {}) is None and registry.refreshes == 1


async def test_a_capability_needs_one_agent_whose_schema_fits() -> None:
    strict, loose, other = declares(1, scrape=URL), declares(2, scrape=None), declares(3, dance=None)
    wanted = task(agent_id=None, capability="web")
    assert await verdict(Registry(strict, loose), wanted, {}) is None
    assert await verdict(Registry(strict, other), wanted, {}) is PayloadInvalid
    assert await verdict(Registry(other), wanted, {}) is None
    assert await verdict(Registry(), wanted, {}) is None


async def test_a_full_queue_refuses_with_when_to_try_again() -> None:
    assert await verdict(Registry(AGENT, pending=9), task(), {}) is None
    assert await verdict(Registry(AGENT, pending=10), task(), {}) is QueueFull
    assert await verdict(Registry(pending=10), task(agent_id=None, capability="web"), {}) is QueueFull
