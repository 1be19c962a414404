"""An agent on the SDK. RECORD names the file it appends to."""

from __future__ import annotations

import asyncio
import os
import signal
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.chaos.recorder import Recorder

from workstation_sdk import Agent, Context, TaskFailed
from workstation_sdk.protocol import Cancel, ServerFrame, Settled, Tasks
from workstation_sdk.worker import Worker

record = Recorder(Path(os.environ["RECORD"]), "agent")
agent = Agent(os.environ.get("WORKSTATION_AGENT_NAME", "sdk"))
_receive = Worker.receive
_instance_of: dict[tuple[str, int], str] = {}


def receive(worker: Worker, frame: ServerFrame) -> None:
    """Record what the server says, then act on it as the SDK does."""
    instance, pid = str(worker.instance), os.getpid()
    match frame:
        case Tasks():
            for claim in frame.items:
                _instance_of[claim.id, claim.attempt] = instance
                record("given", task=int(claim.id), attempt=claim.attempt, instance=instance, pid=pid)
        case Settled():
            for item in frame.items:
                told = {"task": int(item.task), "attempt": item.attempt, "kind": item.kind, "code": item.code}
                record("told", **told, status=item.status, instance=instance, pid=pid)
        case Cancel():
            for taken in frame.items:
                told = {"task": int(taken.task), "attempt": taken.attempt, "reason": taken.reason}
                record("told to stop", **told, instance=instance, pid=pid)
    _receive(worker, frame)


Worker.receive = receive  # type: ignore[method-assign] # the SDK has no place to watch frames from


def report(ctx: Context) -> dict[str, str]:
    """A result that no other attempt can have."""
    said = str(uuid.uuid4())
    instance = _instance_of[ctx.task_id, ctx.attempt]
    record("reports", task=int(ctx.task_id), attempt=ctx.attempt, instance=instance, pid=os.getpid(), said=said)
    return {"said": said}


async def work(ctx: Context) -> dict[str, str]:
    """Work for as long as the payload says; who takes long tells how far it is."""
    seconds = ctx.payload.get("seconds", 0.01)
    await asyncio.sleep(seconds / 2)
    if seconds >= 1:
        await ctx.progress(50, "half way", data=ctx.attempt)
    await asyncio.sleep(seconds / 2)
    return report(ctx)


def misbehaves(ctx: Context) -> bool:
    """Whether this attempt is one of those that go wrong."""
    return ctx.attempt <= int(ctx.payload.get("until", 1))


for _type in ("work", "twice", "late", "forge", "release", "silent"):
    # What an agent on the SDK cannot do wrong it does right.
    agent.task(_type)(work)


@agent.task("fail")
async def fail(ctx: Context) -> dict[str, str]:
    """Fail, to be tried again."""
    if misbehaves(ctx):
        raise TaskFailed("not this time", retry_after=timedelta(milliseconds=100))
    return await work(ctx)


@agent.task("hopeless")
async def hopeless(ctx: Context) -> Any:
    """Fail for good."""
    raise TaskFailed("this can never work", retryable=False)


@agent.task("hang")
async def hang(ctx: Context) -> dict[str, str]:
    """Hang until told to stop."""
    if misbehaves(ctx):
        await asyncio.sleep(3600)
    return await work(ctx)


@agent.task("stubborn")
async def stubborn(ctx: Context) -> dict[str, str]:
    """Do not stop when told to, and report all the same."""
    if misbehaves(ctx):
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            await asyncio.sleep(0.3)
    return await work(ctx)


@agent.task("kill")
async def kill(ctx: Context) -> dict[str, str]:
    """Take the agent down."""
    if misbehaves(ctx):
        record("kills itself", task=int(ctx.task_id), attempt=ctx.attempt, pid=os.getpid())
        os.kill(os.getpid(), signal.SIGKILL)
    return await work(ctx)


if __name__ == "__main__":
    agent.run()
