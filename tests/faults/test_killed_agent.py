"""An agent is killed: others, or its successor, do what it held."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable

import psutil
from tests.support.agent_process import AgentProcess, Journal
from tests.support.history import check, read_history, until_final
from tests.support.live_server import LiveServer
from tests.support.load import Load, submit_until_acknowledged
from tests.support.measuring import Measured
from tests.support.waiting import until

Connect = Callable[..., Awaitable[tuple[int, list[AgentProcess]]]]
Start = Callable[..., Awaitable[int]]

PIDS = "select (handle ->> 'pid')::int from agent_launches where agent_id = $1 and status = 'running'"
LAST_LOST = """
select coalesce(extract(epoch from max(ended_at) - $2)::float8, 0)
from attempts where agent_id = $1 and outcome = 'lost'
"""


async def test_an_agent_of_the_server_is_started_again_and_its_tasks_are_claimable_soon(
    server: LiveServer, journal: Journal, started: Start, measured: Measured
) -> None:
    agent = await started()
    pid = await server.value(PIDS, agent)
    async with Load(server, [agent], seed=11).running() as record:
        await asyncio.sleep(2)
        killed_at = await server.value("select clock_timestamp()")
        psutil.Process(pid).kill()
        again = await until(lambda: _runs_anew(server, agent, pid), within=20, what="the restart")
        await asyncio.sleep(1)
    await until_final(server, record.acknowledged, within=30)
    history = await check(server, record.acknowledged, journal)
    assert history.count("lost") > 0, "the kill came when it held nothing"
    measured("agent killed: its tasks claimable", await server.value(LAST_LOST, agent, killed_at), 5)
    measured("agent killed: started again by the supervisor", again, 15)


async def _runs_anew(server: LiveServer, agent: int, old_pid: int) -> bool:
    pids = [row[0] for row in await server.rows(PIDS, agent)]
    return bool(pids) and pids != [old_pid]


async def test_of_two_instances_one_is_killed_and_the_other_takes_over(
    server: LiveServer, journal: Journal, connected: Connect, measured: Measured
) -> None:
    agent, (first, second) = await connected(2)
    async with Load(server, [agent], seed=12).running() as record:
        await asyncio.sleep(2)
        killed_at = await server.value("select clock_timestamp()")
        first.send(signal.SIGKILL)
        await asyncio.sleep(2)
    await until_final(server, record.acknowledged, within=30)
    history = await check(server, record.acknowledged, journal)
    assert history.count("lost") > 0, "the kill came when it held nothing"
    measured("one of two instances killed: its tasks claimable", await server.value(LAST_LOST, agent, killed_at), 5)
    assert second.running
    by_second = {line.task for line in journal.lines() if line.pid == second.pid and line.what == "reports"}
    lost = {task for task in history.tasks if "lost" in history.outcomes(task)}
    assert {task for task in lost if history.tasks[task]["status"] == "completed"} <= by_second


async def test_a_frozen_agent_loses_its_tasks_and_its_late_result_is_refused(
    server: LiveServer, journal: Journal, connected: Connect, measured: Measured
) -> None:
    agent, [frozen] = await connected()
    client = server.client()
    body = {"agentId": str(agent), "type": "lasting", "payload": {"seconds": 2}}
    task = await submit_until_acknowledged(client, body, f"frozen-{journal.path.name}")
    await until(lambda: _has_begun(journal, task), within=5)
    (old,) = await server.rows("select id from agent_instances where agent_id = $1 and status = 'live'", agent)
    frozen_at = await server.value("select clock_timestamp()")
    frozen.send(signal.SIGSTOP)
    other = AgentProcess(server, agent, await server.agent_token(agent), journal, f"other-{agent}")
    try:
        await until_final(server, [task], within=30)
        late = {"instance": str(old["id"]), "attempt": 1, "result": {"said": "too late"}}
        refused = await client.post(f"/api/agents/tasks/{task}/complete", json=late)
        assert (refused.status_code, refused.json()["code"]) == (409, "lease_lost"), refused.text
        frozen.send(signal.SIGCONT)
        await until(lambda: _is_back(server, agent), within=15, what="the return as a new instance")
        await asyncio.sleep(2.5)
    finally:
        other.end()
    history = await check(server, {task: "lasting"}, journal)
    assert history.outcomes(task) == ["lost", "completed"]
    assert [line.pid for line in journal.lines() if line.what == "reports" and line.attempt == 2] == [other.pid]
    assert frozen.running
    measured("agent frozen: its task claimable", await server.value(LAST_LOST, agent, frozen_at), 20)


async def _has_begun(journal: Journal, task: int) -> bool:
    return any(line.task == task for line in journal.lines())


async def _is_back(server: LiveServer, agent: int) -> bool:
    """Three instances in all: the frozen one, which is dead for good, the other, and the frozen one come anew."""
    rows = await server.rows("select status from agent_instances where agent_id = $1", agent)
    return sorted(row["status"] for row in rows) == ["dead", "live", "live"]


async def test_a_task_that_kills_its_agent_is_poison_after_three_losses_and_harms_no_other(
    server: LiveServer, journal: Journal, started: Start
) -> None:
    agent = await started()
    client = server.client()
    bodies = [{"agentId": str(agent), "type": "lasting", "payload": {"seconds": 0.5}} for _ in range(12)]
    bodies.insert(6, {"agentId": str(agent), "type": "deadly", "payload": {}})
    answer = await client.post("/api/agents/tasks/batch", json={"tasks": bodies})
    tasks = [int(task) for task in answer.json()["data"]["taskIds"]]
    await until_final(server, tasks, within=45)
    deadly = tasks.pop(6)
    task = (await client.get(f"/api/agents/tasks/{deadly}")).json()["data"]
    assert (task["status"], task["dead_letter"], task["error"]["type"]) == ("failed", True, "poison")
    assert (task["lost_count"], task["retry_count"]) == (3, 0)
    assert (await read_history(server, [deadly])).outcomes(deadly) == ["lost"] * 3
    await check(server, dict.fromkeys(tasks, "lasting"), journal)


async def test_a_handler_that_hangs_is_timed_out_told_to_stop_and_the_task_is_tried_again(
    server: LiveServer, journal: Journal, connected: Connect, measured: Measured
) -> None:
    agent, [process] = await connected()
    body = {"agentId": str(agent), "type": "hanging", "payload": {}, "timeout_ms": 1000, "max_retries": 1}
    task = await submit_until_acknowledged(server.client(), body, f"hanging-{journal.path.name}")
    await until_final(server, [task], within=20)
    history = await check(server, {task: "hanging"}, journal)
    assert history.outcomes(task) == ["timed_out", "completed"]
    assert (1, "is told to stop") in {(line.attempt, line.what) for line in journal.lines()}
    first = history.attempts[task][0]
    measured("timed out after its deadline", (first["ended_at"] - first["deadline_at"]).total_seconds(), 5)
    assert process.running


async def test_an_agent_that_ends_at_once_is_tried_five_times_and_then_stopped_with_its_reason(
    server: LiveServer,
) -> None:
    run = {"command": ["/bin/sh", "-c", "echo no luck today; exit 3"]}
    agent = await server.register(f"crashing-{server.pid}", run=run)
    client = server.client()
    began = await client.post(f"/api/agents/{agent}/start?wait=0")
    assert began.status_code == 202, began.text
    seen: list[str] = []

    async def has_stopped() -> bool:
        why = (await client.get(f"/api/agents/{agent}/why")).json()["data"]
        seen.append(why["status"])
        return bool(why["status"] == "stopped")

    await until(has_stopped, within=60, what="giving up")
    why = (await client.get(f"/api/agents/{agent}/why")).json()["data"]
    assert "error" in seen
    assert len(why["launches"]) == 5
    assert "given up after 5 starts" in why["status_reason"] and "exited with code 3" in why["status_reason"]
    assert why["desired_status"] == "stopped" and why["next_start_at"] is None
    logs = (await client.get(f"/api/agents/{agent}/logs")).text
    assert logs.count("no luck today") == 5
