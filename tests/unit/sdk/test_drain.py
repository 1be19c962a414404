"""Leaving: what is held is finished or given back, and the server hears of it."""

import asyncio
import time

import pytest

from workstation_sdk import Agent, Context, Patience, SyncContext
from workstation_sdk.protocol import Bye, Credit, Done, DoneItem, Release, ReleaseItem, Tasks
from workstation_sdk.testing import FakeServer

from .serving import served, until

SHORT = Patience(drain=0.6, stop=0.2, settle=0.2)


@pytest.fixture
def gate() -> asyncio.Event:
    """What `wait` waits for."""
    return asyncio.Event()


@pytest.fixture
def agent(agent: Agent, gate: asyncio.Event) -> Agent:
    """An agent with a task type that waits."""

    @agent.task
    async def wait(ctx: Context) -> str:
        await gate.wait()
        return "waited"

    return agent


async def test_a_drained_agent_finishes_what_it_holds_and_says_bye(
    agent: Agent, server: FakeServer, gate: asyncio.Event
) -> None:
    async with served(agent, server) as serving:
        connection = await server.connection()
        task = await server.submit(connection, "wait")
        await connection.expect_held(task)
        agent.drain()
        await connection.expect(Credit)
        gate.set()
        await asyncio.wait_for(serving, 5)
    assert isinstance(server.outcomes[task], DoneItem)
    assert isinstance(connection.received[-1], Bye)


async def test_what_is_not_finished_in_time_is_given_back(agent: Agent, server: FakeServer) -> None:
    async with served(agent, server, SHORT) as serving:
        connection = await server.connection()
        task = await server.submit(connection, "wait")
        await connection.expect_held(task)
        agent.drain()
        await asyncio.wait_for(serving, 5)
    assert isinstance(server.outcomes[task], ReleaseItem)
    assert isinstance(connection.received[-1], Bye)


async def test_a_handler_that_will_not_stop_is_given_back_all_the_same(agent: Agent, server: FakeServer) -> None:
    release = asyncio.Event()

    @agent.task
    async def stubborn(ctx: Context) -> None:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    @agent.task
    def deaf(ctx: SyncContext) -> None:
        time.sleep(1.5)

    async with served(agent, server, SHORT) as serving:
        connection = await server.connection()
        tasks = [await server.submit(connection, name) for name in ("stubborn", "deaf")]
        await connection.expect_held(*tasks)
        agent.drain()
        await asyncio.wait_for(serving, 5)
        release.set()
    assert [type(server.outcomes[task]) for task in tasks] == [ReleaseItem, ReleaseItem]


async def test_a_task_that_arrives_while_draining_is_given_back_untouched(
    agent: Agent, server: FakeServer, gate: asyncio.Event
) -> None:
    async with served(agent, server, SHORT) as serving:
        connection = await server.connection()
        held = await server.submit(connection, "wait")
        await connection.expect_held(held)
        agent.drain()
        await connection.expect(Credit)
        late = await server.submit(connection, "wait")
        await asyncio.sleep(0.05)
        assert late not in server.outcomes
        await asyncio.wait_for(serving, 5)
    assert isinstance(server.outcomes[late], ReleaseItem)


async def test_credit_is_taken_back_with_each_report_of_a_drain(
    agent: Agent, server: FakeServer, gate: asyncio.Event
) -> None:
    async with served(agent, server) as serving:
        connection = await server.connection()
        await connection.send(Tasks([server.claim(str(n), "wait") for n in range(3)]))
        await connection.expect_held("0", "1", "2")
        agent.drain()
        await connection.expect(Credit)
        gate.set()
        await asyncio.wait_for(serving, 5)
    assert sum(frame.n for frame in connection.received_of(Credit)) == -server.slots - 3


async def test_the_server_can_ask_for_a_drain(agent: Agent, server: FakeServer, gate: asyncio.Event) -> None:
    gate.set()
    async with served(agent, server) as serving:
        connection = await server.connection()
        await connection.drain("stop")
        await asyncio.wait_for(serving, 5)
    assert isinstance(connection.received[-1], Bye)


async def test_a_drain_to_restart_comes_back_as_another_instance(
    agent: Agent, server: FakeServer, gate: asyncio.Event
) -> None:
    gate.set()
    async with served(agent, server):
        first = await server.connection()
        await first.drain("restart")
        second = await server.connection(2)
        assert isinstance(first.received[-1], Bye)
        assert second.hello.instance != first.hello.instance
        task = await server.submit(second, "wait")
        assert isinstance(await server.outcome(task), DoneItem)


async def test_being_asked_to_stop_overrules_a_restart(agent: Agent, server: FakeServer, gate: asyncio.Event) -> None:
    async with served(agent, server) as serving:
        connection = await server.connection()
        await connection.expect_held(await server.submit(connection, "wait"))
        await connection.drain("restart")
        await connection.expect(Credit)
        agent.drain()
        gate.set()
        await asyncio.wait_for(serving, 5)


async def test_bye_waits_for_the_last_settlement(agent: Agent, server: FakeServer, gate: asyncio.Event) -> None:
    server.settling = False
    gate.set()
    async with served(agent, server) as serving:
        connection = await server.connection()
        task = await server.submit(connection, "wait")
        await connection.expect(Done)
        agent.drain()
        await connection.expect(Credit)
        await asyncio.sleep(0.05)
        assert connection.received_of(Bye) == []
        await connection.settle("done", task)
        await asyncio.wait_for(serving, 5)
    assert isinstance(connection.received[-1], Bye)


async def test_an_outcome_is_delivered_by_a_drain_that_began_without_a_server(
    agent: Agent, server: FakeServer, gate: asyncio.Event
) -> None:
    async with served(agent, server) as serving:
        connection = await server.connection()
        task = await server.submit(connection, "wait")
        await connection.expect_held(task)
        await server.stop()
        agent.drain()
        gate.set()
        await asyncio.sleep(0.05)
        await server.start()
        await asyncio.wait_for(serving, 9)
    assert isinstance(server.outcomes[task], DoneItem)


async def test_a_dead_instance_has_nothing_left_to_drain(agent: Agent, server: FakeServer) -> None:
    async with served(agent, server) as serving:
        connection = await server.connection()
        await connection.expect_held(await server.submit(connection, "wait"))
        agent.drain()
        await connection.expect(Credit)
        await connection.close(4409)
        await asyncio.wait_for(serving, 5)
    assert connection.received_of(Release) == []
    await until(lambda: server.hellos == 1)
