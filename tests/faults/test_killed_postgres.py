"""The database is killed under load: the server starts it again, refuses clearly meanwhile, and loses nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import asyncpg
import psutil
import pytest
from tests.support.agent_process import AgentProcess, Journal
from tests.support.history import check, until_final
from tests.support.live_server import LiveServer
from tests.support.load import Load
from tests.support.measuring import Measured
from tests.support.waiting import until

Connect = Callable[..., Awaitable[tuple[int, list[AgentProcess]]]]
ENDED_SINCE = "select count(*) from attempts where outcome = 'completed' and ended_at > $1"
REFUSED_WITHIN = 2.0
SCHEDULING = 0.5
"""A busy machine may hold up an answer this long."""


def kill_postmaster(server: LiveServer) -> None:
    """kill -9 of the main process: all goes down, and somebody has to start it again."""
    server.postmaster().kill()


def kill_backend(server: LiveServer) -> None:
    """kill -9 of one session: PostgreSQL ends all the others and recovers by itself."""
    sessions = [
        child for child in server.postmaster().children() if "workstation workstation" in " ".join(child.cmdline())
    ]
    assert sessions, "no session is open"
    sessions[0].kill()


@pytest.mark.parametrize("kill", [kill_postmaster, kill_backend])
async def test_killed_under_load_it_comes_back_and_nothing_is_lost(
    server: LiveServer,
    journal: Journal,
    connected: Connect,
    measured: Measured,
    kill: Callable[[LiveServer], None],
) -> None:
    agent, [process] = await connected()
    server_pid = server.pid
    async with Load(server, [agent], seed=21).running() as record:
        await asyncio.sleep(2)
        killed_at = await server.value("select clock_timestamp()")
        kill(server)
        began = time.monotonic()
        await until(lambda: _works_since(server, killed_at), within=30, what="work")
        measured(f"{kill.__name__}: work again", time.monotonic() - began, 10)
        await asyncio.sleep(2)
    await until_final(server, record.acknowledged, within=40)
    history = await check(server, record.acknowledged, journal)
    assert server.running and server.pid == server_pid and process.running
    refused = [answer for answer in record.answers if answer.status not in (200, 201)]
    assert refused and {answer.status for answer in refused} == {503}
    measured(
        f"{kill.__name__}: the slowest refusal", max(answer.seconds for answer in refused), REFUSED_WITHIN + SCHEDULING
    )
    assert sum(task["lost_count"] for task in history.tasks.values()) == 0, "an outage was charged to tasks"


async def _works_since(server: LiveServer, since: object) -> bool:
    try:
        return bool(await server.value(ENDED_SINCE, since) > 0)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return False


async def test_frozen_for_a_while_every_request_is_refused_in_time_and_work_goes_on(
    server: LiveServer, journal: Journal, connected: Connect, measured: Measured
) -> None:
    agent, _ = await connected()
    async with Load(server, [agent], seed=22).running() as record:
        await asyncio.sleep(1)
        postmaster = server.postmaster()
        family = [postmaster, *postmaster.children(recursive=True)]
        _all(family, "suspend")
        try:
            reads = await _read_for(server, agent, seconds=5)
        finally:
            _all(family, "resume")
        began = time.monotonic()
        thawed_at = await server.value("select clock_timestamp()")
        await until(lambda: _works_since(server, thawed_at), within=30, what="work")
        measured("PostgreSQL frozen: work again", time.monotonic() - began, 10)
        await asyncio.sleep(1)
    await until_final(server, record.acknowledged, within=40)
    await check(server, record.acknowledged, journal)
    refused = [answer for answer in record.answers if answer.status not in (200, 201)]
    assert refused and {answer.status for answer in refused} == {503}
    assert {status for status, _ in reads} == {503}
    measured("PostgreSQL frozen: the slowest refused read", max(s for _, s in reads), REFUSED_WITHIN + SCHEDULING)
    measured("PostgreSQL frozen: the slowest refusal", max(a.seconds for a in refused), REFUSED_WITHIN + SCHEDULING)


async def _read_for(server: LiveServer, agent: int, seconds: float) -> list[tuple[int, float]]:
    """Ask for lists and statistics for a while: status and duration of each answer."""
    client, answers = server.client(timeout=20), []
    deadline = time.monotonic() + seconds

    async def read(path: str) -> None:
        while time.monotonic() < deadline:
            began = time.monotonic()
            status = (await client.get(path)).status_code
            answers.append((status, time.monotonic() - began))

    await asyncio.gather(read("/api/agents"), read(f"/api/agents/{agent}/statistics"), read("/api/agents/tasks"))
    return answers


def _all(processes: list[psutil.Process], verb: str) -> None:
    for process in processes:
        try:
            getattr(process, verb)()
        except psutil.NoSuchProcess:
            continue
