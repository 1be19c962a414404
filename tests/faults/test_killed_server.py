"""The orchestrator is killed: what it acknowledged is kept, and its agents go on with the next one."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable

import psutil
from tests.support.agent_process import AgentProcess, Journal
from tests.support.history import check, until_final
from tests.support.live_server import LiveServer
from tests.support.load import Load, Record, submit_until_acknowledged
from tests.support.measuring import Measured
from tests.support.waiting import until

Connect = Callable[..., Awaitable[tuple[int, list[AgentProcess]]]]
Start = Callable[..., Awaitable[int]]

PIDS = "select (handle ->> 'pid')::int from agent_launches where agent_id = $1 and status = 'running'"
ENDED_SINCE = "select count(*) from attempts where outcome = 'completed' and ended_at > $1"


async def test_killed_under_load_it_goes_on_with_the_same_agents_and_loses_nothing(
    server: LiveServer, journal: Journal, started: Start, connected: Connect, measured: Measured
) -> None:
    own, (elsewhere, [process]) = await started(), await connected()
    agent_pid, postmaster = await server.value(PIDS, own), server.postmaster().pid
    load = Load(server, [own, elsewhere], seed=1)
    async with load.running() as record:
        for _ in range(2):
            await asyncio.sleep(2.5)
            server.kill()
            killed_at = await server.value("select clock_timestamp()")
            ready = await server.start()
            began = time.monotonic()
            await until(lambda since=killed_at: _has_ended(server, since), within=20, what="a completed task")
            measured("server killed: ready again", ready, 10)
            measured("server killed: tasks flow again, after its restart", ready + time.monotonic() - began, 10)
        await asyncio.sleep(1)
    await until_final(server, record.acknowledged, within=40)
    history = await check(server, record.acknowledged, journal)
    assert await server.value(PIDS, own) == agent_pid, "the process agent was not adopted"
    assert server.postmaster().pid == postmaster, "PostgreSQL was not adopted"
    assert process.running and history.count("lost") == 0, "agents that never went away lost tasks"
    assert len(record.acknowledged) > 100


async def _has_ended(server: LiveServer, since: object) -> bool:
    return bool(await server.value(ENDED_SINCE, since) > 0)


async def test_server_and_agents_killed_together_the_tasks_are_done_by_new_ones(
    server: LiveServer, journal: Journal, started: Start, measured: Measured
) -> None:
    agent = await started()
    agent_pid = await server.value(PIDS, agent)
    async with Load(server, [agent], seed=2).running() as record:
        await asyncio.sleep(2)
        server.kill()
        killed_at = await server.value("select clock_timestamp()")
        psutil.Process(agent_pid).kill()
        ready = await server.start()
        began = time.monotonic()
        await until(lambda: _has_ended(server, killed_at), within=30, what="a completed task")
        measured("server and agent killed: tasks flow again", ready + time.monotonic() - began, 20)
    await until_final(server, record.acknowledged, within=40)
    await check(server, record.acknowledged, journal)
    assert await server.value(PIDS, agent) != agent_pid


async def test_one_idempotency_key_sent_many_times_across_a_kill_is_one_task(
    server: LiveServer, journal: Journal, connected: Connect
) -> None:
    agent, _ = await connected()
    record, client = Record(), server.client(timeout=10)
    chance = random.Random(3)

    async def send(key: str) -> None:
        await asyncio.sleep(chance.random() * 0.6)
        body = {"agentId": str(agent), "type": "quick", "payload": {"key": key}}
        record.acknowledge(key, await submit_until_acknowledged(client, body, key, record), "quick")

    keys = [f"{journal.path.name}-{n}" for n in range(25)]
    sending = [asyncio.create_task(send(key)) for key in keys for _ in range(8)]
    await asyncio.sleep(0.3)
    server.kill()
    await server.start()
    await asyncio.gather(*sending)
    made = await server.value("select count(*) from agent_tasks where idempotency_key = any ($1)", keys)
    assert made == len(keys) == len(record.acknowledged)
    assert any(answer.status == 0 for answer in record.answers), "the kill came when nobody was waiting"
    await until_final(server, record.acknowledged, within=20)
    await check(server, record.acknowledged, journal)
