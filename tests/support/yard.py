"""Supervisors over a database and a machine that exists only in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from tests.support.spine import Spine, until

from workstation.domain.principal import Principal, Role
from workstation.domain.restarts import RestartPolicy
from workstation.engine.supervisor import Supervisor, Surroundings
from workstation.runtimes.driver import LaunchSpec, RuntimeFailure
from workstation.runtimes.fake import FakeDriver, FakeMachine, Program
from workstation.services import agents, instances, tokens
from workstation.services.instances import Hello
from workstation.services.signing import SigningKey
from workstation.services.tokens import TokenWish

ADMIN = Principal("root", Role.ADMIN)
KEY = SigningKey(b"a secret for tests, 32 bytes long")
QUICK = RestartPolicy(backoff_base=timedelta(milliseconds=30), backoff_cap=timedelta(milliseconds=60))
PROGRAMS = {
    "good": Program(),
    "stubborn": Program(ignores_term=True),
    "crash": Program(exit_code=1),
    "broken": Program(fails=RuntimeFailure("The disk is full: make room.", retryable=True)),
}


@dataclass
class Yard:
    """Supervisors on one machine and one database."""

    spine: Spine
    machine: FakeMachine
    node_id: UUID = field(default_factory=uuid4)
    supervisors: list[Supervisor] = field(default_factory=list)

    def supervisor(self, node_id: UUID | None = None, policy: RestartPolicy = QUICK) -> Supervisor:
        """One more supervisor, of this node unless another is given."""
        node = node_id or self.node_id
        here = Surroundings(node, "http://here", lambda _id, _name: Path("/dev/null"), self.issue)
        driver = FakeDriver(self.machine)
        made = Supervisor(self.spine.database, {"process": driver}, here, self.changed, policy)
        self.supervisors.append(made)
        return made

    async def node(self, entered_ago: timedelta = timedelta(minutes=1)) -> UUID:
        """A replica that lives."""
        node_id = uuid4()
        await self.spine.execute(
            "insert into nodes (id, version, started_at, lease_expires_at) "
            "values ($1, '1', now() - $2::interval, now() + interval '20 seconds')",
            node_id,
            entered_ago,
        )
        return node_id

    async def lapse(self, node_id: UUID, seconds: float) -> None:
        """The lease of a replica has been over for so long."""
        await self.spine.execute(
            "update nodes set lease_expires_at = now() - $2::float8 * interval '1 second' where id = $1",
            node_id,
            seconds,
        )

    async def issue(self, agent_id: int, launch_id: UUID) -> str:
        wish = TokenWish(Role.AGENT, None, agent_id, launch_id, timedelta(days=1))
        return (await tokens.issue(self.spine.database, KEY, wish, created_by="test")).token

    async def changed(self) -> None:
        """Nobody keeps a roster here."""

    async def agent(self, program: str = "good", *, wanted: bool = True) -> int:
        agent = await self.spine.agent(spec=f'{{"command": ["{program}"]}}', status="stopped", desired_status="stopped")
        if wanted:
            await agents.start(self.spine.database, agent, ADMIN)
        return agent

    async def row(self, agent: int) -> Any:
        (row,) = await self.spine.fetch("select * from agent_registry where id = $1", agent)
        return row

    async def status(self, agent: int) -> str:
        return str((await self.row(agent))["status"])

    async def hello(self, agent: int) -> UUID:
        """The copy of an agent says hello."""
        (spec,) = [spec for spec in self.machine.running() if spec.agent_id == agent]
        instance = uuid4()
        async with self.spine.database.session() as connection:
            await instances.hello(connection, Hello(instance, agent, 10, launch_id=spec.launch_id))
        return instance

    def copies(self, agent: int) -> list[LaunchSpec]:
        return [spec for spec in self.machine.running() if spec.agent_id == agent]

    async def launches(self, agent: int) -> list[Any]:
        return await self.spine.fetch("select * from agent_launches where agent_id = $1 order by started_at", agent)


async def idle(supervisor: Supervisor) -> None:
    """Wait until nothing is being done."""
    while supervisor._acting:
        await asyncio.gather(*supervisor._acting.values())


async def step(supervisor: Supervisor) -> None:
    """One look, carried out to its end."""
    await supervisor.supervise_once()
    await idle(supervisor)


async def steps_until(supervisor: Supervisor, condition: Any) -> None:
    async def reached() -> bool:
        await step(supervisor)
        return bool(await condition())

    await until(reached, within=15)


@asynccontextmanager
async def open_yard(spine: Spine) -> AsyncIterator[Yard]:
    """An empty machine; its supervisors are closed at the end."""
    yard = Yard(spine, FakeMachine(PROGRAMS))
    try:
        yield yard
    finally:
        for supervisor in yard.supervisors:
            await supervisor.close()


async def running(yard: Yard, supervisor: Supervisor, program: str = "good") -> int:
    """An agent that a supervisor has started and that has said hello."""
    agent = await yard.agent(program)
    await step(supervisor)
    await yard.hello(agent)
    await step(supervisor)
    assert await yard.status(agent) == "running"
    return agent
