"""How an agent that was not told its number finds itself."""

import asyncio
from base64 import urlsafe_b64decode

import msgspec

from workstation_sdk.client.clients import AsyncClient
from workstation_sdk.clock import monotonic
from workstation_sdk.environment import Server
from workstation_sdk.errors import NotFound, Unavailable, Unreachable

PAUSE_SECONDS = 1.0


class _Claims(msgspec.Struct):
    role: str = ""
    agent: str | None = None


def agent_of(token: str) -> str | None:
    """Return the number of the agent that a token of role agent is for, or None for any other token.

    Nothing is verified here: the server does that.
    """
    try:
        middle = token.split(".")[1]
        claims = msgspec.json.decode(urlsafe_b64decode(middle + "=" * (-len(middle) % 4)), type=_Claims)
    except (IndexError, ValueError, msgspec.MsgspecError):
        return None
    return claims.agent if claims.role == "agent" else None


async def find_agent(name: str, server: Server, *, offline: float) -> str:
    """Return the number of the agent that the token is for, else of the agent of that name.

    Raises `NotFound` where none has it, `Unreachable` after `offline` seconds without a server.
    """
    if (number := agent_of(server.token)) is not None:
        return number
    ends = monotonic() + offline
    async with AsyncClient(server.urls, server.token) as client:
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
