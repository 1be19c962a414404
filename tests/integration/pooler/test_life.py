"""DATABASE_URL leads to a pgbouncer in transaction mode with two backends: the whole life of tasks, on two replicas."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import asyncpg
import pytest
from tests.support.agent_process import AgentProcess, Journal
from tests.support.guardian import guarded_folder
from tests.support.live_server import LiveServer
from tests.support.pgbouncer import PgBouncer
from tests.support.waiting import until

SECRET = "a secret of both replicas, 32 bytes long"


class Pair:
    """Two replicas and an agent whose only instance is connected to the second."""

    def __init__(self, here: LiveServer, there: LiveServer, agent: int, journal: Journal, direct: str) -> None:
        self.here, self.there, self.agent, self.journal = here, there, agent, journal
        self._direct = direct

    async def submit(self, server: LiveServer, n: int, type: str = "quick") -> list[int]:
        """Submit tasks to the agent."""
        task = {"agentId": str(self.agent), "type": type, "payload": {}}
        answer = await server.client().post("/api/agents/tasks/batch", json={"tasks": [task] * n})
        assert answer.status_code == 201, answer.text
        return [int(number) for number in answer.json()["data"]["taskIds"]]

    async def states(self, ids: list[int]) -> set[str]:
        """The states of tasks."""
        connection = await asyncpg.connect(self._direct)
        rows = await connection.fetch("select distinct status from agent_tasks where id = any($1::bigint[])", ids)
        await connection.close()
        return {row[0] for row in rows}

    async def settings_of_backends(self) -> int:
        """How many sessions hold a lock for longer than their transaction."""
        connection = await asyncpg.connect(self._direct)
        n = await connection.fetchval("select count(*) from pg_locks where locktype = 'advisory'")
        await connection.close()
        return int(n)


@pytest.fixture
async def pair(pooled: str, direct: str) -> AsyncIterator[Pair]:
    """The pair, working."""
    async with AsyncExitStack() as stack:
        servers = []
        for _ in range(2):
            folder = stack.enter_context(guarded_folder())
            server = LiveServer(folder, {"DATABASE_URL": pooled, "JWT_SECRET": SECRET})
            await server.start()
            stack.push_async_callback(server.close)
            servers.append(server)
        here, there = servers
        journal = Journal(there.folder / "journal")
        agent = await here.register("far", max_concurrency=10)
        process = AgentProcess(there, agent, await here.agent_token(agent), journal, "far")
        stack.callback(process.end)

        async def connected() -> bool:
            answer = await here.client().get(f"/api/agents/{agent}")
            return bool(answer.json()["data"]["agent"]["status"] == "running")

        await until(connected, within=30)
        yield Pair(here, there, agent, journal, direct)


@pytest.mark.timeout(180)
async def test_hundreds_of_tasks_live_and_a_killed_pooler_loses_none(pair: Pair, pooler: PgBouncer) -> None:
    ids = [number for server in (pair.here, pair.there) for number in await pair.submit(server, 200)]

    async def done() -> bool:
        return await pair.states(ids) == {"completed"}

    await until(done, within=60, what="the end of 400 tasks")
    # Nothing tells the other replica of a task; it looks four times a second.
    spans = []
    for _ in range(4):
        began = time.monotonic()
        (number,) = await pair.submit(pair.here, 1)
        answer = await pair.here.client().get(f"/api/agents/tasks/{number}", params={"wait": 20})
        assert answer.json()["data"]["status"] == "completed", answer.text
        spans.append(time.monotonic() - began)
    assert min(spans) < 0.9, spans

    ids += await pair.submit(pair.here, 150)
    pooler.kill()
    await asyncio.sleep(1.5)
    refused = await pair.here.client().post(
        "/api/agents/tasks", json={"agentId": str(pair.agent), "type": "quick", "payload": {}}
    )
    assert refused.status_code == 503, refused.text
    pooler.start()
    began = time.monotonic()

    async def accepts() -> bool:
        try:
            ids.extend(await pair.submit(pair.there, 20))
        except AssertionError:
            return False
        return True

    await until(accepts, within=10)
    await until(done, within=40, what="the end of what was under way")
    accepted = [said for (task, _), said in pair.journal.reports().items() if task in ids]
    assert len(accepted) >= len(ids)
    assert pair.here.running and pair.there.running
    assert await pair.settings_of_backends() == 0
    # This database has it off, and who starts a server on it is told at once.
    assert "! fsync and full_page_writes: off in the database" in pair.here.output()
    log = pair.here.output() + pair.there.output()
    assert "prepared statement" not in log and "unsupported startup parameter" not in log
