"""SIGTERM under load: drained, handed back unharmed, gone in time, and quickly there again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from tests.support.agent_process import AgentProcess, Journal
from tests.support.guardian import inhabitants
from tests.support.history import check, until_final
from tests.support.live_server import LiveServer
from tests.support.load import Load
from tests.support.measuring import Measured

Connect = Callable[..., Awaitable[tuple[int, list[AgentProcess]]]]
Start = Callable[..., Awaitable[int]]


async def test_it_hands_back_what_runs_ends_with_0_and_the_next_goes_on(
    server: LiveServer, journal: Journal, started: Start, connected: Connect, measured: Measured
) -> None:
    own, (elsewhere, [process]) = await started(), await connected()
    client = server.client()
    long = {"type": "lasting", "payload": {"seconds": 12}, "timeout_ms": 60_000}
    bodies = [{"agentId": str(agent), **long} for agent in (own, elsewhere)]
    answer = await client.post("/api/agents/tasks/batch", json={"tasks": bodies})
    lasting = dict.fromkeys(map(int, answer.json()["data"]["taskIds"]), "lasting")
    async with Load(server, [own, elsewhere], seed=31).running() as record:
        await asyncio.sleep(2)
        code, seconds = await server.terminate(within=60)
        assert code == 0, server.output()[-3000:]
        left = [(p.pid, p.cmdline()) for p in inhabitants(server.folder) if p.pid != process.pid]
        assert not left, "processes of the server are left behind"
        ready = await server.start()
        await asyncio.sleep(1)
    everything = {**record.acknowledged, **lasting}
    await until_final(server, everything, within=50)
    history = await check(server, everything, journal)
    measured("SIGTERM under load: gone", seconds, 25)
    measured("started again: ready", ready, 10)
    assert process.running
    assert history.count("lost") == 0
    assert all("released" in history.outcomes(task) for task in lasting), (
        "what could not be finished was not handed back"
    )
    for task in everything:
        failed = history.outcomes(task).count("failed") - (history.tasks[task]["status"] == "failed")
        assert history.tasks[task]["retry_count"] == failed, "a retry was charged for the shutdown"
