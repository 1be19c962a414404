"""Serving an agent to a fake server for the length of a test."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from workstation_sdk import Agent, Patience
from workstation_sdk.testing import FakeServer


@asynccontextmanager
async def served(
    agent: Agent, server: FakeServer, patience: Patience | None = None
) -> AsyncIterator[asyncio.Task[None]]:
    """Serve the agent, and stop it hard at the end."""
    serving = asyncio.create_task(agent.serve(url=server.url, token=server.token, agent_id="1", patience=patience))
    try:
        yield serving
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


async def until(reached, within: float = 5.0) -> None:  # type: ignore[no-untyped-def]
    """Wait until the condition holds; raises `TimeoutError` otherwise."""
    async with asyncio.timeout(within):
        while not reached():
            await asyncio.sleep(0.005)
