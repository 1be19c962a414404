"""An agent for tests: it says what it is told, fails when told to, and takes its time when told to."""

import asyncio

from workstation_sdk import Agent, Context, TaskFailed

agent = Agent("echo", capabilities=["echo"])


@agent.task("say")
async def say(ctx: Context, text: str) -> dict[str, object]:
    """Return the text."""
    await ctx.progress(50, "thinking")
    return {"text": text}


@agent.task("break")
async def fail(ctx: Context, reason: str) -> None:
    """Fail for good."""
    raise TaskFailed(reason, retryable=False)


@agent.task("sleep")
async def sleep(ctx: Context, seconds: float) -> str:
    """Return after so many seconds."""
    await ctx.progress(10, "sleeping")
    await asyncio.sleep(seconds)
    return "awake"


if __name__ == "__main__":
    agent.run()
