"""The agent of the soak on the public SDK: quick work, work that fails at first, work that takes a while."""

from __future__ import annotations

import asyncio

from benchmarks.peers.program import report
from workstation_sdk import Agent, Context

agent = Agent("soak", concurrency=50)


@agent.task("quick")
async def quick(ctx: Context, n: int, pad: str) -> dict[str, int]:
    """Done at once."""
    return {"n": n}


@agent.task("flaky")
async def flaky(ctx: Context, n: int, pad: str) -> dict[str, int]:
    """Fails at the first try."""
    if ctx.attempt == 1:
        raise ValueError(f"task {n} fails once")
    return {"n": n}


@agent.task("slow")
async def slow(ctx: Context, n: int, pad: str) -> dict[str, int]:
    """Takes half a second and tells how far it is."""
    for percent in (20, 60):
        await ctx.progress(percent, "working", data={"n": n})
        await asyncio.sleep(0.25)
    return {"n": n}


if __name__ == "__main__":
    report("starting")
    agent.run()
