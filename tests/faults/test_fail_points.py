"""The orchestrator ends right before and right after a commit: what was not committed never was, what was stays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from tests.support.agent_process import AgentProcess, Journal
from tests.support.history import check, until_final
from tests.support.live_server import LiveServer
from tests.support.waiting import until

Connect = Callable[..., Awaitable[tuple[int, list[AgentProcess]]]]

VARIABLE = "WORKSTATION_FAIL_POINTS"
BY_KEY = "select count(*) from agent_tasks where idempotency_key = $1"


@asynccontextmanager
async def failing(server: LiveServer, points: str) -> AsyncIterator[None]:
    """Have the server started anew with fail points; afterwards it has killed itself, and a sound one runs."""
    server.kill()
    server.set_environment(VARIABLE, points)
    try:
        await server.start()
        yield
        await until(lambda: _is_gone(server), within=20, what="the end at the fail point")
    finally:
        server.set_environment(VARIABLE, None)
        if server.running:
            server.kill()
        await server.start()


async def _is_gone(server: LiveServer) -> bool:
    return not server.running


async def submit(server: LiveServer, agent: int, key: str, **fields: Any) -> httpx.Response:
    """One request of a client."""
    body = {"agentId": str(agent), "type": "quick", "payload": {}, **fields}
    return await server.client(timeout=10).post("/api/agents/tasks", json=body, headers={"Idempotency-Key": key})


async def test_killed_after_the_commit_of_a_submit_the_repeated_request_finds_its_task(
    server: LiveServer, journal: Journal, connected: Connect
) -> None:
    agent, _ = await connected()
    key = str(uuid4())
    async with failing(server, "submit.after_commit=kill"):
        with pytest.raises(httpx.TransportError):
            await submit(server, agent, key)
    assert await server.value(BY_KEY, key) == 1
    answer = await submit(server, agent, key)
    assert answer.status_code == 200 and await server.value(BY_KEY, key) == 1
    task = int(answer.json()["taskId"])
    await until_final(server, [task], within=40)
    await check(server, {task: "quick"}, journal)


async def test_killed_before_the_commit_of_a_submit_there_is_no_task(server: LiveServer, connected: Connect) -> None:
    agent, _ = await connected()
    key = str(uuid4())
    async with failing(server, "submit.before_commit=kill"):
        with pytest.raises(httpx.TransportError):
            await submit(server, agent, key)
    assert await server.value(BY_KEY, key) == 0
    answer = await submit(server, agent, key)
    assert answer.status_code == 201 and await server.value(BY_KEY, key) == 1


@pytest.mark.parametrize("point", ["claim.before_commit", "claim.after_commit", "complete.before_commit"])
async def test_killed_at_work_the_task_is_done_and_accepted_once(
    server: LiveServer, journal: Journal, connected: Connect, point: str
) -> None:
    agent, _ = await connected()
    async with failing(server, f"{point}=kill"):
        answer = await submit(server, agent, str(uuid4()), run_at=_soon())
        assert answer.status_code == 201
    task = int(answer.json()["taskId"])
    await until_final(server, [task], within=40)
    await check(server, {task: "quick"}, journal)


async def test_killed_after_the_commit_of_a_result_the_agent_repeats_it_and_nothing_is_done_twice(
    server: LiveServer, journal: Journal, connected: Connect
) -> None:
    agent, _ = await connected()
    async with failing(server, "complete.after_commit=kill"):
        task = int((await submit(server, agent, str(uuid4()), run_at=_soon())).json()["taskId"])
    assert await server.value("select status from agent_tasks where id = $1", task) == "completed"
    await asyncio.sleep(2)
    history = await check(server, {task: "quick"}, journal)
    assert history.outcomes(task) == ["completed"] and len(journal.reports()) == 1


def _soon() -> str:
    """A task for later is claimed; one for now may be handed over in its submit."""
    return (datetime.now(UTC) + timedelta(seconds=1.5)).isoformat()
