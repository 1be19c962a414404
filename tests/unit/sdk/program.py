"""An agent as a program, for tests that start and signal real processes."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator

from workstation_sdk import Agent, Context, SyncContext

agent = Agent("test-agent", capabilities=["test"])


@agent.lifespan
async def resources(served: Agent) -> AsyncIterator[None]:
    """Tell when resources open and close."""
    print("opened", flush=True)
    yield
    print("closed", flush=True)


@agent.task
async def echo(ctx: Context, value: int) -> int:
    """Return what was given."""
    return value


@agent.task
async def wait(ctx: Context, seconds: float) -> str:
    """Take a while."""
    await asyncio.sleep(seconds)
    return "waited"


@agent.task
def deaf(ctx: SyncContext, seconds: float) -> None:
    """Take a while and hear nothing."""
    time.sleep(seconds)


if __name__ == "__main__":
    agent.run()
    sys.exit("run() returned")
