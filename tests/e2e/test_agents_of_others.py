"""Agents that we do not start: one of the SDK, one that speaks plain HTTP and nothing else."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from tests.support.live_server import LiveServer
from tests.support.waiting import until

from workstation_sdk import Agent, Context, TaskFailed

PLAIN_HTTP = Path(__file__).parents[2] / "examples" / "agents" / "plain_http.py"


async def test_an_agent_that_speaks_plain_http_works(server: LiveServer) -> None:
    agent = await server.register("plain-http")
    client = server.client()
    async with running(server, agent, str(PLAIN_HTTP), str(agent)):
        answer = await submit(client, agent, "reverse", {"text": "stressed", "seconds": 1})
        await until(lambda: has_progress(client, answer), within=10, what="progress")
        task = await final(client, answer)
        assert (task["status"], task["result"]) == ("completed", {"reversed": "desserts"}), task
        wrong = await final(client, await submit(client, agent, "reverse", {"text": 42}))
        assert (wrong["status"], wrong["result"]["error"]) == ("failed", "I only reverse a text.")
        assert (wrong["dead_letter"], wrong["retry_count"]) == (True, 0)
        shown = (await client.get(f"/api/agents/{agent}")).json()["data"]["agent"]
        assert shown["status"] == "running"


async def test_what_an_attempt_of_the_sdk_leaves_behind_reaches_the_next_attempt_and_the_books(
    server: LiveServer,
) -> None:
    number = await server.register("careful")
    agent = Agent("careful")

    @agent.task("count")
    async def count(ctx: Context) -> dict[str, Any]:
        if ctx.last_checkpoint is None:
            await ctx.checkpoint({"seen": 3})
            raise TaskFailed("interrupted", type="Interrupted")
        ctx.usage = {"tokens": 12}
        return {"went on from": ctx.last_checkpoint}

    serving = asyncio.create_task(
        agent.serve(url=server.url, token=await server.agent_token(number), agent_id=str(number))
    )
    client = server.client()
    try:
        task_id = await submit(client, number, "count", {})
        task = await final(client, task_id)
        assert (task["status"], task["result"]) == ("completed", {"went on from": {"seen": 3}}), task
        attempts = (await client.get(f"/api/agents/tasks/{task_id}/attempts")).json()["data"]["attempts"]
        assert [(attempt["outcome"], attempt["usage"]) for attempt in attempts] == [
            ("failed", None),
            ("completed", {"tokens": 12}),
        ]
    finally:
        agent.drain()
        await asyncio.wait_for(serving, 20)


@asynccontextmanager
async def running(server: LiveServer, agent: int, *program: str) -> AsyncIterator[None]:
    """A Python program with the address of the server and the token of an agent."""
    token = await server.agent_token(agent)
    own = {"WORKSTATION_URL": server.url, "WORKSTATION_TOKEN": token}
    with (server.folder / f"agent-{agent}.log").open("ab") as output:
        process = subprocess.Popen([sys.executable, *program], env={**os.environ, **own}, stdout=output, stderr=output)
    try:
        yield
        assert process.poll() is None, (server.folder / f"agent-{agent}.log").read_text()
    finally:
        process.kill()
        process.wait(timeout=10)


async def submit(client: httpx.AsyncClient, agent: int, type: str, payload: dict[str, Any]) -> str:
    """Create a task; its id."""
    answer = await client.post("/api/agents/tasks", json={"agentId": str(agent), "type": type, "payload": payload})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["taskId"])


async def final(client: httpx.AsyncClient, task: str) -> dict[str, Any]:
    """The task, once it is final."""
    answer = await client.get(f"/api/agents/tasks/{task}", params={"wait": 30})
    data: dict[str, Any] = answer.json()["data"]
    assert data["completed_at"] is not None, data
    return data


async def has_progress(client: httpx.AsyncClient, task: str) -> bool:
    data = (await client.get(f"/api/agents/tasks/{task}")).json()["data"]
    return bool(data["progress"] and data["progress"]["percent"] == 50)
