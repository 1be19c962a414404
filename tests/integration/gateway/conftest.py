"""The agents' door over dispatch on a real database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.support.floor import House, open_house
from tests.support.spine import Spine, new
from tests.support.wire import Wire, wire

from workstation.api.gateway.door import AgentDoor
from workstation.dispatch.session import Session
from workstation.domain.errors import Unauthenticated
from workstation.domain.principal import Principal, Role


@dataclass
class Gate:
    """A door, what is behind it, and connections that end with the test. Tokens are agent:<id> or admin."""

    spine: Spine
    house: House
    door: AgentDoor
    stack: AsyncExitStack
    numbers: list[int] = field(default_factory=list)

    async def knock(self, agent: int | str, token: str | None = "same") -> Wire:
        """Open a connection for an agent."""
        given = f"agent:{agent}" if token == "same" else token
        return await self.stack.enter_async_context(wire(self.door, f"/api/agents/{agent}/connect", given))

    async def connect(self, agent: int, **hello: Any) -> Wire:
        """Open a connection and say hello; every lane has been looked at."""
        opened = await self.knock(agent)
        await opened.hello(**hello)
        await self.house.looked(f"a{agent}")
        return opened

    async def submit(self, agent: int, n: int = 1, **fields: Any) -> list[int]:
        """Create tasks for an agent."""
        created = await self.house.dispatcher.submitter.submit([new(agent, **fields) for _ in range(n)])
        return [each.task_id for each in created]

    def session(self, wire: Wire) -> Session:
        """The session of a connected instance."""
        session = self.house.dispatcher.floor.find(wire.instance)
        assert session is not None
        return session

    async def credit(self, wire: Wire) -> int:
        """The credit of a connected instance, when no claim round has it in its hands."""
        await self.house.quiet()
        return self.session(wire).credit


async def _authenticate(header: bytes | None) -> Principal:
    token = (header or b"").decode().removeprefix("Bearer ")
    if token == "admin":
        return Principal("root", Role.ADMIN, None, "admin")
    if token.startswith("agent:"):
        return Principal(token, Role.AGENT, int(token[6:]), token)
    if token == "user":
        return Principal("alice", Role.USER, None, "user")
    raise Unauthenticated("There is no token here.")


@pytest.fixture
async def gate(spine: Spine) -> AsyncIterator[Gate]:
    """The door, open."""
    async with open_house(spine) as house, AsyncExitStack() as stack:
        door = AgentDoor(house.dispatcher, 10)
        door.authenticated_by(_authenticate)
        yield Gate(spine, house, door, stack)
