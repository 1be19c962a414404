"""An SDK agent as a program, for faults: it writes down what it begins and what it reports, before it reports it.

JOURNAL names the file; a line is {"what", "task", "attempt", "pid", "said"}. Lines survive a kill of the process.
"""

import asyncio
import json
import os
import signal
import sys
import uuid
from datetime import timedelta
from pathlib import Path

from workstation_sdk import Agent, Context, TaskFailed

agent = Agent(os.environ.get("AGENT_NAME") or os.environ.get("WORKSTATION_AGENT_NAME", "journalling-agent"))
journal = Path(os.environ["JOURNAL"])


def write_down(ctx: Context, what: str, said: str | None = None) -> None:
    """One line, whole or not at all."""
    line = {"what": what, "task": ctx.task_id, "attempt": ctx.attempt, "pid": os.getpid(), "said": said}
    descriptor = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, (json.dumps(line) + "\n").encode())
    finally:
        os.close(descriptor)


def report(ctx: Context) -> dict[str, str]:
    """A result that no other attempt can have."""
    said = str(uuid.uuid4())
    write_down(ctx, "reports", said)
    return {"said": said}


@agent.task("quick")
async def quick(ctx: Context) -> dict[str, str]:
    """Ten milliseconds of work."""
    await asyncio.sleep(0.01)
    return report(ctx)


@agent.task("lasting")
async def lasting(ctx: Context, seconds: float = 1.0) -> dict[str, str]:
    """Work that takes a while."""
    write_down(ctx, "begins")
    await asyncio.sleep(seconds)
    return report(ctx)


@agent.task("telling")
async def telling(ctx: Context) -> dict[str, str]:
    """Tells how far it is, and goes on from where an earlier attempt stopped."""
    for step in range(ctx.last_checkpoint or 0, 5):
        await ctx.progress(step * 20, f"step {step}", data=step)
        await asyncio.sleep(0.05)
    return report(ctx)


@agent.task("failing-once")
async def failing_once(ctx: Context) -> dict[str, str]:
    """Fails until it has left a checkpoint behind."""
    if ctx.last_checkpoint is None:
        await ctx.checkpoint("was here")
        raise TaskFailed("the first try always fails", retry_after=timedelta(milliseconds=100))
    return report(ctx)


@agent.task("hopeless")
async def hopeless(ctx: Context) -> None:
    """Fails for good."""
    raise TaskFailed("this can never work", retryable=False)


@agent.task("hanging")
async def hanging(ctx: Context) -> dict[str, str]:
    """Hangs at the first attempt until it is told to stop."""
    if ctx.attempt > 1:
        return report(ctx)
    write_down(ctx, "begins")
    try:
        await asyncio.sleep(3600)
    except asyncio.CancelledError:
        write_down(ctx, "is told to stop")
        raise
    return report(ctx)


@agent.task("deadly")
async def deadly(ctx: Context) -> None:
    """Takes its agent with it."""
    write_down(ctx, "begins")
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    if not os.environ.get("WORKSTATION_URL"):
        sys.exit("WORKSTATION_URL is not set")
    agent.run()
