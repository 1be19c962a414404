"""One agent and one server: what is said when, and what survives a lost connection."""

import asyncio
import contextvars
import threading
import time
from functools import partial
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from workstation_sdk import (
    Agent,
    Context,
    Health,
    NotAllowed,
    NotFound,
    Patience,
    ProtocolMismatch,
    SyncContext,
    Unauthenticated,
    Unreachable,
)
from workstation_sdk.protocol import (
    Done,
    DoneItem,
    Fail,
    FailItem,
    Heartbeat,
    Held,
    Progress,
    ReleaseItem,
    Tasks,
)
from workstation_sdk.testing import FakeServer

from .serving import served, until


@pytest.fixture
def gate() -> asyncio.Event:
    """What `wait` waits for."""
    return asyncio.Event()


@pytest.fixture
def agent(agent: Agent, gate: asyncio.Event) -> Agent:
    """An agent that echoes, and one task type that waits."""

    @agent.task
    async def echo(ctx: Context, value: int = 0) -> int:
        return value

    @agent.task
    async def wait(ctx: Context) -> str:
        await gate.wait()
        return "waited"

    return agent


async def test_hello_tells_who_the_agent_is_and_what_it_does(server: FakeServer) -> None:
    agent = Agent("test-agent", capabilities=["echo"], concurrency=3, region="eu", version="1.2")

    @agent.task
    async def echo(ctx: Context, value: int) -> int:
        return value

    async with served(agent, server):
        hello = (await server.connection()).hello
    assert (hello.slots, hello.capabilities, hello.region, hello.version) == (3, ["echo"], "eu", "1.2")
    assert hello.tasks is not None
    assert hello.tasks["echo"]["required"] == ["value"]
    assert hello.holding == []


async def test_an_agent_finds_its_number_by_its_name(agent: Agent) -> None:
    async with FakeServer(agents={"other": "1", "test-agent": "7"}) as server:
        serving = asyncio.create_task(agent.serve(url=server.url, token=server.token))
        connection = await server.connection()
        assert connection.path == "/api/agents/7/connect"
        agent.drain()
        await serving


async def test_an_agent_finds_and_serves_through_a_unix_socket(agent: Agent, tmp_path: Path) -> None:
    async with FakeServer(socket_path=str(tmp_path / "s")) as server:
        serving = asyncio.create_task(agent.serve(url=server.url, token=server.token))
        connection = await server.connection()
        assert isinstance(await server.outcome(await server.submit(connection, "echo")), DoneItem)
        agent.drain()
        await serving


async def test_an_agent_that_is_not_registered_says_so(agent: Agent) -> None:
    async with FakeServer(agents={}) as server:
        with pytest.raises(NotFound, match="no agent is named 'test-agent'"):
            await agent.serve(url=server.url, token=server.token)


async def test_tasks_of_one_frame_are_reported_in_one_frame(
    agent: Agent, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workstation_sdk.lanes.SLICE", 60.0)
    async with served(agent, server):
        connection = await server.connection()
        await connection.send(Tasks([server.claim(str(n), "echo", {"value": n}) for n in range(100)]))
        (done,) = await connection.expect(Done)
    assert [(item.task, bytes(item.result)) for item in done.items] == [(str(n), b"%d" % n) for n in range(100)]


async def test_handlers_that_wait_do_not_hold_up_the_others(
    agent: Agent, server: FakeServer, gate: asyncio.Event
) -> None:
    begun: list[int] = []

    @agent.task
    async def some(ctx: Context, number: int) -> None:
        begun.append(number)
        if number % 2:
            await gate.wait()

    async with served(agent, server):
        connection = await server.connection()
        await connection.send(Tasks([server.claim(str(n), "some", {"number": n}) for n in range(20)]))
        await until(lambda: len(server.outcomes) == 10)
        assert all(int(task) % 2 == 0 for task in server.outcomes)
        gate.set()
        await until(lambda: len(server.outcomes) == 20)
    assert sorted(begun) == list(range(20))


async def test_handlers_that_never_wait_let_the_loop_have_its_turn(
    agent: Agent, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workstation_sdk.lanes.SLICE", 0.0)
    async with served(agent, server):
        connection = await server.connection()
        await connection.send(Tasks([server.claim(str(n), "echo", {"value": n}) for n in range(10)]))
        await until(lambda: len(server.outcomes) == 10)
        assert len(connection.received_of(Done)) > 1


async def test_context_variables_do_not_leak_between_tasks_of_one_frame(agent: Agent, server: FakeServer) -> None:
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=0)

    @agent.task
    async def mark(ctx: Context, wait: bool) -> int:
        before = variable.get()
        variable.set(7)
        if wait:
            await asyncio.sleep(0)
        return before

    async with served(agent, server):
        connection = await server.connection()
        await connection.send(Tasks([server.claim(str(n), "mark", {"wait": n % 3 == 0}) for n in range(12)]))
        await until(lambda: len(server.outcomes) == 12)
    assert {bytes(item.result) for item in server.outcomes.values()} == {b"0"}


async def test_cancelling_one_task_leaves_its_neighbours_alone(
    agent: Agent, server: FakeServer, gate: asyncio.Event
) -> None:
    async with served(agent, server):
        connection = await server.connection()
        await connection.send(Tasks([server.claim(str(n), "wait") for n in range(3)]))
        await connection.cancel("1")
        assert isinstance(await server.outcome("1"), ReleaseItem)
        gate.set()
        assert isinstance(await server.outcome("0"), DoneItem)
        assert isinstance(await server.outcome("2"), DoneItem)


async def test_a_task_cancelled_before_it_begins_never_begins(agent: Agent, server: FakeServer) -> None:
    begun: list[str] = []

    @agent.task
    async def note(ctx: Context) -> None:
        begun.append(ctx.task_id)
        time.sleep(0.02)

    async with served(agent, server):
        connection = await server.connection()
        await connection.send(Tasks([server.claim(str(n), "note") for n in range(10)]))
        await connection.cancel("9")
        assert isinstance(await server.outcome("9"), ReleaseItem)
    assert "9" not in begun


async def test_a_repeated_claim_is_worked_on_once(agent: Agent, server: FakeServer, gate: asyncio.Event) -> None:
    begun: list[int] = []

    @agent.task
    async def count(ctx: Context) -> None:
        begun.append(ctx.attempt)
        await gate.wait()

    async with served(agent, server):
        connection = await server.connection()
        claim = server.claim("42", "count")
        await connection.send(Tasks([claim, claim]))
        await connection.send(Tasks([claim]))
        await until(lambda: begun)
        gate.set()
        await server.outcome("42")
        server.settling = False
        await asyncio.sleep(0.02)
    assert begun == [1]
    assert len(connection.received_of(Done)) == 1


async def test_the_next_attempt_of_a_task_is_another_claim(agent: Agent, server: FakeServer) -> None:
    async with served(agent, server):
        connection = await server.connection()
        for attempt in (1, 2):
            await connection.send(Tasks([server.claim("42", "echo", attempt=attempt)]))
        await until(lambda: connection.settled == 2)
    assert [item.attempt for frame in connection.received_of(Done) for item in frame.items] == [1, 2]


async def test_work_goes_on_through_a_lost_connection(agent: Agent, server: FakeServer, gate: asyncio.Event) -> None:
    async with served(agent, server):
        first = await server.connection()
        task = await server.submit(first, "wait")
        await first.expect(Heartbeat)
        first.abort()
        second = await server.connection(2)
        assert second.hello.instance == first.hello.instance
        assert second.hello.holding == [Held(task, 1)]
        gate.set()
        assert bytes((await server.outcome(task)).result) == b'"waited"'


async def test_an_outcome_is_sent_again_until_it_is_settled(agent: Agent, server: FakeServer) -> None:
    server.settling = False
    async with served(agent, server):
        first = await server.connection()
        task = await server.submit(first, "echo", {"value": 5})
        await first.expect(Done)
        await first.close(1012)
        server.settling = True
        second = await server.connection(2)
        assert second.hello.holding == [Held(task, 1)]
        (done,) = await second.expect(Done)
        assert [(item.task, bytes(item.result)) for item in done.items] == [(task, b"5")]
        await second.close(1012)
        third = await server.connection(3)
        assert third.hello.holding == []


async def test_what_finishes_while_disconnected_is_told_afterwards(
    agent: Agent, server: FakeServer, gate: asyncio.Event
) -> None:
    async with served(agent, server):
        first = await server.connection()
        task = await server.submit(first, "wait")
        await first.expect(Heartbeat)
        await server.stop()
        gate.set()
        await asyncio.sleep(0.02)
        await server.start()
        assert bytes((await server.outcome(task)).result) == b'"waited"'


async def test_a_refused_outcome_is_not_sent_again(agent: Agent, server: FakeServer) -> None:
    async with served(agent, server):
        first = await server.connection()
        server.refuse["42"] = "lease_lost"
        await first.send(Tasks([server.claim("42", "echo")]))
        await first.expect(Done)
        await until(lambda: first.settled == 1)
        await first.close(1012)
        second = await server.connection(2)
        assert second.hello.holding == []


async def test_a_dead_instance_drops_its_work_and_comes_back_as_another(
    agent: Agent, server: FakeServer, gate: asyncio.Event
) -> None:
    stopped: list[bool] = []

    @agent.task
    async def long(ctx: Context) -> None:
        try:
            await gate.wait()
        finally:
            stopped.append(ctx.cancelled)

    server.settling = False
    async with served(agent, server):
        first = await server.connection()
        await server.submit(first, "long")
        await server.submit(first, "echo")
        await first.expect(Done)
        await first.close(4409)
        second = await server.connection(2)
        assert second.hello.instance != first.hello.instance
        assert second.hello.holding == []
        await second.expect(Heartbeat)
        assert stopped == [True]
        assert second.received_of(Done) == []
        assert second.received_of(Fail) == []


async def test_an_agent_stopped_by_an_operator_keeps_asking(agent: Agent, server: FakeServer) -> None:
    server.close_hello_with = 4409
    async with served(agent, server):
        await until(lambda: server.hellos >= 2)
        server.close_hello_with = None
        await server.connection()


@pytest.mark.parametrize(
    ("code", "error"),
    [(4400, ProtocolMismatch), (4401, Unauthenticated), (4403, NotAllowed), (4404, NotFound)],
)
async def test_a_final_close_code_stops_the_agent(
    agent: Agent, server: FakeServer, code: int, error: type[Exception]
) -> None:
    server.close_hello_with = code
    with pytest.raises(error):
        await asyncio.wait_for(agent.serve(url=server.url, token=server.token, agent_id="1"), 5)


async def test_a_refused_handshake_stops_the_agent(agent: Agent, server: FakeServer) -> None:
    with pytest.raises(Unauthenticated, match="token"):
        await asyncio.wait_for(agent.serve(url=server.url, token="wrong", agent_id="1"), 5)


async def test_an_agent_gives_up_after_long_without_a_server(agent: Agent, server: FakeServer) -> None:
    await server.stop()
    serving = agent.serve(url=server.url, token=server.token, agent_id="1", patience=Patience(offline=0.2))
    with pytest.raises(Unreachable, match="giving up"):
        await asyncio.wait_for(serving, 10)


async def test_heartbeats_tell_health_and_what_is_held(agent: Agent, gate: asyncio.Event) -> None:
    @agent.health
    async def health() -> Health:
        return Health("degraded", {"queue": 3})

    async with FakeServer(heartbeat_ms=20) as server, served(agent, server):
        connection = await server.connection()
        task = await server.submit(connection, "wait")
        await until(lambda: any(beat.holding for beat in connection.received_of(Heartbeat)))
        beat = connection.received_of(Heartbeat)[-1]
    assert (beat.healthStatus, beat.metadata, beat.holding) == ("degraded", {"queue": 3}, [Held(task, 1)])


async def test_a_health_check_that_fails_means_degraded_not_silence(agent: Agent) -> None:
    @agent.health
    def health() -> str:
        raise OSError("sensor gone")

    async with FakeServer(heartbeat_ms=20) as server, served(agent, server):
        beats = await (await server.connection()).expect(Heartbeat, count=2)
    assert beats[0].healthStatus == "degraded"
    assert beats[0].metadata == {"error": "the health check failed: OSError: sensor gone"}


async def test_a_stuck_loop_sends_no_heartbeat(agent: Agent) -> None:
    stuck, freed = threading.Event(), threading.Event()

    @agent.task
    async def stick(ctx: Context) -> None:
        stuck.set()
        freed.wait(5)

    async with FakeServer(heartbeat_ms=10) as server:
        serve = partial(agent.serve, url=server.url, token=server.token, agent_id="1")
        process = threading.Thread(target=lambda: asyncio.run(serve()))
        process.start()
        connection = await server.connection()
        await connection.expect(Heartbeat)
        task = await server.submit(connection, "stick")
        await until(stuck.is_set)
        await asyncio.sleep(0.05)
        before = len(connection.received_of(Heartbeat))
        await asyncio.sleep(0.1)
        assert len(connection.received_of(Heartbeat)) == before
        freed.set()
        await server.outcome(task)
        await connection.drain()
        await until(lambda: not process.is_alive())


async def test_a_blocking_handler_leaves_the_loop_free(agent: Agent) -> None:
    @agent.task
    def stick(ctx: SyncContext) -> None:
        time.sleep(0.2)

    async with FakeServer(heartbeat_ms=10) as server, served(agent, server):
        connection = await server.connection()
        task = await server.submit(connection, "stick")
        await connection.expect(Heartbeat, count=5)
        assert task not in server.outcomes
        await server.outcome(task)


async def test_progress_is_coalesced_to_the_latest(agent: Agent, server: FakeServer, gate: asyncio.Event) -> None:
    @agent.task
    async def chatty(ctx: Context) -> None:
        for percent in range(100):
            await ctx.progress(percent)
            await asyncio.sleep(0.003)
        await gate.wait()

    async with served(agent, server):
        connection = await server.connection()
        await server.submit(connection, "chatty")
        await until(lambda: any(p.items[-1].percent == 99 for p in connection.received_of(Progress)))
        assert len(connection.received_of(Progress)) <= 12


async def test_a_checkpoint_reaches_the_server_before_the_failure(agent: Agent, server: FakeServer) -> None:
    @agent.task
    async def fail(ctx: Context) -> None:
        await ctx.progress(10)
        await ctx.checkpoint({"page": 1})
        await ctx.progress(20)
        raise ValueError("no")

    async with served(agent, server):
        connection = await server.connection()
        await server.submit(connection, "fail")
        await connection.expect(Fail)
    told = [frame for frame in connection.received if isinstance(frame, Progress | Fail)]
    assert [type(frame) for frame in told] == [Progress, Fail]
    assert bytes(connection.received_of(Progress)[0].items[0].data) == b'{"page":1}'


async def test_the_latest_checkpoint_is_told_again_after_a_lost_connection(
    agent: Agent, server: FakeServer, gate: asyncio.Event
) -> None:
    @agent.task
    async def work(ctx: Context) -> None:
        await ctx.checkpoint([1])
        await gate.wait()

    async with served(agent, server):
        first = await server.connection()
        await server.submit(first, "work")
        await first.expect(Progress)
        first.abort()
        (again,) = await (await server.connection(2)).expect(Progress)
    assert bytes(again.items[0].data) == b"[1]"


async def test_one_bad_result_does_not_harm_its_neighbours(agent: Agent, server: FakeServer) -> None:
    @agent.task
    async def result(ctx: Context, size: int) -> object:
        return "x" * size if size else object()

    async with served(agent, server):
        connection = await server.connection()
        sizes = [1, 0, 2_000_000, 2]
        await connection.send(Tasks([server.claim(str(n), "result", {"size": s}) for n, s in enumerate(sizes)]))
        await until(lambda: len(server.outcomes) == 4)
    kinds = [type(server.outcomes[str(n)]) for n in range(4)]
    assert kinds == [DoneItem, FailItem, FailItem, DoneItem]


async def test_many_large_results_travel_in_messages_under_the_limit(agent: Agent, server: FakeServer) -> None:
    @agent.task
    async def result(ctx: Context) -> str:
        return "x" * 1_000_000

    async with served(agent, server):
        connection = await server.connection()
        await connection.send(Tasks([server.claim(str(n), "result") for n in range(9)]))
        await until(lambda: len(server.outcomes) == 9)
    assert len(connection.received_of(Done)) >= 3


async def test_frames_of_unknown_kind_and_unknown_fields_are_ignored(agent: Agent, server: FakeServer) -> None:
    async with served(agent, server):
        connection = await server.connection()
        await connection.send_text('{"kind":"event","items":[]}')
        await connection.send_text(
            '{"kind":"tasks","new":1,"items":[{"id":"9","type":"echo","payload":{},"attempt":1,'
            '"priority":5,"timeout_ms":1000,"deadline_at":"2030-01-01T00:00:00Z","trace":"x"}]}'
        )
        assert isinstance(await server.outcome("9"), DoneItem)


async def test_a_frame_that_does_not_fit_stops_the_agent(agent: Agent, server: FakeServer) -> None:
    async with served(agent, server) as serving:
        connection = await server.connection()
        await connection.send_text('{"kind":"tasks","items":{}}')
        with pytest.raises(ProtocolMismatch, match="does not fit"):
            await asyncio.wait_for(serving, 5)


async def test_an_agent_is_served_once_at_a_time(agent: Agent, server: FakeServer) -> None:
    async with served(agent, server):
        await server.connection()
        with pytest.raises(RuntimeError, match="served already"):
            await agent.serve(url=server.url, token=server.token, agent_id="1")


async def test_the_fake_server_wants_the_token(server: FakeServer) -> None:
    with pytest.raises(Exception, match="401"):
        await connect(f"ws://127.0.0.1:{server.port}/api/agents/1/connect")
