"""Two replicas under load: one is killed, one freezes and wakes up. The other goes on, and nothing is done twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise

import psutil
import pytest
import pytest_asyncio
from tests.support.agent_process import Journal, run_spec
from tests.support.balancer import balanced
from tests.support.guardian import guarded_folder
from tests.support.history import check, until_final
from tests.support.measuring import Measured
from tests.support.postgres import TestServer
from tests.support.replicas import Replicas, running_replicas, submitting
from tests.support.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

FROZEN_SECONDS = 21
LAUNCHES = "select id, node_id, status, (handle ->> 'pid')::int as pid from agent_launches where agent_id = $1"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pair(postgres: TestServer) -> AsyncIterator[Replicas]:
    """Two of them; what they start is told of the other as well."""
    with guarded_folder() as folder:
        async with postgres.database() as dsn, running_replicas(folder, dsn) as replicas:
            yield replicas
            for server in replicas.servers:
                if server.running:
                    server.thaw()
                    server.kill()


@pytest_asyncio.fixture(loop_scope="module")
async def both(pair: Replicas) -> Replicas:
    """Both run."""
    for server in pair.servers:
        if not server.running:
            await server.start()
    return pair


async def started_by_the_first(pair: Replicas, journal: Journal) -> int:
    """An agent that the first one has started; the second looks on."""
    first = pair.servers[0]
    agent = await first.register(f"started-{journal.path.name}", run=run_spec(journal))
    # Whoever sees the order first starts it: the other one's supervisor is asked to leave it to the first.
    second = psutil.Process(pair.servers[1].pid)
    second.suspend()
    try:
        answer = await first.client().post(f"/api/agents/{agent}/start")
    finally:
        second.resume()
    assert answer.status_code == 200, answer.text
    return agent


async def test_one_is_killed_and_the_other_goes_on_at_once(both: Replicas, measured: Measured) -> None:
    first, second = both.servers
    journal = both.journal()
    agent, process = await both.connect(journal, at=0)
    own = await started_by_the_first(both, journal)
    (before,) = await second.rows(LAUNCHES, own)
    async with submitting(both, agent) as record:
        await asyncio.sleep(0.5)
        known = len(record.acknowledged)
        first.kill()
        accepted = await until(lambda: _more(record.acknowledged, known + 10), within=5, what="a task")
        moved = await until(lambda: both.is_at(agent, 1), within=5, what="the agent at the other")
        measured("one of two killed: tasks are taken by the other", accepted, 2)
        measured("one of two killed: its agent is at the other", accepted + moved, 5)
        moved = await until(lambda: both.is_at(own, 1), within=5, what="the agent it had started at the other")
        measured("one of two killed: the agent it had started is at the other", accepted + moved, 5)
        await asyncio.sleep(0.5)
    await until_final(second, record.acknowledged, within=15)
    history = await check(second, record.acknowledged, journal)
    assert history.count("lost") == 0 and process.running
    await _is_taken_over(both, own, before["pid"], measured)


async def _more(acknowledged: dict[int, str], than: int) -> bool:
    return len(acknowledged) > than


async def _is_taken_over(pair: Replicas, agent: int, pid: int, measured: Measured) -> None:
    """What the dead one had started goes to the other when its lease has been over for 30 s; here time is moved."""
    _, second = pair.servers
    assert len(await second.rows(LAUNCHES + " and status <> 'ended'", agent)) == 1
    await second.rows("update nodes set lease_expires_at = now() - interval '31 seconds' where url <> $1", second.url)
    node = await second.value("select id from nodes where url = $1", second.url)

    async def taken_over() -> bool:
        rows = await second.rows(LAUNCHES + " and status <> 'ended'", agent)
        return [row["node_id"] for row in rows] == [node]

    measured("its started agents belong to the other, once its lease is over", await until(taken_over, within=20), 12)
    # It is the same process still: alive, it is adopted and not started anew.
    (row,) = await second.rows(LAUNCHES + " and status <> 'ended'", agent)
    assert row["pid"] == pid and psutil.pid_exists(pid)
    answer = await second.client().post(f"/api/agents/{agent}/stop", json={"force": True})
    assert answer.status_code == 200
    await until(lambda: _has_ended(pid), within=2, what="the end of the adopted process")


async def _has_ended(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


async def test_one_freezes_wakes_up_and_does_no_harm(both: Replicas, measured: Measured) -> None:
    first, second = both.servers
    journal = both.journal()
    agent, process = await both.connect(journal, at=0)
    own = await started_by_the_first(both, journal)
    (before,) = await first.rows(LAUNCHES, own)
    client = first.client()
    bodies = [
        {"agentId": str(agent), "type": "lasting", "payload": {"seconds": s}, "timeout_ms": 60_000} for s in (4, 16, 24)
    ]
    answer = await client.post("/api/agents/tasks/batch", json={"tasks": bodies})
    lasting = dict.fromkeys(map(int, answer.json()["data"]["taskIds"]), "lasting")
    async with submitting(both, agent) as record:
        await asyncio.sleep(0.5)
        first.freeze()
        try:
            moved = await until(lambda: both.is_at(agent, 1), within=20, what="the agent at the other")
            measured("one of two frozen: its agent is at the other", moved, 13)
            known = len(record.acknowledged)
            await until(lambda: _more(record.acknowledged, known + 20), within=15, what="tasks")
            await asyncio.sleep(max(0.0, FROZEN_SECONDS - moved))
        finally:
            first.thaw()
        # Long enough for the one that woke up to have done whatever it still had in mind.
        await asyncio.sleep(4)
        assert (await client.get("/ready")).status_code == 200
        assert await both.is_at(agent, 1), "the one that woke up has ended the lease of an agent that had moved"
    everything = {**record.acknowledged, **lasting}
    await until_final(second, everything, within=25)
    history = await check(second, everything, journal)
    assert process.running and history.count("lost") == 0
    for task in lasting:
        assert history.tasks[task]["attempt"] == 1, "what was held has been given out again"
    launches = await first.rows(LAUNCHES, own)
    assert [(row["id"], row["pid"]) for row in launches] == [(before["id"], before["pid"])], "it was started twice"
    assert psutil.pid_exists(before["pid"])


async def test_a_rolling_restart_under_load_fails_nothing(both: Replicas, measured: Measured) -> None:
    """Neither for those who know all addresses, nor for those who know that of a load balancer alone."""
    journal = both.journal()
    async with balanced([server.url for server in both.servers]) as front:
        agent, process = await both.connect(journal, at=0)
        behind, process_behind = await both.connect(journal, through=front)
        async with submitting(both, agent) as record, submitting(both, behind, through=front) as record_behind:
            for server in both.servers:
                await asyncio.sleep(0.7)
                code, seconds = await server.terminate(within=30)
                assert code == 0
                measured("one of two told to stop: gone", seconds, 8)
                await server.start()
            await asyncio.sleep(0.7)
        last = both.servers[1]
        for made, running in ((record, process), (record_behind, process_behind)):
            await until_final(last, made.acknowledged, within=15)
            history = await check(last, made.acknowledged, journal)
            assert history.count("lost") == history.count("released") == 0 and running.running
            times = sorted(row["created_at"] for row in history.tasks.values())
            longest = max((after - before).total_seconds() for before, after in pairwise(times))
            measured("rolling restart: longest time without a new task", longest, 2)


async def test_an_agent_that_knows_no_other_replica_finishes_what_it_holds(both: Replicas, measured: Measured) -> None:
    first, second = both.servers
    first.kill()
    first.drain_for(6)
    await first.start()
    journal = both.journal()
    agent, process = await both.connect(journal, through=first.url)
    body = {"agentId": str(agent), "type": "lasting", "payload": {"seconds": 4}, "timeout_ms": 60_000}
    made = int((await second.client().post("/api/agents/tasks", json=body)).json()["taskId"])
    await until(lambda: _is_begun(journal, made), within=5)
    code, seconds = await first.terminate(within=30)
    assert code == 0 and process.running
    measured("told to stop, with an agent that has nowhere to go: gone", seconds, 13)
    history = await check(second, {made: "lasting"}, journal)
    assert history.tasks[made]["attempt"] == 1


async def _is_begun(journal: Journal, task: int) -> bool:
    return any(line.task == task for line in journal.lines())
