"""How an agent that was not told its number finds itself."""

import asyncio

from workstation_sdk.client.clients import AsyncClient
from workstation_sdk.clock import monotonic
from workstation_sdk.environment import Server
from workstation_sdk.errors import NotFound, Unavailable, Unreachable

PAUSE_SECONDS = 1.0


async def find_agent(name: str, server: Server, *, offline: float) -> str:
    """Return the number of the agent of that name.

    Raises `NotFound` where none has it, `Unreachable` after `offline` seconds without a server.
    """
    ends = monotonic() + offline
    async with AsyncClient(server.url, server.token) as client:
        while True:
            try:
                known = await client.agents.list()
            except (Unreachable, Unavailable):
                if monotonic() >= ends:
                    raise
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            for agent in known:
                if agent.name == name:
                    return agent.id
            raise NotFound(f"no agent is named {name!r}: register it, or set WORKSTATION_AGENT_ID")
