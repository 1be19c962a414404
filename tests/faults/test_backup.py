"""A backup taken under load is restored into an empty folder: nothing acknowledged before it is lost."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import psutil
import pytest
from tests.support.agent_process import AgentProcess, Journal
from tests.support.guardian import guarded_folder
from tests.support.history import check, until_final
from tests.support.live_server import LiveServer
from tests.support.load import Load
from tests.support.waiting import until

Connect = Callable[..., Awaitable[tuple[int, list[AgentProcess]]]]
Start = Callable[..., Awaitable[int]]

PIDS = "select (handle ->> 'pid')::int from agent_launches where agent_id = $1 and status = 'running'"
MISCOUNTED = """
    select c.* from (
        select agent_id, capability, sum(pending) as pending, sum(running) as running from task_counts group by 1, 2
    ) c left join (
        select agent_id, case when agent_id is null then capability end as capability,
               count(*) filter (where status = 'pending') as pending,
               count(*) filter (where status = 'running') as running
        from agent_tasks group by 1, 2
    ) t on t.agent_id is not distinct from c.agent_id and t.capability is not distinct from c.capability
    where (c.pending, c.running) <> (coalesce(t.pending, 0), coalesce(t.running, 0))
"""


@pytest.fixture
def empty() -> Iterator[Path]:
    """A folder for another server."""
    with guarded_folder() as folder:
        yield folder


@pytest.fixture
async def other(empty: Path) -> AsyncIterator[LiveServer]:
    """A server that was not started yet, whose data folder does not exist."""
    made = LiveServer(empty)
    yield made
    await made.close()


async def test_a_backup_under_load_has_everything_acknowledged_and_leaves_the_original_alone(
    server: LiveServer, other: LiveServer, journal: Journal, started: Start, connected: Connect
) -> None:
    own, (elsewhere, _) = await started(), await connected()
    agent_pid, token = await until_running(server, own), await server.agent_token(elsewhere)
    file = other.folder / "backup"
    async with Load(server, [own, elsewhere], seed=41).running() as record:
        await asyncio.sleep(2)
        before = dict(record.acknowledged)
        code, said = await server.run("backup", str(file))
        assert code == 0, said
    assert stat.S_IMODE(file.stat().st_mode) == 0o600 and len(before) > 30
    assert [path.name for path in file.parent.iterdir()] == ["backup"]
    code, said = await other.run("restore", str(file))
    assert code == 0, said
    assert await server.value(PIDS, own) == agent_pid, "the original lost its agent"
    await other.start()
    with_token = AgentProcess(other, elsewhere, token, journal, "agent-of-the-copy")
    try:
        await until_final(other, before, within=60)
        history = await check(other, before, journal)
    finally:
        with_token.end()
    assert sum(task["lost_count"] for task in history.tasks.values()) == 0, "the restore was charged to tasks"
    assert await until_running(other, own) != agent_pid
    assert psutil.Process(agent_pid).is_running() and await server.value(PIDS, own) == agent_pid
    highest = await other.value("select max(id) from agent_tasks")
    answer = await other.client().post("/api/agents/tasks", json={"agentId": str(own), "type": "quick", "payload": {}})
    assert answer.status_code == 201 and int(answer.json()["taskId"]) > highest
    await until_final(other, [int(answer.json()["taskId"])], within=20)
    assert await other.rows(MISCOUNTED) == []
    await other.terminate(within=30)


async def until_running(server: LiveServer, agent: int) -> int:
    """Wait until the agent's process runs; its number."""

    async def runs() -> bool:
        return bool(await server.rows(PIDS, agent))

    await until(runs, within=30, what="a running agent")
    return int(await server.value(PIDS, agent))


async def test_a_backup_is_taken_of_a_stopped_server_and_nothing_is_overwritten(other: LiveServer, empty: Path) -> None:
    await other.start()
    agent = await other.register("kept")
    token = other.token
    code, said = await other.run("restore", __file__)
    assert code == 1 and "no backup of workstation" in said
    await other.terminate(within=30)
    file = empty / "backup"
    code, said = await other.run("backup", str(file))
    assert code == 0, said
    code, said = await other.run("backup", str(file))
    assert code == 1 and "exists: choose another name" in said
    code, said = await other.run("restore", str(file))
    assert code == 1 and "is not empty: restore into a new folder" in said
    other.data.rename(empty / "before")
    damaged = empty / "damaged"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    code, said = await other.run("restore", str(damaged))
    assert code == 1 and "is damaged" in said and not other.data.exists()
    code, said = await other.run("restore", str(file))
    assert code == 0, said
    await other.start()
    answer = await other.client().get(f"/api/agents/{agent}", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 200
    code, said = await other.run("restore", str(file))
    assert code == 1 and "is in use by process" in said
    await other.terminate(within=30)
