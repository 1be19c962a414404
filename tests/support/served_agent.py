"""A built-in agent, served as it would be: connected to a server of the SDK's test kit."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from workstation.agents.browser_session import find_browser
from workstation_sdk import Agent
from workstation_sdk.protocol import Heartbeat
from workstation_sdk.testing import Connection, FakeServer


@dataclass(frozen=True)
class Ended:
    """How a task ended; one of both is None."""

    result: Any
    error: Any


class ServedAgent:
    """Runs tasks on a connected agent."""

    def __init__(self, server: FakeServer, connection: Connection) -> None:
        self.server = server
        self.connection = connection

    async def run(self, type: str, timeout: float = 30, **payload: object) -> Ended:
        """Submit one task and wait for its end."""
        return await self.end_of(await self.submit(type, timeout, **payload))

    async def submit(self, type: str, timeout: float = 30, **payload: object) -> str:
        """Submit one task; its id."""
        return await self.server.submit(self.connection, type, payload, timeout=timeout)

    async def end_of(self, task: str) -> Ended:
        """Wait for a task's end."""
        item = await self.server.outcome(task, within=45)
        result = getattr(item, "result", None)
        return Ended(None if result is None else json.loads(bytes(result)), getattr(item, "error", None))

    async def health(self) -> Heartbeat:
        """The next heartbeat."""
        count = sum(isinstance(frame, Heartbeat) for frame in self.connection.received)
        return (await self.connection.expect(Heartbeat, count=count + 1, within=10))[-1]


def has_browser() -> bool:
    """Whether there is an installed Chromium to test with."""
    try:
        return bool(find_browser(None, "/nonexistent"))
    except FileNotFoundError:
        return False


@asynccontextmanager
async def serving_agent(agent: Agent) -> AsyncIterator[ServedAgent]:
    """Serve `agent` until the end of the block."""
    async with FakeServer(agents={agent.name: "1"}, heartbeat_ms=300) as server:
        serve = asyncio.create_task(agent.serve(url=server.url, token=server.token, agent_id="1"))
        try:
            yield ServedAgent(server, await server.connection(within=20))
        finally:
            agent.drain()
            await asyncio.wait_for(serve, 30)
